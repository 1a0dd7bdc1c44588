package relay

import (
	"math"

	"sidecast/relay/history"
	"sidecast/relay/protocol"
)

// A liveBacklog has the messages of a live channel that a client missed, from
// the history.
type liveBacklog struct {
	*resume
	after, at       history.Cursor // the places that the client names
	hasAfter, hasAt bool
	newest          int // in place of these: how many of the newest messages are for the client

	state  liveState
	epoch  uint64        // of the place, or of the link that has to catch up
	from   history.Point // the last message that the client has, or the marker after it
	last   uint64        // offset of the last entry that is not for it; 0 if that is not held
	cursor []byte        // of from, when the client resumed
}

type liveState uint8

const (
	liveSearching liveState = iota // the client's place is not known yet
	liveNewest                     // the client wants the newest messages
	liveReplaying
	liveCut // answered without a link: the subscription waits until the next one has caught up
)

func newLiveBacklog(r *resume, request protocol.ChannelRequest) *liveBacklog {
	b := &liveBacklog{resume: r}
	b.after, b.hasAfter = history.ParseCursor(request.After)
	b.at, b.hasAt = history.ParseCursor(request.At)
	if !namesPlace(request) {
		b.newest, b.state = request.Last, liveNewest
	}
	return b
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
// link, these are from before the outage: the gap after it follows them.
func (b *liveBacklog) beginWithNewest() {
	b.hub.enter()
	defer b.hub.leave()
	h := b.hub.history
	b.from, b.last = h.Suffix(b.sub.channel, b.newest)
	b.epoch, b.cursor = h.Epoch(), h.AppendCursor(nil, b.from)
	b.state = liveReplaying
}

// search finds the client's place. If that is not known, the client's previous
// relay may have been ahead of this one: after catching up, this relay has the
// same messages. A gap before that would be followed by messages that the
// client has.
func (b *liveBacklog) search() (p page, found bool) {
	if !b.hasAfter && !b.hasAt {
		return page{kind: pageGap}, false // no relay has made such cursors
	}
	b.hub.enter()
	defer b.hub.leave()
	if b.locate() {
		b.state = liveReplaying
		return p, true
	}
	switch result := b.hub.resumer.caughtUp(b.resume); {
	case b.hub.offline, result == caughtUpFailed:
		return b.cutLocked(), false
	case result == caughtUpYes && b.epoch == b.hub.history.Epoch():
		return page{kind: pageGap}, false
	}
	return b.awaitCatchUp(), false
}

// awaitCatchUp waits until this link has caught up. The hub is locked.
func (b *liveBacklog) awaitCatchUp() page {
	b.epoch = b.hub.history.Epoch()
	b.hub.resumer.awaitCatchUp(b.resume)
	return page{kind: pageWait}
}

// locate resolves the later of the two places that the client names, and
// reports whether everything that follows it is held. The hub is locked.
func (b *liveBacklog) locate() bool {
	h, ch := b.hub.history, b.sub.channel
	p, known := history.Point{}, false
	for _, c := range []struct {
		history.Cursor
		named bool
	}{{b.after, b.hasAfter}, {b.at, b.hasAt}} {
		if q, ok := h.Resolve(c.Cursor); c.named && ok && (!known || p.Before(q)) {
			p, known = q, true
		}
	}
	if !known || b.hub.offline {
		return false
	}
	last, ok := h.Locate(ch, p)
	if ok {
		b.epoch, b.from, b.last = h.Epoch(), p, last
		b.cursor = h.AppendCursor(nil, p)
	}
	return ok
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
	for total := 0; total < max(limit, 1); {
		messages, state := b.messages(limit > 0)
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
		total += b.take(messages, limit-total, &p)
	}
	return p
}

type messagesState uint8

const (
	messagesFound    messagesState = iota
	messagesNone                   // nothing follows
	messagesHeldBack               // the client has no room
	messagesGone                   // the history has dropped some
	messagesCut                    // the link was lost
)

// messages returns a page of messages that holds the next one.
func (b *liveBacklog) messages(room bool) (*messagePage, messagesState) {
	h, ch := b.hub.history, b.sub.channel
	b.hub.enter()
	next, state := b.nextLocked()
	if state == messagesFound && !room {
		state = messagesHeldBack
	}
	if state != messagesFound {
		b.hub.leave()
		return nil, state
	}
	first, end := h.Page(ch, next)
	key := messageKey{end: end, protocol: b.sub.session.protocol.ID()}
	if end == 0 {
		key.end, key.open = ch.Newest(), true
	}
	if p := b.hub.messages.find(key); p != nil {
		b.hub.leave()
		return p, messagesFound
	}
	copied, _ := copyMessages(h, first, end, math.MaxInt)
	b.hub.leave()
	return b.hub.messages.add(key, b.hub.encode(copied, b.sub)), messagesFound
}

// nextLocked returns the offset of the next message. The hub is locked.
func (b *liveBacklog) nextLocked() (offset uint64, state messagesState) {
	h := b.hub.history
	switch {
	case h.Epoch() != b.epoch:
		return 0, messagesCut
	case b.from.Before(b.sub.channel.Floor()):
		return 0, messagesGone
	}
	if offset = h.After(b.sub.channel, b.last); offset == 0 {
		return 0, messagesNone
	}
	return offset, messagesFound
}

// take appends the frames of messages that follow the client's place, until
// they count for limit bytes, and moves the place. It returns for how many
// bytes they count.
func (b *liveBacklog) take(from *messagePage, limit int, to *page) (total int) {
	s, name := b.sub.session, b.sub.channel.Name()
	for i := from.after(b.from); i < len(from.messages); i++ {
		m := &from.messages[i]
		if total >= limit {
			break
		}
		b.from, b.last = m.point, m.offset
		switch {
		case m.large:
			b.hub.cfg.Stats.Gaps[protocol.GapTooLarge].Add(1)
			to.notices++
		case s.isEcho(name, m.hash):
			continue
		}
		if m.frame != nil {
			to.frames = append(to.frames, m.frame)
			total += size(m.frame)
		}
	}
	return total
}

// join implements [backlog].
func (b *liveBacklog) join(to *page) (joined bool) {
	h := b.hub.history
	b.hub.enter()
	offset, state := b.nextLocked()
	var tail messageCopy
	joined = state == messagesNone
	if state == messagesFound {
		tail, joined = copyMessages(h, offset, 0, replayTail)
	}
	if joined {
		b.hub.joinLive(b.sub)
	}
	b.hub.leave()
	if joined {
		b.take(b.hub.encode(tail, b.sub), math.MaxInt, to)
	}
	return joined
}

// joinFresh implements [backlog].
func (b *liveBacklog) joinFresh() []byte { return b.hub.joinFresh(b.sub) }

// joinFresh makes a subscription to a live channel live from the newest message
// on, and returns its cursor. The shard is locked.
func (h *Hub) joinFresh(sub *Subscription) (cursor []byte) {
	h.enter()
	defer h.leave()
	h.joinLive(sub)
	return h.history.AppendCursor(nil, h.history.Now(sub.channel))
}
