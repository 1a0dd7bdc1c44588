package relaytest

// A Session is the log of one connection.
type Session struct {
	Client   string
	Protocol Protocol
	Channels []string // of a raw client: what it listens to
	GapClose bool     // of a raw client: it asked to be closed instead of losing messages
	Events   []Event
}

// Session returns the log so far, for [Run].
func (c *Client) Session() Session {
	return Session{Client: c.name, Protocol: c.protocol, Channels: c.channels, GapClose: c.gapClose, Events: c.Events()}
}
