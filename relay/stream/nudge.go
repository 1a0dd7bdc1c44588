package stream

// nudges counts what came, and what of it is settled: an entry was read for it, or none was there. Both only rise, and the
// oldest are settled first.
type nudges struct{ received, settled int }

// settle settles at most n of those that came, and returns how many those were.
func (c *nudges) settle(n int) int {
	n = max(min(n, c.received-c.settled), 0)
	c.settled += n
	return n
}

// nudge takes in that something may be new. loaded says that the nudge had a payload.
func (r *Reader) Nudge(loaded bool) {
	r.mu.Lock()
	switch {
	case r.unannounced > 0:
		r.unannounced--
	case loaded:
		r.withPayload.received++
	default:
		r.empty.received++
	}
	r.mu.Unlock()
	r.readers.schedule(r)
}

// matchLocked lets nudges and n new entries account for each other.
func (r *Reader) accountLocked(n int) {
	n -= r.empty.settle(n)
	n -= r.withPayload.settle(n)
	r.unannounced = min(r.unannounced+n, pageMax)
}

// judgeNudges settles the nudges that had come when a read began which found everything. One without a payload is never
// wrong.
func (r *Reader) settleNudges(loaded, plain int) {
	r.mu.Lock()
	r.empty.settle(plain - r.empty.settled)
	unfounded := r.withPayload.settle(loaded - r.withPayload.settled)
	r.mu.Unlock()
	if unfounded > 0 {
		r.readers.reportSpurious(r.name, unfounded)
	}
}

// forgiveLocked settles all nudges: it is not known what they were about.
func (r *Reader) settleAllLocked() {
	r.empty.settled, r.withPayload.settled, r.unannounced = r.empty.received, r.withPayload.received, 0
}
