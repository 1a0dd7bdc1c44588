package relaytest

import (
	"maps"
	"slices"
)

// Cursors is what a client of sidecast.v1 remembers in order to come back, by the rule for clients: of each channel the
// cursor of the last message, subscribed or gap there (after), and that of the newest heartbeat since (at). A heartbeat
// counts only for channels whose subscribed came before it on this connection. The zero value remembers nothing. It
// belongs to one goroutine.
type Cursors struct {
	channels map[string]*remembered
}

type remembered struct {
	after, at string
	joined    bool // subscribed came on this connection
}

// Hear takes the events of a client's log, in their order.
func (c *Cursors) Hear(e Event) {
	switch e.Kind {
	case KindOpened:
		for _, r := range c.channels {
			r.joined = false
		}
	case KindSubscribed:
		r := c.of(e.Channel)
		r.joined = true
		r.move(e.Cursor)
	case KindMessage:
		c.of(e.Channel).move(e.Cursor)
	case KindGap:
		if e.Channel != "" {
			c.of(e.Channel).move(e.Cursor)
		}
	case KindHeartbeat:
		for _, r := range c.channels {
			if r.joined && e.Cursor != "" {
				r.at = e.Cursor
			}
		}
	case KindUnsubscribed:
		delete(c.channels, e.Channel)
	}
}

func (c *Cursors) of(channel string) *remembered {
	if c.channels == nil {
		c.channels = make(map[string]*remembered)
	}
	r := c.channels[channel]
	if r == nil {
		r = new(remembered)
		c.channels[channel] = r
	}
	return r
}

// move goes on to a cursor. A frame without one leaves the client where it was.
func (r *remembered) move(cursor string) {
	if cursor != "" {
		r.after, r.at = cursor, ""
	}
}

// Wish returns how to ask for a channel again.
func (c *Cursors) Wish(channel string) Wish {
	w := Wish{Channel: channel}
	if r := c.channels[channel]; r != nil {
		w.After, w.At = r.after, r.at
	}
	return w
}

// Wishes returns how to ask for all channels again that the client has heard of, sorted by name.
func (c *Cursors) Wishes() []Wish {
	var wishes []Wish
	for _, channel := range slices.Sorted(maps.Keys(c.channels)) {
		wishes = append(wishes, c.Wish(channel))
	}
	return wishes
}

// Cursors returns where the client is on each channel that it joined, for [Client.SubscribeFrom] on another connection, to
// this relay or another one. What is still on its way is not counted: end the connection first to leave nothing out.
func (c *Client) Cursors() []Wish {
	var cursors Cursors
	for _, e := range c.Events() {
		cursors.Hear(e)
	}
	return cursors.Wishes()
}
