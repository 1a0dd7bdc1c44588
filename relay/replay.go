package relay

import (
	"context"
	"math"

	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

const (
	// replayPage is how many bytes of a replay are sent at once, and replayLow
	// how many wait in the outbox when the next page is sent: 48 KiB and one
	// message wait at most.
	replayPage = 32 << 10
	replayLow  = 16 << 10
	// replayTail is how many bytes may be left for the step that makes the
	// subscription live, in which the whole shard waits.
	replayTail = 4 << 10
	// replayAtOnce is how many pages the client's own goroutine sends before it
	// leaves the rest to another goroutine and reads on.
	replayAtOnce = 8
)

// A replay sends a subscription the messages that it missed, page by page, and
// makes it live in the step that finds nothing newer. One goroutine at a time
// runs it.
type replay struct {
	hub      *Hub
	sub      *Subscription
	ref      []byte // of the command that is answered before the first page
	cursor   []byte // of the answer: the place that the client named
	answered bool

	epoch uint64
	from  history.Point // the last message that the client has, or the marker after it
	last  uint64        // offset of the last entry that is not for it; 0 if that is not held

	page  []replayItem // scratch
	bytes []byte       // scratch: the payloads
}

// A replayItem is one message to send again.
type replayItem struct {
	point  history.Point
	offset uint64
	cursor []byte
	begin  int  // of the payload, in replay.bytes
	empty  bool // the message was too large to be relayed
}

// run sends a few pages at once, and leaves the rest to the session's replay
// queue.
func (r *replay) run() {
	for range replayAtOnce {
		if r.step(context.Background()) == stepDone {
			return
		}
		if bytes, _ := r.sub.session.outbox.Pending(); bytes > 0 {
			break
		}
	}
	r.sub.session.enqueueReplay(r)
}

// step implements [task]: it sends the next page.
func (r *replay) step(context.Context) stepResult {
	ended, why, whole := r.finish()
	if !ended && whole {
		r.hub.lockSequenced()
		why, whole = r.collect(replayPage, true)
		r.hub.mu.Unlock()
	}
	switch {
	case ended:
		return stepDone
	case !whole:
		r.giveUp(why)
		return stepDone
	}
	frames := r.encode(replayPage)
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return stepDone
	}
	r.send(frames)
	return stepMore
}

// finish sends the last page and makes the subscription live, if little is
// left.
func (r *replay) finish() (ended bool, why protocol.GapReason, whole bool) {
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return true, 0, true
	}
	r.hub.lockSequenced()
	why, whole = r.collect(replayTail, false)
	ended = whole && r.following() == 0
	if ended {
		r.hub.joinLive(r.sub)
	}
	r.hub.mu.Unlock()
	if ended {
		r.send(r.encode(math.MaxInt)) // all that was collected, because later messages are live
	}
	return ended, why, whole
}

// collect copies the next messages, up to limit bytes including the charge of
// their frames; if one is set, at least one message. whole is false if messages
// are missing, and why is then the reason. The hub is locked.
func (r *replay) collect(limit int, one bool) (why protocol.GapReason, whole bool) {
	h := r.hub.history
	r.page, r.bytes = r.page[:0], r.bytes[:0]
	switch {
	case h.Epoch() != r.epoch:
		return protocol.GapRedis, false
	case r.from.Before(r.sub.channel.Floor()):
		return protocol.GapHistory, false
	}
	for offset := r.following(); offset != 0; {
		e := h.Entry(offset)
		limit -= int(e.Size) + outbox.FrameCharge
		if limit < 0 && (len(r.page) > 0 || !one) {
			break
		}
		r.page = append(r.page, replayItem{
			point: e.Point, offset: offset, cursor: h.AppendCursor(nil, e.Point), begin: len(r.bytes), empty: e.Empty,
		})
		r.bytes = h.Payload(r.bytes, offset, e)
		offset = h.Next(offset, e)
	}
	return 0, true
}

// following returns the offset of the first message after those collected, or
// 0. The hub is locked.
func (r *replay) following() uint64 {
	last := r.last
	if n := len(r.page); n > 0 {
		last = r.page[n-1].offset
	}
	return r.hub.history.After(r.sub.channel, last)
}

// encode makes frames of the collected messages until they reach limit bytes:
// in JSON a payload can become six times as long. The messages that do not fit
// count as not collected.
func (r *replay) encode(limit int) (frames [][]byte) {
	s, name := r.sub.session, r.sub.channel.Name()
	size := 0
	for i, p := range r.page {
		if size >= limit {
			r.page = r.page[:i]
			break
		}
		end := len(r.bytes)
		if i+1 < len(r.page) {
			end = r.page[i+1].begin
		}
		payload := r.bytes[p.begin:end]
		var frame []byte
		switch {
		case p.empty:
			r.hub.cfg.Stats.Gaps[protocol.GapTooLarge].Add(1)
			frame = s.protocol.Event(protocol.Event{Type: protocol.EventGap, Channel: name, Reason: protocol.GapTooLarge, Cursor: p.cursor})
		case s.isEcho(name, payload):
			continue
		default:
			frame = s.protocol.Message(name, p.cursor, payload)
		}
		frames = append(frames, frame)
		size += len(frame) + outbox.FrameCharge
	}
	return frames
}

// send answers the command, if that was not done yet, and sends a page. The
// shard is locked.
func (r *replay) send(frames [][]byte) {
	s := r.sub.session
	if !r.answered {
		r.answered = true
		s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name(), Recovered: true, Cursor: r.cursor})
	}
	if len(frames) > 0 && s.outbox.Deliver(frames) {
		r.hub.cfg.Stats.Deliveries[s.protocol.ID()].Add(len(frames))
	}
	r.hub.cfg.Budget.EnforceLimit()
	if n := len(r.page); n > 0 {
		r.from, r.last = r.page[n-1].point, r.page[n-1].offset
	}
}
