package relaytest

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A sim is a small world in which relays that resume by markers can be broken: Redis nodes, relays, links that lag and
// break, and clients that move, all on one clock that nobody waits for. A seed makes the same world again. What its clients
// and publishers log is judged by [Check], as what real ones log is.
type sim struct {
	simOptions
	random *rand.Rand
	now    time.Duration
	queue  simQueue
	count  int // events so far

	nodes   []*simNode
	relays  []*simRelay
	clients []*simClient
	writers []*simWriter
	faults  []*Fault
	calm    bool // no new faults, no moves
}

// simOptions are what a world is made of. Durations are greatest values, drawn from evenly.
type simOptions struct {
	broken   string // how the relay is broken; empty for not at all
	nodes    int    // Redis nodes in a cluster
	relays   int
	clients  int
	payloads Payloads
	every    []time.Duration // of each channel: the mean time between messages

	ring      int           // messages of a channel that a relay remembers
	lag       time.Duration // of a bout of a slow Redis link
	shard     time.Duration // from ingest to fan-out
	page      int           // messages in one page of a replay
	pageEvery time.Duration // between two pages
	heartbeat time.Duration
	uplink    time.Duration // between a client and a relay
	stay      time.Duration
	trouble   time.Duration // mean time between faults
	faultKind []string
	roll      time.Duration // between two restarts of one relay after the other; clients stay until then; 0 for none
	lasting   time.Duration // of trouble and moves

	// What is rare: where it is 0, it does not happen.
	forget    time.Duration // a relay forgets a channel that was idle for so long
	again     time.Duration // mean time until a client asks again for a channel, on the same connection
	oversize  int           // one in so many messages is larger than relays carry
	miscounts int           // one relay counts one in so many messages twice, as if two patterns of its own matched
	forges    int           // one in so many cursors was changed by those who kept it
}

func (w *sim) is(broken string) bool { return w.broken == broken }

// upTo draws from the time before d.
func (w *sim) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.random.Int64N(int64(d)))
}

// about draws a time with mean d, as rare things come.
func (w *sim) about(d time.Duration) time.Duration {
	return time.Duration(w.random.ExpFloat64() * float64(d))
}

func (w *sim) oneIn(n int) bool { return w.random.IntN(n) == 0 }

func (w *sim) time() time.Time { return sceneStart.Add(w.now) }

// after calls f in d.
func (w *sim) after(d time.Duration, f func()) {
	w.count++
	heap.Push(&w.queue, simEvent{w.now + d, w.count, f})
}

// repeat calls f again and again, as long as it answers how long to wait.
func (w *sim) repeat(first time.Duration, f func() (next time.Duration, more bool)) {
	w.after(first, func() {
		if next, more := f(); more {
			w.repeat(next, f)
		}
	})
}

// runUntil lets everything happen that is due before then.
func (w *sim) runUntil(then time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= then {
		e := heap.Pop(&w.queue).(simEvent)
		w.now = e.at
		e.do()
	}
	w.now = then
}

type simEvent struct {
	at time.Duration
	n  int
	do func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, k int) bool {
	return q[i].at < q[k].at || q[i].at == q[k].at && q[i].n < q[k].n
}
func (q simQueue) Swap(i, k int) { q[i], q[k] = q[k], q[i] }
func (q *simQueue) Push(e any)   { *q = append(*q, e.(simEvent)) }
func (q *simQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last].do = nil
	*q = (*q)[:last]
	return e
}

// simulate runs a world to its end and returns what is known of it.
func simulate(o simOptions, seed uint64) Run {
	w := &sim{simOptions: o, random: rand.New(rand.NewPCG(seed, 1))}
	for i := range o.nodes {
		w.nodes = append(w.nodes, &simNode{w: w, id: fmt.Sprintf("n%d", i)})
	}
	for i := range o.relays {
		r := &simRelay{w: w, place: i, node: w.nodes[i%o.nodes]}
		w.relays = append(w.relays, r)
		r.start()
	}
	for i, every := range o.every {
		writer := &simWriter{w: w, channel: fmt.Sprintf("c%d", i), node: w.nodes[w.random.IntN(o.nodes)]}
		w.writers = append(w.writers, writer)
		w.repeat(w.about(every), func() (time.Duration, bool) {
			writer.publish(w.payloads.kind(writer.seq + 1))
			return w.about(every), !w.calm
		})
	}
	for i := range o.clients {
		c := &simClient{w: w, name: fmt.Sprintf("client %d", i)}
		for k := range o.every {
			if w.random.IntN(3) > 0 || k == i%len(o.every) {
				c.channels = append(c.channels, fmt.Sprintf("c%d", k))
			}
		}
		w.clients = append(w.clients, c)
		w.after(w.upTo(3*time.Second), c.connect)
	}
	if o.trouble > 0 {
		w.repeat(w.about(o.trouble), func() (time.Duration, bool) {
			if !w.calm {
				w.harm(o.faultKind[w.random.IntN(len(o.faultKind))])
			}
			return w.about(o.trouble), !w.calm
		})
	}
	if o.roll > 0 {
		next := 0
		w.repeat(o.roll, func() (time.Duration, bool) {
			r := w.relays[next%o.relays]
			r.drain(w.fault(Fault{Name: "roll", Relay: r.name, Ends: true}))
			next++
			return o.roll, w.now+o.roll < o.lasting
		})
	}
	w.runUntil(o.lasting)
	w.calm = true
	w.runUntil(o.lasting + 25*time.Second)
	for _, writer := range w.writers {
		writer.publish(StampEnd)
	}
	w.runUntil(o.lasting + 40*time.Second)
	return w.log()
}

func (w *sim) log() Run {
	run := Run{Rules: Rules{Lag: 2*time.Second + 2*w.lag}}
	for _, writer := range w.writers {
		run.Published = append(run.Published, writer.log...)
	}
	for _, c := range w.clients {
		c.note(Event{})
		run.Sessions = append(run.Sessions, c.sessions...)
	}
	for _, f := range w.faults {
		run.Faults = append(run.Faults, *f)
	}
	return run
}

// fault notes that something is being done to a relay, or to all.
func (w *sim) fault(f Fault) *Fault {
	f.From, f.Gap, f.Offline = w.time(), Any, Any
	w.faults = append(w.faults, &f)
	return &f
}

// harm does one of the things that tests do to a real relay.
func (w *sim) harm(kind string) {
	r := w.relays[w.random.IntN(len(w.relays))]
	switch {
	case kind == "redis": // kill -9, and a start from nothing
		for _, n := range w.nodes {
			n.restart()
		}
	case !r.up || r.draining || r.link == nil:
	case kind == "cut":
		r.link.cut(w.fault(Fault{Name: kind, Relay: r.name}))
	case kind == "hole":
		r.link.hold(w.fault(Fault{Name: kind, Relay: r.name}))
	case kind == "lag":
		r.slow = w.upTo(w.lag)
		w.after(w.upTo(15*time.Second), func() { r.slow = 0 })
	case kind == "kill":
		f := w.fault(Fault{Name: kind, Relay: r.name, Ends: true})
		r.die()
		f.To = w.time()
		w.after(500*time.Millisecond+w.upTo(5*time.Second), r.start)
	case kind == "drain":
		r.drain(w.fault(Fault{Name: kind, Relay: r.name, Ends: true}))
	case kind == "evict" && len(r.sessions) > 0: // a client that does not read
		f := w.fault(Fault{Name: kind, Relay: r.name, Ends: true})
		r.sessions[w.random.IntN(len(r.sessions))].evict()
		f.To = w.time()
	}
}

// A simWriter is the one who publishes on a channel.
type simWriter struct {
	w       *sim
	channel string
	node    *simNode
	seq     uint32
	last    time.Duration // when the last call was executed
	log     []Publication
}

var errSim = errors.New("no Redis")

// publish calls PUBLISH. The call before may be under way: what counts is the order in which they are executed.
func (p *simWriter) publish(kind StampKind) {
	p.seq++
	seq := p.seq
	if kind == StampEqual {
		seq = 0
	}
	m := Publication{
		Channel: p.channel, Seq: p.seq, Payload: string(p.w.payloads.stamped(kind, p.channel, seq)), Receivers: 1,
		Equal: kind == StampEqual, End: kind == StampEnd, Before: p.w.time(),
	}
	p.last = max(p.last, p.w.now+p.w.upTo(5*time.Millisecond))
	m.After = sceneStart.Add(p.last + time.Millisecond)
	n := len(p.log)
	p.log = append(p.log, m)
	item := simItem{kind: simMessage, channel: p.channel, payload: m.Payload}
	if p.w.oversize > 0 && kind != StampEnd && p.w.oneIn(p.w.oversize) {
		item.large = true
		p.w.fault(Fault{Name: "oversize", Channel: p.channel}).To = m.After
	}
	p.w.after(p.last-p.w.now, func() {
		if p.node.down {
			p.log[n].Err = errSim
			return
		}
		p.node.publish(item)
	})
}
