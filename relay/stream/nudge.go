package stream

// nudges counts the nudges of one kind. A nudge is handled when an entry was
// read for it, or when a read found no entry for it. Both numbers only
// increase, and the oldest nudges are handled first.
type nudges struct{ received, handled int }

// markHandled handles at most limit of the received nudges and returns how
// many.
func (n *nudges) markHandled(limit int) int {
	count := max(min(limit, n.received-n.handled), 0)
	n.handled += count
	return count
}

// Nudge schedules a read because the stream may have a new entry. hasPayload
// says whether the nudge carried a payload.
func (r *Reader) Nudge(hasPayload bool) {
	r.mu.Lock()
	switch {
	case r.unannounced > 0:
		r.unannounced--
	case hasPayload:
		r.withPayload.received++
	default:
		r.withoutPayload.received++
	}
	r.mu.Unlock()
	r.readers.schedule(r)
}

// matchEntriesLocked matches n new entries with the nudges that announced them.
func (r *Reader) matchEntriesLocked(n int) {
	n -= r.withoutPayload.markHandled(n)
	n -= r.withPayload.markHandled(n)
	r.unannounced = min(r.unannounced+n, pageMax)
}

// checkNudges is called after a read found everything that the stream had. The
// arguments are the numbers of nudges that were received before that read
// began. Those among them that have no entry are spurious: a message was
// published without XADD. A nudge without a payload is never reported.
func (r *Reader) checkNudges(withPayload, withoutPayload int) {
	r.mu.Lock()
	r.withoutPayload.markHandled(withoutPayload - r.withoutPayload.handled)
	spurious := r.withPayload.markHandled(withPayload - r.withPayload.handled)
	r.mu.Unlock()
	if spurious > 0 {
		r.readers.reportSpurious(r.name, spurious)
	}
}

// markAllHandledLocked handles all nudges, because it is not known which
// entries they announced.
func (r *Reader) markAllHandledLocked() {
	r.withoutPayload.handled, r.withPayload.handled, r.unannounced = r.withoutPayload.received, r.withPayload.received, 0
}
