package relay_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"sidecast/relay/protocol"
)

// liveRules are those of live channels. They follow how far one client is in
// the log.
type liveRules struct {
	*story
	client *actorClient
	relay  *worldRelay
	log    []entry

	number  int      // of the last entry received
	newest  int      // of the last message received, if its channels share a cursor
	outages []outage // that are still to be reported
	joined  map[string]*position
	known   map[string]*position // of channels that the client has left
}

// A position is how far a client is in one channel.
type position struct {
	before, begunBy int          // the first entry for it is later than before, and at most the first one after begunBy
	last            int          // the last entry that it has received, at any relay
	unseen          []int        // entries of the channel that it has not received
	optional        map[int]bool // those of them that a relay missed, of which it was notified
	started         bool         // it has received one: from now on no message may be missing
	gaps            int          // received since the last message
	largest         int          // payload that the relay's history keeps: in a replay, others are gaps
	resumed         bool         // missed messages are sent late, among new ones of other channels
	notResumed      bool         // the client tried to resume, and was notified that messages may be missing
	excused         bool         // any may be missing before the next: it was notified of that
	newest          int          // it asked for so many of the newest messages
	missed          map[int]bool // by the relay that chose them
	all             bool         // that relay has all messages
	overtaken       bool         // it has no gaps, and the history may drop some of these before they are sent
}

// check returns how far the client is on each live channel at the end of a
// story, or an error if the story breaks a rule. It tries the states of the link
// that the relay may have known when it welcomed the client, and no earlier
// ones: they may fit the story as well, but excuse other entries.
func (c *actorClient) check(s *story) (map[string]*position, error) {
	if s.protocol == protocol.RawID || len(s.events) == 0 || s.events[0].kind != "welcome" || s.fault != nil {
		return c.resumes, s.check(c.newRules(s, 0))
	}
	err := errors.New("welcomed in a state in which the relay never was")
	for known := c.joinedFrom; known <= c.joinedBy; known++ {
		offline := known == 0 || !c.relay.outages[known-1].online
		if offline != s.events[0].offline {
			continue
		}
		r := c.newRules(s, known)
		if err = s.check(r); err == nil {
			maps.Copy(r.live.known, r.live.joined)
			return r.live.known, nil
		}
	}
	return c.resumes, err
}

// newLiveRules are those of a client that was welcomed by a relay that knew so
// many outages.
func newLiveRules(c *actorClient, s *story, known int) *liveRules {
	r := &liveRules{
		story: s, client: c, relay: c.relay, log: c.relay.world.log, outages: c.relay.outages[known:],
		joined: make(map[string]*position), known: make(map[string]*position),
	}
	for channel, p := range c.resumes {
		p := *p
		p.optional = maps.Clone(p.optional)
		r.known[channel] = &p
	}
	return r
}

// subscribe makes the client receive a channel from now on. If it does already,
// nothing changes.
func (r *liveRules) subscribe(a answer) {
	if r.joined[a.channel] != nil {
		return
	}
	p := &position{before: a.before, begunBy: a.begunBy, largest: r.relay.historyBytes / 2, optional: make(map[int]bool)}
	from := a.before
	if a.last > 0 {
		from, p.newest, p.resumed = 0, a.last, true
		p.missed, p.all = r.relay.missed, r.relay.world.complete
		p.overtaken = r.protocol == protocol.RawID && !r.gapClose && !r.relay.world.complete
	}
	if known := r.known[a.channel]; known != nil && a.after != "" {
		p.last = known.last
	}
	for i, e := range r.log {
		n := i + 1
		visible := r.protocol == protocol.V1ID || e.kind == entryMessage && !r.relay.missed[n]
		if n > max(from, p.last) && e.channel == a.channel && visible {
			p.unseen = append(p.unseen, n)
		}
	}
	r.joined[a.channel] = p
}

func (r *liveRules) answered(a answer, e *event) error {
	switch e.kind {
	case "error":
		return errors.New("not in the model")
	case "unsubscribed":
		if p := r.joined[a.channel]; p != nil {
			r.known[a.channel] = p
			delete(r.joined, a.channel)
		}
	case "subscribed":
		return r.subscribed(a, e)
	}
	return nil
}

// subscribed makes the client receive a channel: from where it was, or from now
// on.
func (r *liveRules) subscribed(a answer, e *event) error {
	known, counts := r.known[a.channel], r.relay.world.counts
	switch {
	case r.joined[a.channel] != nil:
		return nil
	case e.recovered && a.after == "" && r.together: // it resumed other channels
		r.subscribe(a)
		r.joined[a.channel].resumed = true
		return nil
	case e.recovered && (a.after == "" || known == nil):
		return errors.New("recovered what the client never had")
	case e.recovered:
		counts["live recovered"]++
		known.resumed, known.largest = true, r.relay.historyBytes/2
		r.joined[a.channel] = known
	case a.after != "" && known != nil && r.relay.world.complete:
		return errors.New("a gap although the history has everything")
	case a.last > 0 && e.cursor == "" && e.places == nil && r.relay.historyBytes > 0:
		return errors.New("without the place before the newest messages")
	default:
		if a.last > 0 {
			counts["live last"]++
		}
		r.subscribe(a)
		if p := r.joined[a.channel]; e.places != nil {
			p.resumed = true // other channels begin with their newest messages
		}
		if a.after != "" {
			counts["live not recovered"]++
			r.joined[a.channel].notResumed = true
		}
	}
	return nil
}

func (r *liveRules) message(e *event) error {
	if e.number < 1 || e.number > len(r.log) {
		return errors.New("there is no such entry")
	}
	published := r.log[e.number-1]
	if r.protocol == protocol.RawID {
		e.channel = published.channel
	}
	switch p := r.joined[e.channel]; {
	case published.kind != entryMessage || published.channel != e.channel || published.payload != string(e.payload):
		return fmt.Errorf("published was %.60q on %s", published.payload, published.channel)
	case p == nil:
		return errNotSubscribed
	case r.together && e.number <= r.newest:
		return fmt.Errorf("after %d", r.newest)
	}
	if r.newest = e.number; e.places != nil {
		r.relay.world.counts["messages with a list"]++
	}
	switch p := r.joined[e.channel]; {
	case e.number <= r.number && !p.resumed:
		return fmt.Errorf("after %d", r.number)
	case p.resumed:
		return p.advance(r.log, e.number)
	case r.protocol == protocol.V1ID && len(r.outages) > 0 && r.outages[0].after < e.number:
		return fmt.Errorf("before the client was notified of the outage after %d", r.outages[0].after)
	default:
		r.number = e.number
		return p.advance(r.log, e.number)
	}
}

// advance continues after an entry that was received.
func (p *position) advance(log []entry, number int) error {
	k := slices.Index(p.unseen, number)
	if k < 0 {
		return fmt.Errorf("was received already, or published before %d, when the client asked", p.before)
	}
	excused, started, skipped := p.excused, p.started, p.unseen[:k]
	if p.newest > 0 && !started {
		if err := p.checkNewest(k); err != nil {
			return err
		}
	}
	p.unseen, p.last = p.unseen[k+1:], number
	p.excused, p.started = false, true
	if excused {
		p.gaps = 0
		return nil
	}
	err := p.checkSkipped(log, started, skipped)
	if err != nil && p.overtaken {
		p.overtaken, err = false, nil
	}
	return err
}

// checkNewest checks that a client that asked for the newest messages gets the
// right number, if the first one is unseen[k].
func (p *position) checkNewest(k int) error {
	early, late := 0, 0 // messages from k on that the relay had for certain when it chose them, and those that it may have had
	available := 0
	for i, n := range p.unseen {
		switch received := !p.missed[n]; {
		case received && n <= p.before && i < k:
			available++
		case received && n <= p.before:
			available++
			early++
			late++
		case received && n <= p.begunBy:
			late++
		}
	}
	switch {
	case early > p.newest:
		return fmt.Errorf("%d of the newest messages, instead of %d", early, p.newest)
	case p.all && late < min(p.newest, available):
		return fmt.Errorf("at most %d of the newest messages, instead of %d", late, min(p.newest, available))
	}
	return nil
}

// checkSkipped checks that the gaps received since the last message stand for
// the entries skipped. Before the first message, they stand for the last of
// these: what precedes them may have been published before the client had
// joined.
func (p *position) checkSkipped(log []entry, started bool, skipped []int) error {
	oversize := func(n int) bool {
		return log[n-1].kind == entryOversize || p.resumed && !p.optional[n] && len(log[n-1].payload) > p.largest
	}
	required := slices.DeleteFunc(slices.Clone(skipped), func(n int) bool { return p.optional[n] })
	gaps, possible := p.gaps, 0
	p.gaps = 0
	for _, n := range skipped {
		if oversize(n) {
			possible++
		}
	}
	if !started {
		for len(required) > gaps && required[0] <= p.begunBy {
			required = required[1:]
		}
	}
	for _, n := range required {
		if !oversize(n) || len(required) > gaps {
			return fmt.Errorf("%d is missing before it, after %d gaps; the client had joined at %d", n, gaps, p.begunBy)
		}
	}
	if gaps > possible {
		return fmt.Errorf("%d gaps, of %d possible ones", gaps, possible)
	}
	return nil
}

func (r *liveRules) gap(e *event) error {
	p := r.joined[e.channel]
	switch {
	case p == nil:
		return errNotSubscribed
	case p.resumed && (e.reason == "history" || e.reason == "redis"), p.notResumed && e.reason == "redis":
		p.excused = true // the history dropped its next message, or there was no link
		return nil
	case e.reason != "too_large":
		return errors.New("a gap of a channel for this reason")
	}
	p.gaps++
	return nil
}

func (r *liveRules) outage(e *event) error {
	online := e.kind == "gap"
	if r.together && online && (e.reason == "history" || len(r.outages) == 0 || !r.outages[0].online) {
		return r.gapTogether(e)
	}
	switch {
	case len(r.outages) == 0 || r.outages[0].online != online:
		return errors.New("an outage without a cause")
	case e.reason != "redis":
		return errors.New("an outage for this reason")
	case r.outages[0].after < r.number:
		return fmt.Errorf("the outage after %d, after %d", r.outages[0].after, r.number)
	}
	r.number = r.outages[0].after
	r.outages = r.outages[1:]
	if online {
		for _, p := range r.joined { // the gap excuses the entries that the relay missed
			for _, n := range p.unseen {
				p.optional[n] = p.optional[n] || n <= r.number && r.relay.missed[n]
			}
		}
	}
	return nil
}

// gapTogether ends a resume of channels that share a cursor.
func (r *liveRules) gapTogether(e *event) error {
	cause := false
	for _, p := range r.joined {
		cause = cause || p.resumed || p.notResumed && e.reason == "redis"
		p.excused = true
	}
	if !cause {
		return errors.New("a gap of all channels without a cause")
	}
	r.relay.world.counts["together gap "+e.reason]++
	return nil
}

func (r *liveRules) complete() error {
	if r.protocol == protocol.V1ID && len(r.outages) > 0 {
		return fmt.Errorf("the outage after %d was not reported", r.outages[0].after)
	}
	for channel, p := range r.joined {
		if p.excused || p.overtaken {
			continue
		}
		if p.newest > 0 && !p.started {
			if err := p.checkNewest(len(p.unseen)); err != nil {
				return fmt.Errorf("%s, at the end: %w", channel, err)
			}
		}
		if err := p.checkSkipped(r.log, p.started, p.unseen); err != nil {
			return fmt.Errorf("%s, at the end: %w", channel, err)
		}
	}
	return nil
}
