package protocol

// Raw is the protocol of a plain `new WebSocket(url)`: each message is one
// frame that contains the payload unchanged, and each message of the client is
// published. It has no events. The zero value is ready for use.
type Raw struct{}

var _ Protocol = Raw{}

// ID implements [Protocol].
func (Raw) ID() ID { return RawID }

// Message returns the payload in a text frame if it is UTF-8, or else in a
// binary frame.
func (Raw) Message(_ string, _, payload []byte) []byte {
	return append(NewFrame(PayloadOpcode(payload), len(payload)), payload...)
}

// Event returns nil: raw clients receive only messages.
func (Raw) Event(Event) []byte { return nil }

// Ping implements [Protocol].
func (Raw) Ping([]byte) []byte { return pingFrame }

// Close implements [Protocol].
func (Raw) Close(code CloseCode) []byte { return closeFrame(code) }

// Decode returns a publish command without a channel for every message, text or
// binary: the session knows the channel.
func (Raw) Decode(data []byte, _ bool) (Command, CloseCode) {
	return Command{Type: CommandPublish, Data: data}, 0
}
