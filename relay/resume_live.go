package relay

import (
	"math"

	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/protocol"
)

// A liveBacklog has the messages of live channels that a client missed, from
// the history: of all of them in the order in which they arrived.
type liveBacklog struct {
	*resume
	places    []livePlace // the client's, for each subscription
	one       [1]livePlace
	anchor    history.Cursor // in place of what the requests say
	hasAnchor bool
	anchorOf  string // its channel; empty if it is a marker

	state   liveState
	epoch   uint64 // of the places, or of the link that has to catch up
	cursor  []byte // of the client's place, when it resumed
	known   uint64 // for entries up to this offset, the next entry of each place is known
	differs uint64 // up to this offset, the client needs a cursor for each place
}

type liveState uint8

const (
	liveSearching liveState = iota // the client's place is not known yet
	liveNewest                     // the client wants the newest messages
	liveReplaying
	liveCut // answered without a link: the subscription waits until the next one has caught up
)

func newLiveBacklog(r *resume, requests []protocol.ChannelRequest) *liveBacklog {
	b := &liveBacklog{resume: r}
	if b.places = b.one[:]; len(requests) != 1 {
		b.places = make([]livePlace, len(requests))
	}
	if b.state = liveNewest; r.named {
		b.state = liveSearching
	}
	for i, request := range requests {
		p := &b.places[i]
		p.sub, p.fresh, p.newest = r.subs[i], !namesPlace(request), request.Last
		p.after, p.hasAfter = history.ParseCursor(request.After)
		p.at, p.hasAt = history.ParseCursor(request.At)
	}
	return b
}

// setAnchor sets one place for all channels, unless it is zero.
func (b *liveBacklog) setAnchor(anchor Anchor) {
	if anchor == (Anchor{}) {
		return
	}
	var ok bool
	if b.anchor, ok = history.ParseCursor(anchor.Cursor); ok {
		b.hasAnchor, b.anchorOf = true, anchor.Channel
	}
	for i := range b.places {
		b.places[i].hasAfter, b.places[i].hasAt, b.places[i].fresh = false, false, false
	}
}

// next implements [backlog].
func (b *liveBacklog) next(limit int) page {
	switch b.state {
	case liveSearching:
		if p, found := b.search(); !found {
			return p
		}
	case liveNewest:
		b.beginWithNewest()
	case liveCut:
		return b.awaitLink()
	}
	return b.replay(limit)
}

// beginWithNewest puts the client before the newest messages. While there is no
// link, these are from before the outage: the gap after it follows them. As in
// locate, the hub's lock is free between two channels.
func (b *liveBacklog) beginWithNewest() {
	for i := range b.places {
		p := &b.places[i]
		b.hub.enter()
		if i == 0 {
			b.epoch = b.hub.history.Epoch()
		}
		p.beginWithNewest(b.hub.history)
		b.hub.leave()
	}
	b.begin()
	b.state = liveReplaying
}

// awaitCatchUp waits until this link has caught up. The hub is locked.
func (b *liveBacklog) awaitCatchUp() page {
	b.epoch = b.hub.history.Epoch()
	b.hub.resumer.awaitCatchUp(b.resume)
	return page{kind: pageWait}
}

// begin sets the cursor for the answer. If there are several places, the client
// gets a cursor for each channel, until it has the messages up to the place that
// is furthest ahead: from then on, the last message is its place on all
// channels.
func (b *liveBacklog) begin() {
	if len(b.places) == 1 {
		p := &b.places[0]
		b.cursor = p.cursor
		if p.from.Index > 0 {
			b.origin.channel = p.sub.channel.Name()
		}
		return
	}
	for i := range b.places {
		b.differs = max(b.differs, b.places[i].last)
	}
	b.origin.places = b.list()
}

// list returns the client's place on each channel.
func (b *liveBacklog) list() []protocol.Place {
	list := make([]protocol.Place, len(b.places))
	for i := range b.places {
		list[i] = protocol.Place{Channel: b.places[i].sub.channel.Name(), Cursor: b.places[i].cursor}
	}
	return list
}

// late implements [backlog]: the link is about to be declared lost.
func (b *liveBacklog) late() page {
	b.hub.enter()
	defer b.hub.leave()
	return b.cutLocked()
}

// cutLocked answers without a link. The client may have received the first
// messages of the next link from another relay already. So the subscription
// waits until that link has caught up, and gets a gap in the same step. The
// client cannot resume from the cursor of the answer. The hub is locked.
func (b *liveBacklog) cutLocked() page {
	b.state = liveCut
	return page{kind: pageNotRecovered, cursor: b.hub.history.UnknownCursor()}
}

// awaitLink waits until there is a link that has caught up.
func (b *liveBacklog) awaitLink() page {
	b.hub.enter()
	defer b.hub.leave()
	switch result := b.hub.resumer.caughtUp(b.resume); {
	case b.hub.offline:
		b.hub.resumer.awaitLink(b.resume)
		return page{kind: pageWait}
	case result == caughtUpYes && b.epoch == b.hub.history.Epoch():
		return page{kind: pageGap, why: protocol.GapRedis}
	}
	return b.awaitCatchUp()
}

// replay returns the next messages, about limit bytes of them.
func (b *liveBacklog) replay(limit int) (p page) {
	p = page{kind: pageMore, cursor: b.cursor}
	defer b.dropPages()
	for total := 0; total < max(limit, 1); {
		place, state := b.messages(limit > 0)
		switch {
		case len(p.frames) > 0 && state != messagesFound && state != messagesNone:
			return p // the next step says why there are no more
		case state == messagesNone:
			p.kind = pageLast
			return p
		case state == messagesHeldBack:
			return page{kind: pageFull, cursor: b.cursor}
		case state == messagesGone:
			return page{kind: pageGap, why: protocol.GapHistory}
		case state == messagesCut:
			return page{kind: pageGap, why: protocol.GapRedis}
		}
		if total += b.take(place, limit-total, &p); p.closes {
			return p
		}
	}
	return p
}

// dropPages drops the pages that the step has used.
func (b *liveBacklog) dropPages() {
	for i := range b.places {
		b.places[i].page = nil
	}
}

type messagesState uint8

const (
	messagesFound    messagesState = iota
	messagesNone                   // nothing follows
	messagesHeldBack               // the client has no room
	messagesGone                   // the history has dropped some
	messagesCut                    // the link was lost
)

// messages returns the place whose next message is the oldest one, with the
// page that has it.
func (b *liveBacklog) messages(room bool) (*livePlace, messagesState) {
	if p := b.first(); p != nil && p.page != nil {
		return p, messagesFound
	}
	h := b.hub.history
	b.hub.enter()
	p, state := b.nextLocked()
	if state == messagesFound && !room {
		state = messagesHeldBack
	}
	if state != messagesFound {
		b.hub.leave()
		return nil, state
	}
	first, end := h.Page(p.sub.channel, p.next)
	key := messageKey{end: end, protocol: b.session.protocol.ID()}
	if end == 0 {
		key.end, key.open = p.sub.channel.Newest(), true
	}
	p.end = end
	if p.page = b.hub.messages.find(key); p.page != nil {
		b.hub.leave()
		return p, messagesFound
	}
	copied, _ := copyMessages(h, first, end, math.MaxInt)
	b.hub.leave()
	p.page = b.hub.messages.add(key, b.hub.encode(copied, p.sub))
	return p, messagesFound
}

// nextLocked returns the place whose next message is the oldest one. The hub is
// locked.
func (b *liveBacklog) nextLocked() (p *livePlace, state messagesState) {
	h := b.hub.history
	if h.Epoch() != b.epoch {
		return nil, messagesCut
	}
	if p = b.first(); p != nil {
		if p.isOvertaken() {
			return nil, messagesGone
		}
		return p, messagesFound
	}
	for i := range b.places {
		p := &b.places[i]
		if p.isOvertaken() {
			return nil, messagesGone
		}
		p.next, p.page = h.After(p.sub.channel, p.last), nil // a page may end before messages that are known from now on
	}
	b.known = h.End()
	if p = b.first(); p == nil {
		return nil, messagesNone
	}
	return p, messagesFound
}

// first returns the place whose next message is the oldest one, or nil if none
// is known.
func (b *liveBacklog) first() (first *livePlace) {
	for i := range b.places {
		if p := &b.places[i]; p.next != 0 && p.next < b.known && (first == nil || p.next < first.next) {
			first = p
		}
	}
	return first
}

// limitOf returns the offset before which all messages of a place precede those
// of the other places.
func (b *liveBacklog) limitOf(p *livePlace) uint64 {
	limit := b.known
	for i := range b.places {
		if other := &b.places[i]; other != p && other.next != 0 {
			limit = min(limit, other.next)
		}
	}
	return limit
}

// take appends the frames of messages that follow a place, until they count for
// limit bytes or another place has the next message, and moves the place. It
// returns for how many bytes they count.
func (b *liveBacklog) take(p *livePlace, limit int, to *page) (total int) {
	name, until := p.sub.channel.Name(), b.limitOf(p)
	for i := p.page.after(p.from); i < len(p.page.messages); i++ {
		m := &p.page.messages[i]
		if p.next = m.offset; total >= limit || m.offset >= until {
			return total
		}
		p.from, p.last = m.point(), m.offset
		if p.first == (history.Point{}) {
			p.first, p.frames = p.from, 0
		}
		frame := b.frame(p, m)
		switch {
		case m.large:
			p.frames++
			if b.addTooLarge(to, frame); to.closes {
				return total
			}
		case b.session.isEcho(name, m.hash), !b.searches() && b.session.isSocket(m.socket):
			b.session.recordOwn(p.sub, place(p.from))
			continue
		case frame != nil:
			b.add(to, frame, m.byClient)
			p.frames++
		}
		total += size(frame)
	}
	p.page, p.next = nil, p.end
	return total
}

// frame returns the frame of a message, with the client's places after it if
// these still differ.
func (b *liveBacklog) frame(p *livePlace, m *message) []byte {
	if m.offset >= b.differs || m.frame == nil {
		return m.frame
	}
	p.cursor, _ = m.cursor.AppendText(nil) // never fails
	return b.session.withPlaces(m.frame, b.list())
}

// sent implements [backlog].
func (b *liveBacklog) sent(report func(sub *Subscription, sent blackbox.Replay)) {
	for i := range b.places {
		if p := &b.places[i]; p.first != (history.Point{}) {
			report(p.sub, blackbox.Replay{From: place(p.first), To: place(p.from), Frames: p.frames})
			p.first = history.Point{}
		}
	}
}

// join implements [backlog].
func (b *liveBacklog) join(to *page) (joined bool) {
	b.hub.enter()
	tails, joined := b.tailLocked()
	if joined {
		for _, sub := range b.subs {
			b.hub.joinLive(sub)
		}
	}
	b.hub.leave()
	if !joined {
		return false
	}
	for i, tail := range tails {
		if p := &b.places[i]; p.next != 0 {
			p.page, p.end = b.hub.encode(tail, p.sub), 0
		}
	}
	for p := b.first(); p != nil; p = b.first() {
		b.take(p, math.MaxInt, to)
	}
	return true
}

// tailLocked copies the messages that follow each place. whole is false if they
// are too many for one step, or not held. The hub is locked.
func (b *liveBacklog) tailLocked() (tails []messageCopy, whole bool) {
	b.known = 0
	switch _, state := b.nextLocked(); state {
	case messagesNone:
		return nil, true
	case messagesFound:
	default:
		return nil, false
	}
	tails = make([]messageCopy, len(b.places))
	limit := replayTail
	for i := range tails {
		tails[i], whole = copyMessages(b.hub.history, b.places[i].next, 0, limit)
		if !whole {
			return nil, false
		}
		limit -= tails[i].size()
	}
	return tails, true
}

// joinFresh implements [backlog].
func (b *liveBacklog) joinFresh() []byte {
	newest, cursor := b.hub.joinFresh(b.subs)
	b.origin = origin{channel: nameOf(newest)}
	return cursor
}

// joinFresh makes subscriptions to live channels live from the newest message
// on. It returns the cursor of that message and its channel, or that of the
// newest marker if there was no message since. The shard is locked.
func (h *Hub) joinFresh(subs []*Subscription) (newest *channel, cursor []byte) {
	h.enter()
	defer h.leave()
	for _, sub := range subs {
		h.joinLive(sub)
	}
	newest, at := h.history.NewestOf(channels(subs))
	return newest, h.history.AppendCursor(nil, at)
}
