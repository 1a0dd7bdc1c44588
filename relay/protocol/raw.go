package protocol

// Raw is the protocol of a bare `new WebSocket(url)`: one message, one frame, holding the payload byte for byte. What the
// client sends is published. It has no words for anything else. The zero value is ready.
type Raw struct{}

var _ Protocol = Raw{}

// ID implements [relay.Protocol].
func (Raw) ID() ID { return RawID }

// Message is the payload as text if it is UTF-8, else as binary.
func (Raw) Message(_ string, _, payload []byte) []byte {
	return append(NewFrame(PayloadOpcode(payload), len(payload)), payload...)
}

// Event returns nil: raw carries payloads and nothing else.
func (Raw) Event(Event) []byte { return nil }

// Ping implements [relay.Protocol].
func (Raw) Ping([]byte) []byte { return pingFrame }

// Close implements [relay.Protocol].
func (Raw) Close(code CloseCode) []byte { return closeFrame(code) }

// Decode makes any message, text or binary, a publish to the session's one channel.
func (Raw) Decode(data []byte, _ bool) (Command, CloseCode) {
	return Command{Type: CommandPublish, Data: data}, 0
}
