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
	streamWait = 10 * time.Second
)

// A streamReplay gives a subscription to a durable channel what it missed, page by page, and makes it live in the step
// that finds nothing newer. One goroutine at a time runs it.
type streamReplay struct {
	stream.Position
	hub  *Hub
	sub  *Subscription
	ref  []byte // of the command that is answered before the first page
	told bool   // the command was answered
}

// resumeDurable is resume for a durable channel. It waits for Redis where it has to.
func (h *Hub) resumeDurable(sub *Subscription, ref []byte, request protocol.ChannelRequest) protocol.Code {
	if sub.durable == nil {
		return protocol.CodeUnavailable
	}
	s := sub.session
	defer s.wait()()
	ctx, cancel := context.WithTimeout(context.Background(), streamWait)
	defer cancel()
	r := &streamReplay{Position: stream.Position{Reader: sub.durable}, hub: h, sub: sub, ref: ref}
	if request.After == "" {
		return r.fresh(ctx)
	}
	found, err := false, error(nil)
	if cursor, ok := stream.ParseCursor(request.After); ok {
		r.At = cursor
		err = r.insist(ctx, func() (err error) {
			found, _, err = r.Find(ctx)
			return err
		})
	}
	switch {
	case err != nil:
		return protocol.CodeUnavailable
	case !found:
		h.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
		return r.fresh(ctx)
	}
	return r.run(ctx)
}

// run answers the command, sends what is little at once, and leaves more to the session's replays.
func (r *streamReplay) run(ctx context.Context) protocol.Code {
	s := r.sub.session
	for steps := 1; ; steps++ {
		switch r.step(ctx) {
		case paceEnded:
			return protocol.CodeOK
		case paceWait:
			if r.told {
				s.later(r)
				return protocol.CodeOK
			}
			r.pause(ctx)
		case paceOn:
			if bytes, _ := s.outbox.Pending(); r.told && (steps >= replayAtOnce || bytes > 0) {
				s.later(r)
				return protocol.CodeOK
			}
		}
		if !r.told && (ctx.Err() != nil || s.code.Load() != 0) {
			return protocol.CodeUnavailable
		}
	}
}

// insist tries what Redis has to answer, until it does or that is of no use any more.
func (r *streamReplay) insist(ctx context.Context, try func() error) error {
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
	return r.Reader.Pause(ctx) && r.sub.session.code.Load() == 0
}

// fresh begins at the end of the stream, and says so. While Redis is away and the end was never seen, nobody knows where
// that is: the client is told of a gap as soon as it is found.
func (r *streamReplay) fresh(ctx context.Context) protocol.Code {
	err := r.insist(ctx, func() error {
		if err := r.Reader.Ready(ctx); !errors.Is(err, stream.ErrAway) {
			return err
		}
		return nil
	})
	if err != nil {
		return protocol.CodeUnavailable
	}
	r.begin(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name()})
	return protocol.CodeOK
}

// begin makes the subscription live at the relay's place, and sends an event that says where that is.
func (r *streamReplay) begin(event protocol.Event) {
	s, h := r.sub.session, r.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionGone {
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
		s.end(protocol.CloseGap)
	}
}

// step implements [stepper]: it sends the next page, or finds it.
func (r *streamReplay) step(ctx context.Context) pace {
	if len(r.Next) > 0 {
		return r.sendRead()
	}
	if p, kept := r.sendKept(); kept {
		return p
	}
	found, why, err := r.Find(ctx)
	switch {
	case err != nil:
		return paceWait
	case found:
		return paceOn
	case r.Reader.Ready(ctx) != nil:
		return paceWait
	}
	r.lost(why)
	return paceEnded
}

// lost gives the replay up: the client is told, by the answer if it had none yet.
func (r *streamReplay) lost(why protocol.GapReason) {
	if r.told {
		r.begin(protocol.Event{Type: protocol.EventGap, Channel: r.sub.channel.Name(), Reason: why})
		return
	}
	r.hub.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
	r.begin(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name()})
}

// sendRead sends some of what was read for this client.
func (r *streamReplay) sendRead() pace {
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionGone {
		return paceEnded
	}
	r.Next = r.Next[r.send(r.Next, replayPage):]
	return paceOn
}

// sendKept sends some of what the channel keeps, and makes the subscription live in the same step if little is left. kept is
// false if the client's place is not there.
func (r *streamReplay) sendKept() (p pace, kept bool) {
	s, h := r.sub.session, r.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionGone {
		return paceEnded, true
	}
	limit := replayPage
	var page []*stream.Held
	p = paceOn
	kept = r.Kept(func(entries []*stream.Held, last stream.Seq) {
		if fit(entries, replayEnd) == len(entries) {
			p = paceEnded
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
	if !r.told {
		r.told = true
		counters.Resumes[stats.ResumeRecovered].Add(1)
		s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name(), Recovered: true, Cursor: r.At.Text()})
	}
	var frames [][]byte
	for n < len(page) && limit > 0 {
		e := page[n]
		n++
		r.At = e.Cursor
		if frame := e.Frame(s.protocol, r.sub.channel.Name()); frame != nil && !s.added(r.sub.channel.Name(), e.Cursor) {
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
