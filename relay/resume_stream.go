package relay

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// A streamBacklog has the entries of a durable channel that a client missed.
type streamBacklog struct {
	*resume
	stream.Position
	fresh  bool   // the client starts at the end of the stream
	cursor []byte // of the position, when the client resumed
	result        // of the last question to Redis
}

type result struct {
	asked bool // and the answer was not used yet
	found bool
	why   protocol.GapReason
	err   error
}

func newStreamBacklog(r *resume, after string) *streamBacklog {
	b := &streamBacklog{resume: r, Position: stream.Position{Reader: r.sub.reader}}
	at, ok := stream.ParseCursor(after)
	b.At, b.fresh = at, !ok
	b.cursor = at.Text()
	return b
}

// next implements [backlog].
func (b *streamBacklog) next(room bool) page {
	if b.hub.resumer.isAsking(b.resume) {
		return page{kind: pageWait}
	}
	if b.asked {
		b.asked = false
		if p, ended := b.redisAnswer(); ended {
			return p
		}
	}
	switch {
	case b.fresh:
		return b.nextFresh()
	case len(b.Next) > 0 && !room:
		return page{kind: pageFull}
	case len(b.Next) > 0:
		p := page{kind: pageMore, cursor: b.cursor}
		n := b.take(b.Next, replayPage, &p.frames)
		b.Next = b.Next[n:]
		return p
	}
	return b.nextKept(room)
}

// redisAnswer returns what follows from the answer to the last question to Redis, if
// it ends the resume or has to be asked again.
func (b *streamBacklog) redisAnswer() (p page, ended bool) {
	switch {
	case b.err == nil && !b.fresh && !b.found:
		b.fresh = true
	case b.err == nil:
	case errors.Is(b.err, stream.ErrNoStream) && !b.answered:
		return page{kind: pageFailed}, true
	case b.fresh && errors.Is(b.err, stream.ErrUnavailable):
		// The subscription begins without a place, and gets a gap as soon as
		// there is one.
	default:
		return b.retry(), true
	}
	return p, false
}

// retry waits for the next link, or if there is one, for a moment.
func (b *streamBacklog) retry() page {
	h := b.hub
	h.lockSequenced()
	defer h.mu.Unlock()
	if h.offline {
		h.resumer.awaitLink(b.resume)
	} else {
		time.AfterFunc(resumeRetry, func() { h.resumer.wake(b.resume) })
	}
	return page{kind: pageWait}
}

// ask calls f, which waits for Redis.
func (b *streamBacklog) ask(f func(context.Context)) page {
	b.asked = true
	b.hub.resumer.ask(b.resume, f)
	return page{kind: pageWait}
}

// nextFresh joins at the end of the stream when that is known.
func (b *streamBacklog) nextFresh() page {
	if b.found = b.Reader.HasPlace(); b.found || errors.Is(b.err, stream.ErrUnavailable) {
		return page{kind: pageGap, why: b.why}
	}
	return b.ask(func(ctx context.Context) { b.err = b.Reader.Ready(ctx) })
}

// nextKept returns entries that the reader keeps, or looks for the position.
func (b *streamBacklog) nextKept(room bool) page {
	p := page{kind: pageMore, cursor: b.cursor}
	full := false
	var some []*stream.Held
	kept := b.Kept(func(entries []*stream.Held, _ stream.Seq) {
		if full = len(entries) > 0 && !room; full {
			return
		}
		n := fit(entries, replayPage)
		some = slices.Clone(entries[:n])
		if n == len(entries) {
			p.kind = pageLast
		}
	})
	switch {
	case !kept:
		return b.ask(func(ctx context.Context) { b.found, b.why, b.err = b.Find(ctx) })
	case full:
		return page{kind: pageFull}
	}
	if b.take(some, replayPage, &p.frames) < len(some) {
		p.kind = pageMore
	}
	return p
}

// late implements [backlog].
func (b *streamBacklog) late() page { return page{kind: pageFailed} }

// join implements [backlog].
func (b *streamBacklog) join() (frames [][]byte, joined bool) {
	var tail []*stream.Held
	b.Kept(func(entries []*stream.Held, last stream.Seq) {
		if joined = fit(entries, replayTail) == len(entries); joined {
			tail = slices.Clone(entries)
			b.hub.mu.Lock()
			b.hub.join(b.sub, uint64(last))
			b.hub.mu.Unlock()
		}
	})
	b.take(tail, math.MaxInt, &frames)
	return frames, joined
}

// joinFresh implements [backlog].
func (b *streamBacklog) joinFresh() (cursor []byte) {
	b.Reader.Join(func(place stream.Cursor, known bool, last stream.Seq) {
		if known {
			cursor = place.Text()
		}
		b.hub.mu.Lock()
		b.hub.join(b.sub, uint64(last))
		b.hub.mu.Unlock()
	})
	return cursor
}

// take appends the frames of entries, until they count for limit bytes, and
// moves the position. It returns the number of entries.
func (b *streamBacklog) take(entries []*stream.Held, limit int, frames *[][]byte) (n int) {
	s, name := b.sub.session, b.sub.channel.Name()
	for n < len(entries) && limit > 0 {
		e := entries[n]
		n++
		b.At = e.Cursor
		if frame := e.Frame(s.protocol, name); frame != nil && !s.isEcho(name, e.Hash()) {
			*frames = append(*frames, frame)
			limit -= size(frame)
		}
		if e.TooLarge {
			b.hub.cfg.Stats.Gaps[protocol.GapTooLarge].Add(1)
		}
	}
	return n
}

// fit returns how many of the entries fit into about limit bytes, at least one.
func fit(entries []*stream.Held, limit int) (n int) {
	for n < len(entries) && (limit > 0 || n == 0) {
		limit -= len(entries[n].Payload) + outbox.FrameCharge
		n++
	}
	return n
}
