package relay

import (
	"errors"
	"math"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// A streamBacklog has the entries of a durable channel that a client missed, or
// with which it begins.
type streamBacklog struct {
	*resume
	sub *Subscription
	stream.Position
	fresh  bool   // the client starts at the end of the stream
	newest int    // it starts with so many of the newest entries; else 0
	cursor []byte // of the place that the client names

	firstSent, lastSent stream.ID // of the entries of the pages since the last call of sent
	frames              int       // of these
	checkSent           uint32    // of these: see blackbox.Replay
}

func newStreamBacklog(r *resume, request protocol.ChannelRequest) *streamBacklog {
	sub := r.subs[0]
	b := &streamBacklog{resume: r, sub: sub, Position: stream.Position{Reader: sub.reader}}
	since, ok := stream.ParseID(request.Since)
	switch {
	case request.After != "":
		b.fresh = !b.Resume(request.After)
	case ok:
		b.Since(since)
	case request.Last > 0:
		b.newest = request.Last
		b.Newest(b.newest)
		return b
	default:
		b.fresh = true
	}
	b.cursor = b.Text()
	return b
}

// newStreamBacklogAt returns the backlog of a client that has received
// everything up to an entry.
func newStreamBacklogAt(r *resume, at stream.Cursor) *streamBacklog {
	b := &streamBacklog{resume: r, sub: r.subs[0], Position: stream.Position{Reader: r.subs[0].reader}}
	b.Move(at)
	return b
}

// next implements [backlog].
func (b *streamBacklog) next(limit int) page {
	wake := func() { b.hub.resumer.wake(b.resume) }
	if b.fresh {
		return b.nextFresh(b.Reader.Ready(wake))
	}
	entries, progress, why, err := b.Next(wake)
	switch {
	case err != nil:
		return b.retry(err)
	case progress == stream.Wait:
		return page{kind: pageWait}
	case progress == stream.Gap && b.newest > 0 && !b.answered:
		b.last = nil
		b.Newest(b.newest) // the stream changed since they were read
		return b.next(limit)
	case progress == stream.Gap:
		return page{kind: pageHole, why: why, cursor: b.cursor, after: b.Follows()}
	case progress == stream.Entries && limit == 0:
		return page{kind: pageFull, cursor: b.Text()}
	}
	p := page{kind: pageLast, cursor: b.Text()}
	if b.take(entries, limit, &p) < len(entries) {
		p.kind = pageMore
	}
	return p
}

// nextFresh joins at the end of the stream as soon as that is known. Without a
// link, the subscription begins without a place, and gets a gap when there is
// one.
func (b *streamBacklog) nextFresh(ready bool, err error) page {
	switch {
	case ready, errors.Is(err, stream.ErrUnavailable):
		return page{kind: pageGap}
	case err != nil:
		return b.retry(err)
	}
	return page{kind: pageWait}
}

// retry waits until it makes sense to read again: for the next link, or if there
// is one, for a moment.
func (b *streamBacklog) retry(err error) page {
	h := b.hub
	if errors.Is(err, stream.ErrNoStream) && !b.answered {
		return page{kind: pageFailed}
	}
	h.enter()
	defer h.leave()
	if h.offline {
		h.resumer.awaitLink(b.resume)
	} else {
		time.AfterFunc(resumeRetry, func() { h.resumer.wake(b.resume) })
	}
	return page{kind: pageWait}
}

// late implements [backlog].
func (b *streamBacklog) late() page { return page{kind: pageFailed} }

// sent implements [backlog].
func (b *streamBacklog) sent(report func(sub *Subscription, sent blackbox.Replay)) {
	if b.firstSent != (stream.ID{}) {
		report(b.sub, blackbox.Replay{From: entryPlace(b.firstSent), To: entryPlace(b.lastSent), Frames: b.frames, Check: b.checkSent})
		b.firstSent = stream.ID{}
	}
}

// join implements [backlog].
func (b *streamBacklog) join(to *page) (joined bool) {
	entries, joined := b.Join(isTail, func(last stream.Seq, behind bool) {
		if behind {
			b.sub.behind = new(b.At)
		}
		b.hub.enter()
		b.hub.join(b.sub, uint64(last))
		b.hub.leave()
	})
	b.take(entries, math.MaxInt, to)
	return joined
}

// joinFresh implements [backlog].
func (b *streamBacklog) joinFresh() (cursor []byte) {
	b.Reader.Join(func(place stream.Cursor, known bool, last stream.Seq) {
		if known {
			cursor = place.Text()
		}
		b.hub.enter()
		b.hub.join(b.sub, uint64(last))
		b.hub.leave()
	})
	return cursor
}

// take appends the frames of entries, until they count for limit bytes, and
// moves the position. It returns the number of entries.
func (b *streamBacklog) take(entries []*stream.Held, limit int, to *page) (n int) {
	s, name := b.session, b.sub.channel.Name()
	for n < len(entries) && limit > 0 {
		e := entries[n]
		n++
		b.Move(e.Cursor)
		if b.lastSent = e.Cursor.ID; b.firstSent == (stream.ID{}) {
			b.firstSent, b.frames, b.checkSent = b.lastSent, 0, 0
		}
		b.checkSent += entryPlace(b.lastSent).Hash()
		frame := e.Frame(s.protocol, name)
		switch {
		case e.TooLarge:
			b.addTooLarge(to, frame)
			b.frames++
			if to.closes {
				return n
			}
		case frame != nil && !s.isEcho(name, e.Hash()) && (b.searches() || !s.hasSocketID() || !s.isSocket(socketOf(e.Payload))):
			b.add(to, frame, b.cached && isByClient(e.Payload))
			b.frames++
		default:
			s.recordOwn(b.sub, entryPlace(e.Cursor.ID))
			continue
		}
		limit -= size(frame)
	}
	return n
}

// isTail reports whether entries are few enough for the step that makes the
// subscription live.
func isTail(entries []*stream.Held) bool {
	left := replayTail
	for _, e := range entries {
		if left -= len(e.Payload) + outbox.FrameCharge; left < 0 {
			return false
		}
	}
	return true
}
