package relay

// nudge takes in that something may be new. loaded says that the nudge had a payload.
func (d *durable) nudge(loaded bool) {
	d.mu.Lock()
	switch {
	case d.credit > 0:
		d.credit--
	case loaded:
		d.loaded++
	default:
		d.plain++
	}
	d.mu.Unlock()
	d.all.schedule(d)
}

// matchLocked lets nudges and n new entries account for each other.
func (d *durable) matchLocked(n int) {
	plain := min(n, d.plain)
	loaded := min(n-plain, d.loaded)
	d.plain, d.loaded = d.plain-plain, d.loaded-loaded
	d.credit = min(d.credit+n-plain-loaded, streamPageMax)
}

// settleNudges judges the nudges that had come when a read began which found everything. One without a payload is never
// wrong.
func (d *durable) settleNudges(loaded, plain int) {
	d.mu.Lock()
	loaded, plain = min(loaded, d.loaded), min(plain, d.plain)
	d.loaded, d.plain = d.loaded-loaded, d.plain-plain
	d.mu.Unlock()
	if loaded > 0 {
		d.all.unfounded(d.name, loaded)
	}
}
