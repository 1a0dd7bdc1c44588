package relaytest

import (
	"fmt"
	"slices"
	"time"
)

// simItem is what comes over a link.
type simItem struct {
	kind             simKind
	channel, payload string
	large            bool // more than a relay carries
	mark             string
	pong             func() // what waits for it
}

type simKind uint8

const (
	simMessage simKind = iota
	simMark
	simPong
	simConfirm
	simEpoch // within a relay: a new link, and so a gap
)

// A simNode is one Redis. Nodes of a cluster pass everything on to each other, in the order of its node of origin.
type simNode struct {
	w     *sim
	id    string
	down  bool
	lives int
	links []*simLink
	bus   map[*simNode]time.Duration // when the last item gets to another node
}

func (n *simNode) publish(item simItem) {
	n.hand(item)
	for _, other := range n.w.nodes {
		if other == n {
			continue
		}
		if n.bus == nil {
			n.bus = make(map[*simNode]time.Duration)
		}
		n.bus[other] = max(n.bus[other], n.w.now+n.w.upTo(100*time.Millisecond))
		n.w.after(n.bus[other]-n.w.now, func() { other.hand(item) })
	}
}

func (n *simNode) hand(item simItem) {
	for _, l := range n.links {
		l.send(item)
	}
}

// restart kills the node, and starts it from nothing.
func (n *simNode) restart() {
	if n.down {
		return
	}
	f := n.w.fault(Fault{Name: "redis"})
	n.down = true
	for _, l := range slices.Clone(n.links) {
		l.cut(nil)
	}
	n.w.after(n.w.upTo(3*time.Second), func() {
		n.down = false
		n.lives++
		n.id = fmt.Sprintf("%.2s.%d", n.id, n.lives)
		n.w.after(5*time.Second, func() { f.To = n.w.time() }) // by then all have come back
	})
}

// A simLink is a relay's connection to Redis: two pipes.
type simLink struct {
	w     *sim
	relay *simRelay
	node  *simNode
	over  bool

	come, go_ time.Duration // when the last item gets there
	held      bool
	waiting   []func()
}

// send lets an item from Redis come to the relay.
func (l *simLink) send(item simItem) {
	l.come = max(l.come, l.w.now+l.w.upTo(20*time.Millisecond)+l.relay.slow)
	l.w.after(l.come-l.w.now, func() { l.pass(func() { l.relay.ingest(l, item) }) })
}

// ask lets a command come to Redis.
func (l *simLink) ask(do func()) {
	l.go_ = max(l.go_, l.w.now+l.w.upTo(20*time.Millisecond))
	l.w.after(l.go_-l.w.now, func() {
		l.pass(func() {
			if !l.node.down {
				do()
			}
		})
	})
}

func (l *simLink) pass(do func()) {
	switch {
	case l.over:
	case l.held:
		l.waiting = append(l.waiting, do)
	default:
		do()
	}
}

// cut ends the link, which the relay notices at once.
func (l *simLink) cut(f *Fault) {
	if l.over {
		return
	}
	l.over = true
	l.node.links = slices.DeleteFunc(l.node.links, func(other *simLink) bool { return other == l })
	l.relay.offline(f)
}

// hold is a black hole, which the relay notices after a while, if it lasts.
func (l *simLink) hold(f *Fault) {
	if l.held {
		f.To = f.From.Add(1) // it has been done already
		return
	}
	l.held = true
	limit := 8*time.Second + l.w.upTo(2*time.Second)
	if length := l.w.upTo(15 * time.Second); length < limit {
		l.w.after(length, func() {
			f.To = l.w.time()
			l.held = false
			waiting := l.waiting
			l.waiting = nil
			for _, do := range waiting {
				l.pass(do)
			}
		})
		return
	}
	l.w.after(limit, func() {
		if l.over {
			f.To = l.w.time()
		}
		l.cut(f)
	})
}
