package stream

import (
	"slices"
	"time"
)

// ownTimeout bounds how long a delivery waits for the ids of entries that
// clients are adding at that moment and do not want to receive.
const ownTimeout = 250 * time.Millisecond

// waitForOwnAdds waits until the ids are known of all entries that clients are
// adding and do not want to receive, for ownTimeout at most.
func (r *Reader) waitForOwnAdds() {
	r.mu.Lock()
	ownAdds := slices.Clone(r.ownAdds)
	r.mu.Unlock()
	if len(ownAdds) == 0 {
		return
	}
	limit := time.NewTimer(ownTimeout)
	defer limit.Stop()
	for _, done := range ownAdds {
		select {
		case <-done:
		case <-limit.C:
			return
		}
	}
}

// AddOwn registers that a client is adding an entry that it does not want to
// receive. The caller must call done as soon as the id is known or adding has
// failed.
func (r *Reader) AddOwn() (done func()) {
	ended := make(chan struct{})
	r.mu.Lock()
	r.ownAdds = append(r.ownAdds, ended)
	r.mu.Unlock()
	return func() {
		close(ended)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ownAdds = slices.DeleteFunc(r.ownAdds, func(c chan struct{}) bool { return c == ended })
	}
}
