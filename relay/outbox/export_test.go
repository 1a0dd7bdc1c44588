package outbox

import "fmt"

// TakeBytes is the bound of what Take returns, in bytes beyond its first frame.
const TakeBytes = takeBytes

// Audit compares what is charged with what is queued. It returns the first
// difference, or "".
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
	listed, there := o.budget.full[o]
	if o.charged != want || o.budget.Used() != int64(want) || listed != want || there != (want > 0) {
		return fmt.Sprintf("state %d with %d queued: charged %d, booked %d, listed %d (%v), want %d",
			o.state, len(o.queue), o.charged, o.budget.Used(), listed, there, want)
	}
	return ""
}

// IsOpen reports whether the outbox accepts frames.
func (o *Outbox) IsOpen() bool { return o.in(outboxOpen) }

// IsClosed reports whether the outbox was shut or its connection failed.
func (o *Outbox) IsClosed() bool { return o.in(outboxClosed) }

func (o *Outbox) in(state outboxState) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == state
}

// StartDraining makes the test the one that drains the outbox.
func (o *Outbox) StartDraining() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.draining = true
}

// Holders returns how many outboxes hold anything.
func (b *Budget) Holders() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.full)
}
