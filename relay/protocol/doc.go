// Package protocol holds what clients speak: each protocol turns what the relay says into frames and what a client says
// into commands. A protocol knows nothing of connections, channels or permissions; golden files in testdata hold its wire
// format byte for byte.
//
// It is a leaf: any room may import it, and it imports none but sidecast/relay.
package protocol

// The WebSocket subprotocols under which the protocols are offered (RFC 6455 section 1.9).
const (
	SubprotocolRaw = "sidecast.raw"
	SubprotocolV1  = "sidecast.v1"
)

// TokenPrefix begins a "subprotocol" that is a credential: what follows is a token. It is never echoed.
const TokenPrefix = "sidecast.token."

// All returns one of each protocol.
func All() []Protocol { return []Protocol{Raw{}, V1{}} }

var pingFrame = NewFrame(OpPing, 0)

// closeFrames are built once: thousands of clients get the same one when the relay restarts.
var closeFrames = func() map[CloseCode][]byte {
	frames := make(map[CloseCode][]byte)
	for _, code := range CloseSlots() {
		if code != 0 && code != CloseAbnormal {
			frames[code] = CloseFrame(code)
		}
	}
	return frames
}()

func closeFrame(code CloseCode) []byte {
	if frame, ok := closeFrames[code]; ok {
		return frame
	}
	return CloseFrame(code)
}
