package relaytest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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

	heard, told time.Duration // the last marker seen, and the last one published
}

// simPos is a position in this relay's order.
type simPos struct{ ord, index int }

func (p simPos) before(o simPos) bool { return p.ord < o.ord || p.ord == o.ord && p.index < o.index }

// simHistory is what a relay remembers of a channel.
type simHistory struct {
	last  simPos
	floor simPos // whatever lies behind it is still there
	held  []simEntry
}

type simEntry struct {
	seq             int
	pos             simPos
	cursor, payload string
}

// simShard hands out what has come in, some time later, in batches.
type simShard struct {
	relay   *simRelay
	mailbox []simPost
	due     bool
	flushed int    // the last sequence handed out
	mark    string // the last marker handed out; empty before the first of this epoch
}

// simPost is an item that is to be handed out.
type simPost struct {
	simItem
	seq    int
	cursor string
}

func (r *simRelay) start() {
	r.lives++
	r.name = fmt.Sprintf("r%d.%d", r.place, r.lives)
	r.up, r.draining, r.slow, r.sessions = true, false, 0, nil
	r.hurt = append(r.hurt, r.w.fault(Fault{Name: "start", Relay: r.name}))
	r.seq, r.cur, r.away = 0, "", "local"+r.random()
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
		if !r.up || r.lives != life {
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
		r.w.after(10*time.Second, func() { // what did not come up by then is tried again
			if r.link == l && !r.ready && !l.over {
				l.cut(nil)
			}
		})
	})
}

// offline is the end of the link.
func (r *simRelay) offline(f *Fault) {
	r.link, r.ready, r.away = nil, false, "local"+r.random()
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
	if r.w.is("old marker in a new epoch") && r.cur != "" {
		r.marks = map[string]int{r.cur: 0}
	} else {
		r.cur = "local" + r.random()
		r.marks = map[string]int{r.cur: 0}
	}
	r.epoch++
	r.ord, r.history = 0, make(map[string]*simHistory)
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
	l := r.link
	l.ask(func() { l.send(simItem{kind: simPong, pong: then}) })
}

// ingest takes what Redis said, in its order.
func (r *simRelay) ingest(l *simLink, item simItem) {
	if r.link != l {
		return
	}
	switch item.kind {
	case simConfirm:
		r.online()
	case simPong:
		item.pong()
	case simMark:
		r.heard = r.w.now
		if _, known := r.marks[item.mark]; known {
			return
		}
		r.ord++
		r.marks[item.mark], r.cur = r.ord, item.mark
		r.post(simPost{simItem: item})
	case simMessage:
		r.message(item)
	}
}

func (r *simRelay) message(item simItem) {
	h := r.of(item.channel)
	if h.last.ord != r.ord {
		h.last = simPos{ord: r.ord}
	}
	h.last.index++
	cursor := r.encode(r.cur, h.last.index)
	seq := r.post(simPost{simItem: item, cursor: cursor})
	h.held = append(h.held, simEntry{seq: seq, pos: h.last, cursor: cursor, payload: item.payload})
	if len(h.held) > r.w.ring {
		h.floor = h.held[0].pos
		h.held = h.held[1:]
	}
}

func (r *simRelay) of(channel string) *simHistory {
	h := r.history[channel]
	if h == nil {
		h = &simHistory{}
		r.history[channel] = h
	}
	return h
}

func (r *simRelay) encode(mark string, index int) string {
	return fmt.Sprintf("%s/%s/%d", r.node.id, mark, index)
}

// decode finds a cursor's place in this relay's order, if it knows the marker.
func (r *simRelay) decode(cursor string) (simPos, bool) {
	parts := strings.Split(cursor, "/")
	if len(parts) != 3 || parts[0] != r.node.id && !r.w.is("node ignored") {
		return simPos{}, false
	}
	ord, known := r.marks[parts[1]]
	index, err := strconv.Atoi(parts[2])
	return simPos{ord, index}, known && err == nil
}

func (r *simRelay) post(p simPost) int {
	r.seq++
	p.seq = r.seq
	for _, shard := range r.shards {
		shard.post(p)
	}
	return r.seq
}

func (h *simShard) post(p simPost) {
	h.mailbox = append(h.mailbox, p)
	if !h.due {
		h.due = true
		life := h.relay.lives
		h.relay.w.after(h.relay.w.upTo(h.relay.w.shard), func() {
			if h.relay.lives == life && h.relay.up {
				h.flush()
			}
		})
	}
}

// flush hands out all that waits.
func (h *simShard) flush() {
	h.due = false
	batch := h.mailbox
	h.mailbox = nil
	for _, p := range batch {
		switch p.kind {
		case simMark:
			h.mark = p.mark
		case simEpoch:
			h.mark = ""
		}
		for _, s := range slices.Clone(h.relay.sessions) {
			if s.shard == h {
				s.take(p)
			}
		}
		h.flushed = p.seq
	}
}
