package relay

import (
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
)

// echoPatience is how long entries wait for the ids of those that clients are adding just now and do not want back.
const echoPatience = 250 * time.Millisecond

// toStream adds what a client publishes to a stream, and reports whether Redis said that it did.
func (s *Session) toStream(cmd protocol.Command) bool {
	h := s.hub
	if h.durables == nil {
		return false
	}
	defer s.wait()()
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	i := s.subscription(cmd.Channel)
	if !cmd.NoEcho || i < 0 {
		_, err := h.durables.streams().Append(ctx, cmd.Channel, cmd.Data)
		return err == nil
	}

	// Only when the entry is there has it the id by which it is known. Whoever reads it meanwhile waits for that.
	sub := s.subs[i]
	h.quieten(sub)
	done := sub.durable.add()
	defer done()
	id, err := h.durables.streams().Append(ctx, cmd.Channel, cmd.Data)
	if err != nil {
		return false
	}
	e := s.echos.Load()
	if e == nil {
		e = new(echoes)
		s.echos.Store(e)
	}
	own := NewEntry(id, []string{PayloadField, string(cmd.Data)}, 0)
	e.add(cmd.Channel, own.hash(), h.now())
	return true
}

// added reports whether the session added this entry and does not want it back.
func (s *Session) added(channel string, entry StreamCursor) bool {
	e := s.echos.Load()
	return e != nil && e.take(channel, entry.hash(), s.hub.now())
}

// hash is what a session knows its own entries by: an id alone may be given again where a stream is made again. It is never
// 0.
func (c StreamCursor) hash() uint64 {
	return (c.ID.Ms<<20 ^ c.ID.Seq ^ uint64(c.Check)<<31) | 1<<63
}

// awaitIDs waits until the entries have ids that clients are adding just now without wanting them back.
func (d *durable) awaitIDs() {
	d.mu.Lock()
	adding := slices.Clone(d.adding)
	d.mu.Unlock()
	if len(adding) == 0 {
		return
	}
	limit := time.NewTimer(echoPatience)
	defer limit.Stop()
	for _, done := range adding {
		select {
		case <-done:
		case <-limit.C:
			return
		}
	}
}

// add notes that a client is adding an entry that it does not want back. The caller calls done when it knows the id.
func (d *durable) add() (done func()) {
	ended := make(chan struct{})
	d.mu.Lock()
	d.adding = append(d.adding, ended)
	d.mu.Unlock()
	return func() {
		close(ended)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.adding = slices.DeleteFunc(d.adding, func(c chan struct{}) bool { return c == ended })
	}
}
