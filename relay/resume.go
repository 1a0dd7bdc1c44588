package relay

import (
	"slices"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	// replayPage is about how many bytes of a replay are sent at once, and
	// replayLow how many wait in the outbox when the next page is sent: 48 KiB
	// and one message wait at most.
	replayPage = 32 << 10
	replayLow  = 16 << 10
	// replayTail is how many bytes may be left for the step that makes the
	// subscription live, in which the whole shard waits.
	replayTail = 4 << 10
)

// A stepResult says how to go on after a step of a resume.
type stepResult uint8

const (
	stepDone stepResult = iota // the resume has ended
	stepMore                   // take another step
	stepWait                   // take another step when the resume is woken
	stepFull                   // take another step when the outbox has room
)

// A resume brings a subscription from the client's position to the fan-out: it
// answers the subscribe, sends what the client missed page by page, and makes
// the subscription live in the step that finds nothing newer. Subscriptions that
// share a cursor have one resume. The goroutine that takes a step owns the
// fields, unless their comment says otherwise.
type resume struct {
	hub     *Hub
	session *Session
	subs    []*Subscription  // does not change
	one     [1]*Subscription // the memory of subs if there is one
	ref     []byte           // of the command
	named   bool             // the client named a position
	partial bool             // the client may have missed more than is sent, and is not notified
	backlog backlog
	origin  origin // for the answer, if the subscriptions share a cursor

	cached bool   // until the answer, the messages are only searched for the one that follows it
	last   []byte // that message's frame

	answered bool
	gapNext  bool          // the answer is followed by a gap
	deadline int64         // by Hub.now; until then the answer may wait
	timer    *time.Timer   // wakes the resume at the deadline; nil if it has not waited yet
	settled  chan struct{} // closed when the subscribe is answered

	state    resumeState // guarded by the resumer's mu
	caughtUp caughtUp    // likewise
}

// A backlog is what a client may have missed on the channels of a resume. The goroutine that
// takes a step of the resume owns it. Only join and joinFresh are called with
// the shard locked.
type backlog interface {
	// next returns about limit bytes of what follows the client's position, and
	// moves the position to its end. If limit is 0, it returns no frames.
	next(limit int) page
	// late returns what to do instead if the answer has waited too long.
	late() page
	// join makes the subscriptions live, and adds the frames that have become
	// available since the last page to it. It reports false if there is more than
	// fits into this step.
	join(to *page) (joined bool)
	// sent calls report for each channel on which the pages since the last call
	// had messages.
	sent(report func(sub *Subscription, sent blackbox.Replay))
	// joinFresh makes the subscriptions live from the newest message on, and
	// returns its cursor.
	joinFresh() (cursor []byte)
}

// A page is the result of backlog.next.
type page struct {
	kind    pageKind
	frames  [][]byte
	notices int                // frames that are not messages
	closes  bool               // a gap follows the frames that closes the connection
	cursor  []byte             // for the answer
	why     protocol.GapReason // of pageHole and pageGap
	after   []byte             // of pageHole: the cursor after the gap, if no messages follow
}

type pageKind uint8

const (
	pageMore         pageKind = iota // frames, and more follows
	pageLast                         // perhaps frames, and no more was known then
	pageFull                         // there are frames, but no room for them
	pageWait                         // the backlog will wake the resume
	pageNotRecovered                 // messages may be missing; the subscription cannot be live yet
	pageHole                         // messages may be missing before what follows
	pageGap                          // messages may be missing, and nothing can be sent but new ones
	pageFailed                       // the stream cannot be read
)

// namesPlace reports whether a client that subscribes was subscribed before.
func namesPlace(request protocol.ChannelRequest) bool { return request.After != "" || request.At != "" }

// wantsPast reports whether a client that subscribes wants more than new
// messages.
func wantsPast(request protocol.ChannelRequest) bool {
	return namesPlace(request) || request.Since != "" || request.Last > 0
}

// needsResume reports whether a client that subscribes to a live channel gets
// messages of the past. Without a history, there are no newest ones.
func (h *Hub) needsResume(request protocol.ChannelRequest) bool {
	return namesPlace(request) || request.Last > 0 && h.history.On()
}

// newResume returns the resume of a subscription.
func (h *Hub) newResume(sub *Subscription, ref []byte, request protocol.ChannelRequest) *resume {
	r := &resume{
		hub: h, session: sub.session, ref: ref, named: namesPlace(request),
		partial:  !namesPlace(request) && request.Since == "",
		cached:   request.Cached,
		deadline: h.now() + int64(resumeTimeout), settled: make(chan struct{}),
	}
	r.one[0] = sub
	r.subs = r.one[:]
	if sub.reader != nil {
		r.backlog = newStreamBacklog(r, request)
	} else {
		r.backlog = newLiveBacklog(r, []protocol.ChannelRequest{request})
	}
	return r
}

// newJointResume returns the resume of all subscriptions of a session that share
// a cursor: one for each request.
func (h *Hub) newJointResume(s *Session, named bool, requests []protocol.ChannelRequest, anchor Anchor) *resume {
	r := &resume{
		hub: h, session: s, subs: s.together.subs, named: named, partial: !named,
		deadline: h.now() + int64(resumeTimeout), settled: make(chan struct{}),
	}
	b := newLiveBacklog(r, requests)
	b.setAnchor(anchor)
	r.backlog = b
	return r
}

// awaitAnswers waits until resumes have answered. Some may be nil. It gives up
// when they can no longer do that, or when the session is being closed.
func (s *Session) awaitAnswers(list []*resume) {
	list = slices.DeleteFunc(list, func(r *resume) bool { return r == nil })
	if len(list) == 0 {
		return
	}
	defer s.block()()
	limit, look := time.NewTimer(resumeTimeout+sweepEvery), time.NewTicker(resumeRetry)
	defer limit.Stop()
	defer look.Stop()
	for len(list) > 0 {
		select {
		case <-list[0].settled:
			list = list[1:]
		case <-look.C:
			if s.closeCode.Load() != 0 {
				return
			}
		case <-s.hub.resumer.done:
			return
		case <-limit.C:
			return
		}
	}
}

// step sends the next page, of about limit bytes. If there is something to send,
// but limit is 0, it only answers.
func (r *resume) step(limit int) stepResult {
	if first := r.subs[0]; first.is(subscribeEnded) || first.is(subscribeFailed) {
		return stepDone
	}
	p := r.backlog.next(limit)
	if p.kind == pageWait && !r.answered && r.hub.now() >= r.deadline {
		p = r.backlog.late()
	}
	switch p.kind {
	case pageFull:
		if r.answered {
			return stepFull
		}
	case pageWait:
		r.startTimer()
		return stepWait
	case pageFailed:
		r.fail()
		return stepDone
	}
	s := r.session
	s.shard.enter()
	defer s.shard.exit()
	for _, sub := range r.subs {
		if sub.state == subscriptionRemoved {
			return stepDone // subscriptions that share a cursor end together
		}
	}
	return r.send(p)
}

// send sends a page, and makes the subscription live if nothing follows. The
// shard is locked.
func (r *resume) send(p page) stepResult {
	joined := false
	switch p.kind {
	case pageFull:
		if !r.cached {
			r.answer(!r.partial, p.cursor)
		}
		return stepFull
	case pageNotRecovered:
		r.answer(false, p.cursor)
		return stepMore
	case pageHole:
		r.gapNext = true
		r.answer(false, p.cursor)
		r.sendGap(p.why, p.after)
		return stepMore
	case pageGap:
		r.giveUp(p.why)
		return stepDone
	case pageLast:
		joined = r.backlog.join(&p)
	}
	if r.cached && !r.answered && !joined {
		return stepMore
	}
	s, counters := r.session, r.hub.cfg.Stats
	r.answer(!r.partial, p.cursor)
	if len(p.frames) > 0 {
		if s.outbox.DeliverReplay(p.frames) {
			counters.Deliveries[s.protocol.ID()].Add(len(p.frames) - p.notices)
		}
		r.recordReplay()
	}
	r.hub.cfg.Budget.EnforceLimit()
	if p.closes {
		s.closeLocked(protocol.CloseGap)
	}
	if joined {
		r.end()
		return stepDone
	}
	return stepMore
}

// answer answers the subscribe, if that was not done yet. The shard is locked.
func (r *resume) answer(recovered bool, cursor []byte) {
	if r.answered {
		return
	}
	r.settle()
	result := stats.ResumeGap
	if recovered {
		result = stats.ResumeRecovered
	}
	spread := 0
	if r.named {
		r.hub.cfg.Stats.Resumes[result].Add(len(r.subs))
		if !recovered {
			spread = r.hub.spread()
			r.recordMissed(protocol.GapHistory)
		}
	}
	for _, sub := range r.subs {
		r.session.limitDeadline(sub.grant)
	}
	event := protocol.Event{
		Ref: r.ref, Resumed: r.named, Recovered: recovered, GapNext: r.gapNext, Cursor: cursor, Spread: spread,
	}
	if r.session.together != nil {
		r.session.answerTogether(event, r.origin)
	} else {
		r.session.answerSubscribe(r.subs[0], event)
	}
	if r.cached {
		r.session.sendCached(r.subs[0], r.last)
	}
}

// searches reports whether the last event of a cache channel is not known yet: it
// is for every new subscriber.
func (r *resume) searches() bool { return r.cached && !r.answered }

// add adds the frame of a message to a page.
func (r *resume) add(to *page, frame []byte, byClient bool) {
	switch {
	case !r.searches():
		to.frames = append(to.frames, frame)
	case !byClient:
		r.last = frame
	}
}

// sendCached sends the last event of a cache channel, or the notice that there is
// none. The shard is locked.
func (s *Session) sendCached(sub *Subscription, last []byte) {
	if last == nil {
		s.send(protocol.Event{Type: protocol.EventCacheMiss, Channel: sub.channel.Name()})
		return
	}
	s.outbox.Send(last)
	s.hub.cfg.Stats.Deliveries[s.protocol.ID()].Add(1)
}

// end forgets the resume in its subscriptions. The shard is locked.
func (r *resume) end() {
	for _, sub := range r.subs {
		r.hub.endResume(sub)
	}
}

// giveUp makes the subscriptions live from the newest message on, and says that
// messages may be missing. The shard is locked.
func (r *resume) giveUp(why protocol.GapReason) {
	cursor := r.backlog.joinFresh()
	r.end()
	for _, sub := range r.subs {
		r.session.forgetEchoes(sub.channel.Name())
	}
	if !r.answered {
		r.last = nil // a later one may be lost
		r.answer(false, cursor)
		return
	}
	r.sendGap(why, cursor)
}

// sendGap says that messages may be missing. If the subscriptions share a
// cursor, one gap is for all of them, and leaves the client at its last place.
// The shard is locked.
func (r *resume) sendGap(why protocol.GapReason, cursor []byte) {
	r.recordMissed(why)
	s := r.session
	it := item{reason: why, channel: r.subs[0].channel}
	event := protocol.Event{Type: protocol.EventGap, Channel: it.channel.Name(), Reason: why, Cursor: cursor}
	if s.together != nil {
		event.Channel, event.Cursor, event.Spread = "", nil, r.hub.spread()
	}
	it.frames[s.protocol.ID()] = s.protocol.Event(event)
	s.sendGap(&it)
}

// fail ends the subscription with an error in place of the answer.
func (r *resume) fail() {
	s, sub := r.session, r.subs[0]
	answer := s.protocol.Event(protocol.Event{
		Type: protocol.EventError, Ref: r.ref, Command: protocol.CommandSubscribe, Channel: sub.channel.Name(), Code: protocol.CodeUnavailable,
	})
	if r.hub.removeSubscription(sub, subscribeFailed, answer) {
		s.count(protocol.CommandSubscribe, protocol.CodeUnavailable)
		s.lack(protocol.CodeUnavailable)
		if answer == nil {
			s.Close(protocol.CloseTryLater)
		}
	}
	r.settle()
}

// settle records that the subscribe is answered.
func (r *resume) settle() {
	r.answered = true
	for _, sub := range r.subs {
		sub.progress.CompareAndSwap(uint32(subscribePending), uint32(subscribeAnswered))
	}
	close(r.settled)
	r.stopTimer()
}

// startTimer lets the resume take a step at the deadline for its answer.
func (r *resume) startTimer() {
	if !r.answered && r.timer == nil {
		r.timer = time.AfterFunc(time.Duration(r.deadline-r.hub.now()), func() { r.hub.resumer.wake(r) })
	}
}

func (r *resume) stopTimer() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// addTooLarge adds the frame of a message that was too large: a gap. The last
// event of a cache channel is then not known, which needs no gap.
func (r *resume) addTooLarge(to *page, frame []byte) {
	if r.searches() {
		r.last = nil
		return
	}
	r.hub.cfg.Stats.Gaps[protocol.GapTooLarge].Add(1)
	if frame != nil {
		to.frames = append(to.frames, frame)
		to.notices++
	}
	to.closes = frame == nil && r.session.gapClose
}

// size returns the bytes that a frame counts for while it waits.
func size(frame []byte) int { return len(frame) + outbox.FrameCharge }
