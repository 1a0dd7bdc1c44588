package relay

import (
	"slices"

	"sidecast/relay/history"
)

// A livePlace is a client's place on one channel.
type livePlace struct {
	sub             *Subscription
	after, at       history.Cursor // the places that the client names
	hasAfter, hasAt bool
	fresh           bool // the client names no place
	newest          int  // if it is fresh: how many of the newest messages are for the client

	from   history.Point // the last message that the client has, or the marker after it
	first  history.Point // of the messages of the pages since the last call of sent, up to from
	frames int           // of these
	last   uint64        // offset of the last entry that is not for it; 0 if that is not held
	next   uint64        // offset of the entry after it; 0 if there is none as far as is known
	page   *messagePage  // has the next entry; nil between two steps
	end    uint64        // offset of the first entry after the page; 0 if that is not known
	cursor []byte        // of from, if places differ
}

// beginWithNewest puts the client before the newest messages. The hub is locked.
func (p *livePlace) beginWithNewest(h *history.History[fanout]) {
	p.from, p.last = h.Suffix(p.sub.channel, p.newest)
	p.cursor = h.AppendCursor(nil, p.from)
}

// search finds the client's place. If that is not known, the client's previous
// relay may have been ahead of this one: after catching up, this relay has the
// same messages. A gap before that would be followed by messages that the
// client has.
func (b *liveBacklog) search() (p page, found bool) {
	if !b.hasAnchor && slices.ContainsFunc(b.places, func(p livePlace) bool { return !p.hasAfter && !p.hasAt && !p.fresh }) {
		return page{kind: pageGap}, false // no relay has made such cursors
	}
	result := b.hub.resumer.caughtUp(b.resume) // before the search: messages may arrive during it
	if b.locate() {
		b.state = liveReplaying
		return p, true
	}
	b.hub.enter()
	defer b.hub.leave()
	switch {
	case b.hub.offline, result == caughtUpFailed:
		return b.cutLocked(), false
	case result == caughtUpYes && b.epoch == b.hub.history.Epoch():
		return page{kind: pageGap}, false
	}
	return b.awaitCatchUp(), false
}

// locate finds the client's place on all channels, and reports whether
// everything that follows is held. To search many channels takes long, so the
// hub's lock is free between two of them.
func (b *liveBacklog) locate() bool {
	anchor, epoch, ok := b.locateAnchor()
	for i := 0; ok && i < len(b.places); i++ {
		ok = b.locateOn(&b.places[i], anchor, epoch)
	}
	if !ok {
		return false
	}
	b.epoch = epoch
	if b.hasAnchor {
		b.origin.channel = b.anchorOf
	} else {
		b.begin()
	}
	return true
}

// An anchored is the place of a client on all channels: a marker, or a message.
type anchored struct {
	history.Point
	offset uint64 // of the message; else 0
}

// locateAnchor finds the client's one place on all channels, if it names one,
// and returns the epoch of all its places.
func (b *liveBacklog) locateAnchor() (at anchored, epoch uint64, ok bool) {
	b.hub.enter()
	defer b.hub.leave()
	h := b.hub.history
	epoch = h.Epoch()
	if !b.hasAnchor {
		return at, epoch, true
	}
	if at.Point, ok = h.Resolve(b.anchor); !ok {
		return at, epoch, false
	}
	if at.Index > 0 {
		i := slices.IndexFunc(b.places, func(p livePlace) bool { return p.sub.channel.Name() == b.anchorOf })
		if i < 0 {
			return at, epoch, false
		}
		at.offset, ok = h.Locate(b.places[i].sub.channel, at.Point)
		if !ok || at.offset == 0 || h.Entry(at.offset).Point != at.Point {
			return at, epoch, false
		}
	}
	b.cursor = h.AppendCursor(nil, at.Point)
	return at, epoch, true
}

// locateOn finds the client's place on one channel, and reports whether
// everything that follows it is held.
func (b *liveBacklog) locateOn(p *livePlace, anchor anchored, epoch uint64) (ok bool) {
	b.hub.enter()
	defer b.hub.leave()
	h := b.hub.history
	switch {
	case b.hub.offline, h.Epoch() != epoch, anchor.offset > 0 && !h.Holds(anchor.offset):
		return false
	case !b.hasAnchor:
		return p.locate(h)
	case anchor.offset == 0:
		p.from = anchor.Point
		p.last, ok = h.Locate(p.sub.channel, p.from)
	default:
		p.from, p.last, ok = h.LocateAfter(p.sub.channel, anchor.offset)
	}
	return ok
}

// locate resolves the later of the two places that the client names, and
// reports whether everything that follows it is held. The hub is locked.
func (p *livePlace) locate(h *history.History[fanout]) (ok bool) {
	if p.fresh {
		p.beginWithNewest(h)
		return true
	}
	known := false
	for _, c := range []struct {
		history.Cursor
		named bool
	}{{p.after, p.hasAfter}, {p.at, p.hasAt}} {
		if q, ok := h.Resolve(c.Cursor); c.named && ok && (!known || p.from.Before(q)) {
			p.from, known = q, true
		}
	}
	if known {
		p.last, ok = h.Locate(p.sub.channel, p.from)
		p.cursor = h.AppendCursor(nil, p.from)
	}
	return ok
}

// isOvertaken reports whether the history has dropped messages that follow the
// place. The hub is locked.
func (p *livePlace) isOvertaken() bool { return p.from.Before(p.sub.channel.Floor()) }
