package relay

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
func (d *durable) nudge(loaded bool) {
	d.mu.Lock()
	switch {
	case d.credit > 0:
		d.credit--
	case loaded:
		d.loaded.came++
	default:
		d.plain.came++
	}
	d.mu.Unlock()
	d.all.schedule(d)
}

// matchLocked lets nudges and n new entries account for each other.
func (d *durable) matchLocked(n int) {
	n -= d.plain.settle(n)
	n -= d.loaded.settle(n)
	d.credit = min(d.credit+n, streamPageMax)
}

// judgeNudges settles the nudges that had come when a read began which found everything. One without a payload is never
// wrong.
func (d *durable) judgeNudges(loaded, plain int) {
	d.mu.Lock()
	d.plain.settle(plain - d.plain.settled)
	unfounded := d.loaded.settle(loaded - d.loaded.settled)
	d.mu.Unlock()
	if unfounded > 0 {
		d.all.unfounded(d.name, unfounded)
	}
}

// forgiveLocked settles all nudges: it is not known what they were about.
func (d *durable) forgiveLocked() {
	d.plain.settled, d.loaded.settled, d.credit = d.plain.came, d.loaded.came, 0
}
