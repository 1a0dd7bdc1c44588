// Package protocol encodes messages and events for clients and decodes their
// commands.
//
// A [Protocol] turns messages and [Event] values into frames, and what a client
// sends into a [Command]. There are five: [Raw] and [V1], the WebSocket
// subprotocols sidecast.raw and sidecast.v1; [SSE] and [SSEJSON], the event
// streams of browsers; and [Pusher]. The package's README describes them. Golden files in
// testdata hold every byte of them.
//
// The package also defines the codes that clients see: [CloseCode], [Code] and
// [GapReason]. Their texts are part of the protocol and must not change.
//
// A protocol knows nothing of connections, channels or permissions. The package
// imports the standard library only. All values are immutable, and all
// functions and methods may be called concurrently. A frame, once returned, is
// never changed, because many clients share it.
package protocol

// The WebSocket subprotocols under which the protocols are offered (RFC 6455
// section 1.9).
const (
	SubprotocolRaw = "sidecast.raw"
	SubprotocolV1  = "sidecast.v1"
)

// TokenPrefix begins a subprotocol that is a credential: the rest of it is a
// token. The relay never repeats it in its answer.
const TokenPrefix = "sidecast.token."

// All returns all protocols.
func All() []Protocol { return []Protocol{Raw{}, V1{}, SSE{}, SSEJSON{}, Pusher{}} }
