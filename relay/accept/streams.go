package accept

import (
	"context"
	"time"
)

// A StreamUse says which places of its connection a stream uses.
type StreamUse uint8

const (
	// OwnPlaces are those of a stream that needs a place of its own in the
	// limits of its address.
	OwnPlaces StreamUse = iota
	// LentPlace is that of the connection in the limits of its address: it is
	// open, but the stream is new.
	LentPlace
	// FirstPlace is like LentPlace, but the stream came with the connection.
	FirstPlace
)

// AddStream takes a slot for a client that is one of several on the connection,
// as with HTTP/2, and reports whether there is one. The first uses the slot of
// the connection, which is not idle then. The caller must pass use to
// [Conn.EndStream] with the same slots if ok is true. Without a table, it takes
// a slot from slots.
func (c *Conn) AddStream(slots *Slots) (use StreamUse, ok bool) {
	if c == nil {
		return OwnPlaces, slots.Take()
	}
	t := c.table
	t.mu.Lock()
	var closed *Conn
	ok = c.place != nil && !t.ending
	if ok && (!c.slot || c.streams > 0) && !slots.Take() {
		closed = t.takeSlot(0)
		ok = closed != nil
	}
	if ok {
		use = c.lend()
		c.slot = true
		c.streams++
		c.move(&t.busy)
	}
	t.mu.Unlock()
	if closed != nil {
		t.end(closed, &idleClosed)
	}
	return use, ok
}

// lend returns what a new stream may use. The table is locked.
func (c *Conn) lend() (use StreamUse) {
	switch {
	case c.lent:
		return OwnPlaces
	case c.began:
		use = LentPlace
	default:
		use = FirstPlace
	}
	c.began, c.lent = true, true
	return use
}

// EndStream ends what [Conn.AddStream] began. The last stream leaves its slot to
// the connection, if that is still open.
func (c *Conn) EndStream(slots *Slots, use StreamUse) {
	if c == nil {
		slots.Free()
		return
	}
	t := c.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if use != OwnPlaces {
		c.lent = false
	}
	c.streams--
	if c.streams > 0 || c.place == nil {
		slots.Free()
		return
	}
	c.since = time.Now()
	c.move(&t.waiting)
}

// EndStreams closes the connections that have had streams, also those whose
// clients accept no bytes, and admits no further streams.
func (t *Table) EndStreams() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ending = true
	for _, c := range t.conns {
		if c.began {
			_ = c.net.Close()
		}
	}
}

// AwaitStreams returns when the connections that have had streams are closed, or
// when ctx ends.
func (t *Table) AwaitStreams(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for t.haveStreams() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Table) haveStreams() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if c.began {
			return true
		}
	}
	return false
}
