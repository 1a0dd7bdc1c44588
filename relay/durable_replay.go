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
)

const (
	// streamWait is how long a client that comes back waits for Redis, before it is told that it has to try again.
	streamWait = 10 * time.Second
	// streamPause is how long to wait before a stream is read again that could not be read, and how often to look whether
	// the client is still wanted.
	streamPause = 250 * time.Millisecond
)

var (
	errAway = errors.New("redis is away") // so a stream cannot be read now
	errGone = errors.New("nobody listens to the channel any more")
)

// A streamReplay gives a subscription to a durable channel what it missed, page by page, and makes it live in the step
// that finds nothing newer. One goroutine at a time runs it.
type streamReplay struct {
	d    *durable
	sub  *Subscription
	ref  []byte       // of the command that is answered before the first page
	at   StreamCursor // what the client has
	told bool         // the command was answered

	next    []*heldEntry // behind at, as they were read
	nothing bool         // nothing followed at, though it is not kept, when the relay's place had come to level
	level   StreamCursor
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
	r := &streamReplay{d: sub.durable, sub: sub, ref: ref}
	if request.After == "" {
		return r.fresh(ctx)
	}
	found, err := false, error(nil)
	if cursor, ok := ParseStreamCursor(request.After); ok {
		r.at = cursor
		err = r.insist(ctx, func() (err error) {
			found, _, err = r.find(ctx)
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
			r.d.pause(ctx, s)
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
		if err == nil || errors.Is(err, ErrNoStream) || !r.d.pause(ctx, r.sub.session) {
			return err
		}
	}
}

// fresh begins at the end of the stream, and says so. While Redis is away and the end was never seen, nobody knows where
// that is: the client is told of a gap as soon as it is found.
func (r *streamReplay) fresh(ctx context.Context) protocol.Code {
	err := r.insist(ctx, func() error {
		if err := r.d.ready(ctx); !errors.Is(err, errAway) {
			return err
		}
		return nil
	})
	if err != nil {
		return protocol.CodeUnavailable
	}
	r.begin(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.d.name})
	return protocol.CodeOK
}

// begin makes the subscription live at the relay's place, and sends an event that says where that is.
func (r *streamReplay) begin(event protocol.Event) {
	s, d, h := r.sub.session, r.d, r.d.all.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionGone {
		return
	}
	d.mu.Lock()
	if d.known {
		event.Cursor = d.place.text()
	} else {
		d.owed = true
	}
	h.mu.Lock()
	h.join(r.sub, d.ordinal)
	h.mu.Unlock()
	d.mu.Unlock()
	if event.Type == protocol.EventGap {
		h.cfg.Stats.Gaps[event.Reason].Add(1)
	}
	if !s.send(event) && event.Type == protocol.EventGap && s.gapClose {
		s.end(protocol.CloseGap)
	}
}

// ready waits until the relay has a place in the stream. The error says why it has none.
func (d *durable) ready(ctx context.Context) error {
	for {
		d.mu.Lock()
		known, err := d.known, d.failed
		d.mu.Unlock()
		_, up, _ := d.all.link()
		switch {
		case errors.Is(err, ErrNoStream):
			return err
		case known:
			return nil
		case !up:
			return errAway
		}
		if err := d.refresh(ctx); err != nil {
			return err
		}
	}
}

// pause waits until it may be of use to read again, and reports whether it is: not when the wait has been too long or the
// client is not wanted any more.
func (d *durable) pause(ctx context.Context, s *Session) bool {
	_, _, changed := d.all.link()
	timer := time.NewTimer(streamPause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return s.code.Load() == 0
}

// find looks for what follows the client's place, and reports whether that can be known, and if not, why.
func (r *streamReplay) find(ctx context.Context) (found bool, why protocol.GapReason, err error) {
	for fresh := false; ; {
		switch saw, why, err := r.look(ctx, &fresh); {
		case err != nil:
			return false, 0, err
		case saw == sightGap:
			return false, why, nil
		case saw != sightRetry:
			return true, 0, nil
		}
	}
}

// look is one attempt to find the client's place. fresh says that the relay's own place was brought up to date during the
// search: a client that comes from another relay may be ahead of this one.
func (r *streamReplay) look(ctx context.Context, fresh *bool) (sighting, protocol.GapReason, error) {
	d := r.d
	r.nothing = false
	d.mu.Lock()
	_, kept := d.behindLocked(r.at)
	place := d.place
	ahead := !d.known || r.at.ID.Compare(place.ID) > 0
	d.mu.Unlock()
	if kept {
		return sightKept, 0, nil
	}
	if _, up, _ := d.all.link(); !up {
		return 0, 0, errAway
	}
	if ahead && !*fresh {
		err := d.refresh(ctx)
		*fresh = err == nil
		return sightRetry, 0, err
	}
	saw, entries, why, err := d.passage(ctx, r.at)
	if err != nil || saw != sightRead && saw != sightNone {
		return saw, why, err
	}
	r.next = entries
	if saw == sightRead {
		return saw, 0, nil
	}
	if !*fresh { // whoever is at the end has nothing behind it either
		err := d.refresh(ctx)
		*fresh = err == nil
		return sightRetry, 0, err
	}
	// The relay had come to its place before nothing was found behind the client's: what it handed out between the two is
	// not there any more. That holds as long as it stays there.
	r.nothing, r.level = true, place
	return sightNone, 0, nil
}

// step implements [stepper]: it sends the next page, or finds it.
func (r *streamReplay) step(ctx context.Context) pace {
	if len(r.next) > 0 {
		return r.sendRead()
	}
	if p, kept := r.sendKept(); kept {
		return p
	}
	found, why, err := r.find(ctx)
	switch {
	case err != nil:
		return paceWait
	case found:
		return paceOn
	case r.d.ready(ctx) != nil:
		return paceWait
	}
	r.lost(why)
	return paceEnded
}

// lost gives the replay up: the client is told, by the answer if it had none yet.
func (r *streamReplay) lost(why protocol.GapReason) {
	if r.told {
		r.begin(protocol.Event{Type: protocol.EventGap, Channel: r.d.name, Reason: why})
		return
	}
	r.d.all.hub.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
	r.begin(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.d.name})
}

// sendRead sends some of what was read for this client.
func (r *streamReplay) sendRead() pace {
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionGone {
		return paceEnded
	}
	r.next = r.next[r.send(r.next, replayPage):]
	return paceOn
}

// sendKept sends some of what the channel keeps, and makes the subscription live in the same step if little is left. kept is
// false if the client's place is not there.
func (r *streamReplay) sendKept() (p pace, kept bool) {
	s, d, h := r.sub.session, r.d, r.d.all.hub
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionGone {
		return paceEnded, true
	}
	d.mu.Lock()
	entries, kept := d.behindLocked(r.at)
	if !kept && !(r.nothing && d.known && d.place == r.level) {
		d.mu.Unlock()
		return paceOn, false
	}
	limit := replayPage
	if p = paceOn; fit(entries, replayEnd) == len(entries) {
		p = paceEnded
		h.mu.Lock()
		h.join(r.sub, d.ordinal)
		h.mu.Unlock()
		limit = math.MaxInt // what comes next is live
	}
	page := slices.Clone(entries[:fit(entries, limit)])
	d.mu.Unlock()
	r.send(page, limit)
	return p, true
}

// fit returns how many of the entries have payloads of about limit bytes, but at least one.
func fit(entries []*heldEntry, limit int) (n int) {
	for n < len(entries) && (limit > 0 || n == 0) {
		limit -= len(entries[n].Payload) + outbox.FrameCharge
		n++
	}
	return n
}

// send answers the command, if that was not done, and sends entries until their frames make limit bytes. It returns how many
// entries that were. The shard is locked.
func (r *streamReplay) send(page []*heldEntry, limit int) (n int) {
	s, counters := r.sub.session, r.d.all.hub.cfg.Stats
	if !r.told {
		r.told = true
		counters.Resumes[stats.ResumeRecovered].Add(1)
		s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.d.name, Recovered: true, Cursor: r.at.text()})
	}
	var frames [][]byte
	for n < len(page) && limit > 0 {
		e := page[n]
		n++
		r.at = e.StreamCursor
		if frame := e.frame(s.protocol, r.d.name); frame != nil && !s.added(r.d.name, e.StreamCursor) {
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
	r.d.all.hub.cfg.Budget.EnforceLimit()
	return n
}
