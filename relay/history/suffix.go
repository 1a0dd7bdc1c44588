package history

// Suffix returns the place before the n newest messages of a channel, and the
// offset of the newest held message at or before it, or 0. If fewer messages
// are held, or a later one is not held because it was too large, the place is
// the first one from which nothing is missing. [History.After] continues there.
func (h *History[T]) Suffix(ch *Channel[T], n int) (p Point, last uint64) {
	if n == 0 {
		return h.Now(ch), ch.newest
	}
	missing := Point{}
	if ch.index != nil {
		missing = ch.index.missing
	}
	offset, held := h.suffixPage(ch, n, missing)
	for p = ch.floor; offset != 0; held-- {
		e := h.ring.entry(offset)
		if held <= n && missing.Before(e.Point) {
			if e.Index == 1 {
				p = Point{Ord: e.Ord} // it is known, other than maybe the marker of the message before
			}
			return p, last
		}
		p, last = e.Point, offset
		offset = h.ring.following(offset, e)
	}
	return h.Now(ch), last
}

// suffixPage returns the first held message of a page, and how many messages
// are held from there on: more than n, or all that follow missing, or all.
func (h *History[T]) suffixPage(ch *Channel[T], n int, missing Point) (offset uint64, held int) {
	pages := ch.index.held()
	for end := uint64(0); ; end = offset {
		first := Point{}
		if len(pages) > 0 {
			last := pages[len(pages)-1]
			offset, first, pages = last.offset, last.Point, pages[:len(pages)-1]
		} else {
			offset = ch.oldest
		}
		for at := offset; at != end; held++ {
			h.walked++
			at = h.ring.following(at, h.ring.entry(at))
		}
		if held > n || offset == ch.oldest || !missing.Before(first) {
			return offset, held
		}
	}
}
