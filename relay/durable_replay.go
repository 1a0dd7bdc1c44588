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
	// streamWait is how long a client that comes back waits for Redis, before it is told that it has to try again.
	resumeTimeout = 10 * time.Second
)

// A streamReplay gives a subscription to a durable channel what it missed, page by page, and makes it live in the step
// that finds nothing newer. One goroutine at a time runs it.
type streamReplay struct {
	stream.Position
	hub  *Hub
	sub  *Subscription
	ref  []byte // of the command that is answered before the first page
	answered bool   // the command was answered
}

// resumeDurable is resume for a durable channel. It waits for Redis where it has to.
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

// run answers the command, sends what is little at once, and leaves more to the session's replays.
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

// insist tries what Redis has to answer, until it does or that is of no use any more.
func (r *streamReplay) retry(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || errors.Is(err, stream.ErrNoStream) || !r.pause(ctx) {
			return err
		}
	}
}

// pause waits until another read may succeed, and reports whether it makes sense: not after ctx ended or when the session
// is being closed.
func (r *streamReplay) pause(ctx context.Context) bool {
	return r.Reader.Pause(ctx) && r.sub.session.closeCode.Load() == 0
}

// fresh begins at the end of the stream, and says so. While Redis is away and the end was never seen, nobody knows where
// that is: the client is told of a gap as soon as it is found.
func (r *streamReplay) startFresh(ctx context.Context) protocol.Code {
	err := r.retry(ctx, func() error {
		if err := r.Reader.Ready(ctx); !errors.Is(err, stream.ErrAway) {
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

// begin makes the subscription live at the relay's place, and sends an event that says where that is.
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

// step implements [stepper]: it sends the next page, or finds it.
func (r *streamReplay) step(ctx context.Context) stepResult {
	if len(r.Next) > 0 {
		return r.sendRead()
	}
	if p, kept := r.sendKept(); kept {
		return p
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

// lost gives the replay up: the client is told, by the answer if it had none yet.
func (r *streamReplay) giveUp(why protocol.GapReason) {
	if r.answered {
		r.joinWith(protocol.Event{Type: protocol.EventGap, Channel: r.sub.channel.Name(), Reason: why})
		return
	}
	r.hub.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
	r.joinWith(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name()})
}

// sendRead sends some of what was read for this client.
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

// sendKept sends some of what the channel keeps, and makes the subscription live in the same step if little is left. kept is
// false if the client's place is not there.
func (r *streamReplay) sendKept() (p stepResult, kept bool) {
	s, h := r.sub.session, r.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return stepDone, true
	}
	limit := replayPage
	var page []*stream.Held
	p = stepMore
	kept = r.Kept(func(entries []*stream.Held, last stream.Seq) {
		if fit(entries, replayTail) == len(entries) {
			p = stepDone
			h.mu.Lock()
			h.join(r.sub, uint64(last))
			h.mu.Unlock()
			limit = math.MaxInt // what comes next is live
		}
		page = slices.Clone(entries[:fit(entries, limit)])
	})
	if kept {
		r.send(page, limit)
	}
	return p, kept
}

// fit returns how many of the entries have payloads of about limit bytes, but at least one.
func fit(entries []*stream.Held, limit int) (n int) {
	for n < len(entries) && (limit > 0 || n == 0) {
		limit -= len(entries[n].Payload) + outbox.FrameCharge
		n++
	}
	return n
}

// send answers the command, if that was not done, and sends entries until their frames make limit bytes. It returns how many
// entries that were. The shard is locked.
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
