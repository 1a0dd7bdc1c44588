package relay

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

const (
	// resumeTimeout is how long a subscribe waits for Redis before it is
	// answered with `unavailable`.
	resumeTimeout = 10 * time.Second
)

// A streamReplay sends a subscription to a durable channel the entries that it
// missed, page by page, and makes it live in the step that finds nothing newer.
// One goroutine at a time runs it.
type streamReplay struct {
	stream.Position
	hub      *Hub
	sub      *Subscription
	ref      []byte // of the command that is answered before the first page
	answered bool
}

// resumeDurable is resume for a durable channel. It waits for Redis if
// necessary.
func (h *Hub) resumeDurable(sub *Subscription, ref []byte, request protocol.ChannelRequest) protocol.Code {
	if sub.reader == nil {
		return protocol.CodeUnavailable
	}
	s := sub.session
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), resumeTimeout)
	defer cancel()
	r := &streamReplay{Position: stream.Position{Reader: sub.reader}, hub: h, sub: sub, ref: ref}
	if request.After == "" {
		return r.startFresh(ctx)
	}
	found, err := false, error(nil)
	if cursor, ok := stream.ParseCursor(request.After); ok {
		r.At = cursor
		err = r.retry(ctx, func() (err error) {
			found, _, err = r.Find(ctx)
			return err
		})
	}
	switch {
	case err != nil:
		return protocol.CodeUnavailable
	case !found:
		h.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
		return r.startFresh(ctx)
	}
	return r.run(ctx)
}

// run answers the command, sends a few pages at once, and leaves the rest to
// the session's replay queue.
func (r *streamReplay) run(ctx context.Context) protocol.Code {
	s := r.sub.session
	for steps := 1; ; steps++ {
		switch r.step(ctx) {
		case stepDone:
			return protocol.CodeOK
		case stepWait:
			if r.answered {
				s.enqueueReplay(r)
				return protocol.CodeOK
			}
			r.pause(ctx)
		case stepMore:
			if bytes, _ := s.outbox.Pending(); r.answered && (steps >= replayAtOnce || bytes > 0) {
				s.enqueueReplay(r)
				return protocol.CodeOK
			}
		}
		if !r.answered && (ctx.Err() != nil || s.closeCode.Load() != 0) {
			return protocol.CodeUnavailable
		}
	}
}

// retry calls try until it succeeds or trying again makes no sense.
func (r *streamReplay) retry(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || errors.Is(err, stream.ErrNoStream) || !r.pause(ctx) {
			return err
		}
	}
}

// pause waits until another read may succeed, and reports whether another one
// makes sense: not after ctx ended, nor while the session is being closed.
func (r *streamReplay) pause(ctx context.Context) bool {
	return r.Reader.Pause(ctx) && r.sub.session.closeCode.Load() == 0
}

// startFresh answers the command and makes the subscription live at the end of
// the stream. If Redis is unavailable and the end was never read, the client
// gets a gap as soon as it is known.
func (r *streamReplay) startFresh(ctx context.Context) protocol.Code {
	err := r.retry(ctx, func() error {
		if err := r.Reader.Ready(ctx); !errors.Is(err, stream.ErrUnavailable) {
			return err
		}
		return nil
	})
	if err != nil {
		return protocol.CodeUnavailable
	}
	r.joinWith(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name()})
	return protocol.CodeOK
}

// joinWith makes the subscription live at the reader's place, and sends event
// with the cursor of that place.
func (r *streamReplay) joinWith(event protocol.Event) {
	s, h := r.sub.session, r.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return
	}
	r.Reader.Join(func(place stream.Cursor, known bool, last stream.Seq) {
		if known {
			event.Cursor = place.Text()
		}
		h.mu.Lock()
		h.join(r.sub, uint64(last))
		h.mu.Unlock()
	})
	if event.Type == protocol.EventGap {
		h.cfg.Stats.Gaps[event.Reason].Add(1)
	}
	if !s.send(event) && event.Type == protocol.EventGap && s.gapClose {
		s.closeLocked(protocol.CloseGap)
	}
}

// step implements [task]: it sends the next page, or looks it up.
func (r *streamReplay) step(ctx context.Context) stepResult {
	if len(r.Next) > 0 {
		return r.sendRead()
	}
	if result, kept := r.sendKept(); kept {
		return result
	}
	found, why, err := r.Find(ctx)
	switch {
	case err != nil:
		return stepWait
	case found:
		return stepMore
	case r.Reader.Ready(ctx) != nil:
		return stepWait
	}
	r.giveUp(why)
	return stepDone
}

// giveUp ends the replay with a gap, or with the answer `recovered:false` if
// there was no answer yet.
func (r *streamReplay) giveUp(why protocol.GapReason) {
	if r.answered {
		r.joinWith(protocol.Event{Type: protocol.EventGap, Channel: r.sub.channel.Name(), Reason: why})
		return
	}
	r.hub.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
	r.joinWith(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name()})
}

// sendRead sends some of the entries that were read for this client.
func (r *streamReplay) sendRead() stepResult {
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return stepDone
	}
	r.Next = r.Next[r.send(r.Next, replayPage):]
	return stepMore
}

// sendKept sends some of the entries that the reader keeps, and makes the
// subscription live in the same step if little is left. kept is false if the
// client's place is not among them.
func (r *streamReplay) sendKept() (result stepResult, kept bool) {
	s, h := r.sub.session, r.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return stepDone, true
	}
	limit := replayPage
	var page []*stream.Held
	result = stepMore
	kept = r.Kept(func(entries []*stream.Held, last stream.Seq) {
		if fit(entries, replayTail) == len(entries) {
			result = stepDone
			h.mu.Lock()
			h.join(r.sub, uint64(last))
			h.mu.Unlock()
			limit = math.MaxInt // later entries are live
		}
		page = slices.Clone(entries[:fit(entries, limit)])
	})
	if kept {
		r.send(page, limit)
	}
	return result, kept
}

// fit returns how many of the entries fit into about limit bytes, at least one.
func fit(entries []*stream.Held, limit int) (n int) {
	for n < len(entries) && (limit > 0 || n == 0) {
		limit -= len(entries[n].Payload) + outbox.FrameCharge
		n++
	}
	return n
}

// send answers the command, if that was not done yet, and sends entries until
// their frames reach limit bytes. It returns how many. The shard is locked.
func (r *streamReplay) send(page []*stream.Held, limit int) (n int) {
	s, counters := r.sub.session, r.hub.cfg.Stats
	if !r.answered {
		r.answered = true
		counters.Resumes[stats.ResumeRecovered].Add(1)
		s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name(), Recovered: true, Cursor: r.At.Text()})
	}
	var frames [][]byte
	for n < len(page) && limit > 0 {
		e := page[n]
		n++
		r.At = e.Cursor
		if frame := e.Frame(s.protocol, r.sub.channel.Name()); frame != nil && !s.isOwnEntry(r.sub.channel.Name(), e.Cursor) {
			frames = append(frames, frame)
			limit -= len(frame) + outbox.FrameCharge
		}
		if e.TooLarge {
			counters.Gaps[protocol.GapTooLarge].Add(1)
		}
	}
	if len(frames) > 0 && s.outbox.Deliver(frames) {
		counters.Deliveries[s.protocol.ID()].Add(len(frames))
	}
	r.hub.cfg.Budget.EnforceLimit()
	return n
}
