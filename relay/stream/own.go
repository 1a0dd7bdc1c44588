package stream

import (
	"slices"
	"time"
)

// echoPatience is how long entries wait for the ids of those that clients are adding just now and do not want back.
const ownTimeout = 250 * time.Millisecond

// hash is what a session knows its own entries by: an id alone may be given again where a stream is made again. It is never
// 0.
func (c Cursor) Hash() uint64 {
	return (c.ID.Ms<<20 ^ c.ID.Seq ^ uint64(c.Check)<<31) | 1<<63
}

// awaitIDs waits until the entries have ids that clients are adding just now without wanting them back.
func (r *Reader) awaitIDs() {
	r.mu.Lock()
	adding := slices.Clone(r.adding)
	r.mu.Unlock()
	if len(adding) == 0 {
		return
	}
	limit := time.NewTimer(ownTimeout)
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
func (r *Reader) AddOwn() (done func()) {
	ended := make(chan struct{})
	r.mu.Lock()
	r.adding = append(r.adding, ended)
	r.mu.Unlock()
	return func() {
		close(ended)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.adding = slices.DeleteFunc(r.adding, func(c chan struct{}) bool { return c == ended })
	}
}
