package stream

// nudges counts what came, and what of it is settled: an entry was read for it, or none was there. Both only rise, and the
// oldest are settled first.
type nudges struct{ came, settled int }

// settle settles at most n of those that came, and returns how many those were.
func (c *nudges) settle(n int) int {
	n = max(min(n, c.came-c.settled), 0)
	c.settled += n
	return n
}

// nudge takes in that something may be new. loaded says that the nudge had a payload.
func (r *Reader) Nudge(loaded bool) {
	r.mu.Lock()
	switch {
	case r.credit > 0:
		r.credit--
	case loaded:
		r.loaded.came++
	default:
		r.plain.came++
	}
	r.mu.Unlock()
	r.readers.schedule(r)
}

// matchLocked lets nudges and n new entries account for each other.
func (r *Reader) matchLocked(n int) {
	n -= r.plain.settle(n)
	n -= r.loaded.settle(n)
	r.credit = min(r.credit+n, pageMax)
}

// judgeNudges settles the nudges that had come when a read began which found everything. One without a payload is never
// wrong.
func (r *Reader) judgeNudges(loaded, plain int) {
	r.mu.Lock()
	r.plain.settle(plain - r.plain.settled)
	unfounded := r.loaded.settle(loaded - r.loaded.settled)
	r.mu.Unlock()
	if unfounded > 0 {
		r.readers.unfounded(r.name, unfounded)
	}
}

// forgiveLocked settles all nudges: it is not known what they were about.
func (r *Reader) forgiveLocked() {
	r.plain.settled, r.loaded.settled, r.credit = r.plain.came, r.loaded.came, 0
}
