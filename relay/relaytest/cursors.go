package relaytest

import (
	"maps"
	"slices"
)

// Cursors is the state that a client of sidecast.v1 keeps to resume, as the
// protocol requires: for each channel the cursor of the last message,
// subscribed or gap (after), and the cursor of the newest heartbeat since (at).
// A heartbeat counts only for channels whose subscribed arrived before it on
// the same connection. The zero value is ready to use. It is not safe for
// concurrent use.
type Cursors struct {
	channels map[string]*position
}

// position is where a client is on one channel.
type position struct {
	after, at  string
	subscribed bool // on this connection
}

// Add processes the next event of a client's log.
func (c *Cursors) Add(e Event) {
	switch e.Kind {
	case KindOpened:
		for _, p := range c.channels {
			p.subscribed = false
		}
	case KindSubscribed:
		p := c.of(e.Channel)
		p.subscribed = true
		p.move(e.Cursor)
	case KindMessage:
		c.of(e.Channel).move(e.Cursor)
	case KindGap:
		if e.Channel != "" {
			c.of(e.Channel).move(e.Cursor)
		}
	case KindHeartbeat:
		for _, p := range c.channels {
			if p.subscribed && e.Cursor != "" {
				p.at = e.Cursor
			}
		}
	case KindUnsubscribed:
		delete(c.channels, e.Channel)
	}
}

func (c *Cursors) of(channel string) *position {
	if c.channels == nil {
		c.channels = make(map[string]*position)
	}
	p := c.channels[channel]
	if p == nil {
		p = new(position)
		c.channels[channel] = p
	}
	return p
}

// move sets the position to a cursor. A frame without a cursor does not change
// it.
func (p *position) move(cursor string) {
	if cursor != "" {
		p.after, p.at = cursor, ""
	}
}

// Request returns the request with which the client resumes on a channel.
func (c *Cursors) Request(channel string) ChannelRequest {
	r := ChannelRequest{Channel: channel}
	if p := c.channels[channel]; p != nil {
		r.After, r.At = p.after, p.at
	}
	return r
}

// Cursors returns the client's position on each channel to which it is
// subscribed, sorted by name, for [Client.SubscribeFrom] on another connection
// to this relay or another one. Messages that are still on their way are not
// included: end the connection first if none may be left out.
func (c *Client) Cursors() []ChannelRequest {
	var cursors Cursors
	for _, e := range c.Events() {
		cursors.Add(e)
	}
	var requests []ChannelRequest
	for _, channel := range slices.Sorted(maps.Keys(cursors.channels)) {
		requests = append(requests, cursors.Request(channel))
	}
	return requests
}
