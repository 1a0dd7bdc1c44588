package outbox

import "fmt"

// NextBytes gives external tests access to nextBytes.
const NextBytes = nextBytes

// Audit compares the charges with the queue. It returns the first difference,
// or "".
func (o *Outbox) Audit() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	want := 0
	for _, q := range o.queue {
		want += len(q.frame) + FrameCharge
	}
	want -= o.partial
	if o.state == outboxEvicted || o.state == outboxClosed {
		want = 0
	}
	listed, found := o.budget.charges[o]
	if o.charged != want || o.budget.Used() != int64(want) || listed != want || found != (want > 0) {
		return fmt.Sprintf("state %d with %d queued: charged %d, used %d, listed %d (%v), want %d",
			o.state, len(o.queue), o.charged, o.budget.Used(), listed, found, want)
	}
	return ""
}

// IsOpen reports whether the outbox accepts frames.
func (o *Outbox) IsOpen() bool { return o.hasState(outboxOpen) }

// IsClosed reports whether the outbox was shut or its connection failed.
func (o *Outbox) IsClosed() bool { return o.hasState(outboxClosed) }

func (o *Outbox) hasState(state outboxState) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == state
}

// StartDraining makes the test drain the outbox, in place of a Drain.
func (o *Outbox) StartDraining() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.draining = true
}

// Holders returns how many outboxes hold anything.
func (b *Budget) Holders() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.charges)
}
