package relaytest

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A simRelay resumes by markers: a position is a node, a marker, and how many messages came on the channel since.
type simRelay struct {
	w        *sim
	place    int
	name     string // with the number of its life
	lives    int
	up       bool
	draining bool
	sessions []*simSession
	shards   []*simShard

	node  *simNode
	link  *simLink // nil while there is none
	slow  time.Duration
	ready bool
	hurt  []*Fault // over when it is online again

	// Of this epoch.
	epoch   int
	seq     int
	ord     int
	cur     string // the marker that stands in new positions
	away    string // the local marker for those who come while there is no link
	marks   map[string]int
	history map[string]*simHistory
	floor   simPos     // no channel without a history was spoken on since
	flight  *simFlight // nil while there is none

	heard, told time.Duration // the last marker seen, and the last one published
}

// A simFlight is a PING under way, and who waits for its answer. Who comes later waits for the next one's: what was
// published meanwhile may come behind this one's.
type simFlight struct{ waiting, next []func() }

func (r *simRelay) start() {
	r.lives++
	r.name = fmt.Sprintf("r%d.%d", r.place, r.lives)
	r.up, r.draining, r.slow, r.sessions = true, false, 0, nil
	r.hurt = append(r.hurt, r.w.fault(Fault{Name: "start", Relay: r.name}))
	r.seq, r.cur, r.away, r.flight = 0, "", "local"+r.random(), nil
	r.newEpoch()
	r.shards = nil
	for range 2 {
		r.shards = append(r.shards, &simShard{relay: r})
	}
	r.connect()
	life := r.lives
	r.w.repeat(time.Second, func() (time.Duration, bool) {
		if r.lives != life || !r.up {
			return 0, false
		}
		if r.ready && (r.w.now-r.heard > time.Second || r.w.now-r.told > 5*time.Second) {
			r.publishMark()
		}
		return 100*time.Millisecond + r.w.upTo(200*time.Millisecond), true
	})
}

// die is kill -9.
func (r *simRelay) die() {
	r.up, r.ready = false, false
	for _, s := range slices.Clone(r.sessions) {
		s.end()
	}
	if r.link != nil {
		r.link.over = true
		r.node.links = slices.DeleteFunc(r.node.links, func(l *simLink) bool { return l == r.link })
		r.link = nil
	}
	for _, f := range r.hurt {
		f.To = r.w.time()
	}
	r.hurt = nil
}

// drain closes all sessions, one after the other, and starts the relay again.
func (r *simRelay) drain(f *Fault) {
	r.draining = true
	for _, s := range slices.Clone(r.sessions) {
		r.w.after(r.w.upTo(3*time.Second), func() {
			if !s.over {
				if !r.w.is("no last heartbeat") {
					s.heartbeat()
				}
				s.send(Event{Kind: KindClose, Code: 1012})
				s.end()
			}
		})
	}
	r.w.after(4*time.Second, func() {
		f.To = r.w.time()
		if r.up && r.draining {
			r.die()
			away := r.w.upTo(3 * time.Second)
			if r.w.roll > 0 {
				away = r.w.roll / 2 // by then its clients are elsewhere: a successor is up before, or long after
			}
			r.w.after(away, r.start)
		}
	})
}

func (r *simRelay) connect() {
	life := r.lives
	r.w.after(5*time.Millisecond+r.w.upTo(50*time.Millisecond), func() {
		if !r.up || r.lives != life || r.link != nil { // the life before may have been about to connect, too
			return
		}
		if r.node.down {
			r.w.after(100*time.Millisecond+r.w.upTo(time.Second), r.connect)
			return
		}
		l := &simLink{w: r.w, relay: r, node: r.node}
		r.link = l
		l.ask(func() {
			l.node.links = append(l.node.links, l)
			l.send(simItem{kind: simConfirm})
		})
		if r.w.is("gap before the confirmation") {
			r.online()
		}
		r.w.after(10*time.Second, func() { // what did not come up by then is tried again
			if r.link == l && !r.ready && !l.over {
				l.cut(nil)
			}
		})
	})
}

// offline is the end of the link.
func (r *simRelay) offline(f *Fault) {
	r.link, r.ready, r.away, r.flight = nil, false, "local"+r.random(), nil
	if f != nil {
		r.hurt = append(r.hurt, f)
	}
	for _, s := range r.sessions {
		s.send(Event{Kind: KindOffline, Text: "redis"})
		if r.w.is("gap before resubscription") {
			s.send(Event{Kind: KindGap, Text: "redis"})
		}
		for _, sub := range s.order {
			if sub.state == simWaiting {
				s.absent(sub)
			}
		}
	}
	r.w.after(100*time.Millisecond+r.w.upTo(2*time.Second), r.connect)
}

func (r *simRelay) newEpoch() {
	r.epoch++
	if r.w.is("history outlives the link") && r.cur != "" {
		return
	}
	if r.w.is("old marker in a new epoch") && r.cur != "" {
		r.marks = map[string]int{r.cur: 0}
	} else {
		r.cur = "local" + r.random()
		r.marks = map[string]int{r.cur: 0}
	}
	r.ord, r.history, r.floor = 0, make(map[string]*simHistory), simPos{}
}

func (r *simRelay) random() string { return strconv.FormatUint(r.w.random.Uint64(), 36) }

// online is the confirmation of the subscription on a new link.
func (r *simRelay) online() {
	r.newEpoch()
	r.ready, r.heard = true, r.w.now
	for _, f := range r.hurt {
		f.To = r.w.time()
	}
	r.hurt = nil
	r.post(simPost{simItem: simItem{kind: simEpoch, mark: r.cur}})
	r.publishMark()
	for _, s := range r.sessions {
		for _, sub := range s.order {
			if sub.state == simAbsent {
				if r.w.is("joined before the barrier") {
					sub.attach(r.seq)
					continue
				}
				r.barrier(func() { s.joinLate(sub) })
			}
		}
	}
}

func (r *simRelay) publishMark() {
	r.told = r.w.now
	item := simItem{kind: simMark, mark: "m" + r.random()}
	l := r.link
	l.ask(func() {
		l.node.publish(item)
		if r.w.is("marker sent twice") {
			r.w.after(r.w.upTo(2*time.Second), func() { l.node.publish(item) })
		}
	})
}

// barrier calls then when whatever Redis had published before has come in.
func (r *simRelay) barrier(then func()) {
	switch f := r.flight; {
	case f == nil:
		r.ping([]func(){then})
	case r.w.is("joins a PING under way"):
		f.waiting = append(f.waiting, then)
	default:
		f.next = append(f.next, then)
	}
}

func (r *simRelay) ping(waiting []func()) {
	l, f := r.link, &simFlight{waiting: waiting}
	r.flight = f
	l.ask(func() {
		l.send(simItem{kind: simPong, pong: func() {
			r.flight = nil
			if len(f.next) > 0 {
				r.ping(f.next)
			}
			for _, then := range f.waiting {
				then()
			}
		}})
	})
}

// ingest takes what Redis said, in its order.
func (r *simRelay) ingest(l *simLink, item simItem) {
	if r.link != l {
		return
	}
	switch item.kind {
	case simConfirm:
		if !r.ready {
			r.online()
		}
	case simPong:
		item.pong()
	case simMark:
		r.heard = r.w.now
		if _, known := r.marks[item.mark]; known {
			return
		}
		r.ord++
		r.marks[item.mark], r.cur = r.ord, item.mark
		r.forget()
		r.post(simPost{simItem: item})
	case simMessage:
		r.message(item)
	}
}
