package stream

const (
	// defaultChannelLimit bounds the entries that are kept for clients that
	// resume, in bytes for one channel.
	defaultChannelLimit = 1 << 20
	// defaultTotalLimit is the bound for all channels together, in bytes.
	defaultTotalLimit = 64 << 20
)

// keepLocked appends entries to the ring and drops the oldest ones if the ring
// becomes too large.
func (r *Reader) keepLocked(entries []*Held) {
	if r.removed {
		return
	}
	r.ring = append(r.ring, entries...)
	for _, e := range entries {
		r.chargeLocked(e.charge())
	}
	r.limit = nextLimit(r.limit, entries)
	r.trimLocked()
}

func (r *Reader) chargeLocked(n int) {
	r.bytes += n
	r.readers.keptBytes.Add(n)
}

// trimLocked drops the oldest entries until the ring is within the channel's
// limit and, at this channel's cost, all channels are within the total limit.
func (r *Reader) trimLocked() {
	drop, excess := 0, max(r.bytes-r.readers.channelLimit, int(r.readers.keptBytes.Load()-r.readers.totalLimit))
	for drop < len(r.ring) && excess > 0 {
		excess -= r.ring[drop].charge()
		drop++
	}
	r.dropLocked(drop)
}

// dropLocked drops the first n entries of the ring.
func (r *Reader) dropLocked(n int) {
	for i, e := range r.ring[:n] {
		r.chargeLocked(-e.charge())
		r.base = e.Cursor
		r.ring[i] = nil
	}
	if r.ring = r.ring[n:]; len(r.ring) == 0 {
		r.ring = nil
	}
}

// nextLimit returns how many entries to read next so that they have about
// pageBytes bytes, judging by the size of the last page.
func nextLimit(limit int, page []*Held) int {
	if len(page) == 0 {
		return limit
	}
	bytes := 0
	for _, e := range page {
		bytes += len(e.Payload) + 64
	}
	fit := pageBytes / (bytes/len(page) + 1)
	return min(max(fit, pageMin), 2*limit, pageMax)
}
