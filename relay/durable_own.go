package relay

import (
	"slices"
	"time"
)

// echoPatience is how long entries wait for the ids of those that clients are adding just now and do not want back.
const echoPatience = 250 * time.Millisecond

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
