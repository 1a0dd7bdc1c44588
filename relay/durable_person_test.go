package relay_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A person comes and goes, and remembers where it was.
type person struct {
	world *durableWorld
	name  int
	count int
	now   *durableLife // nil between two lives
	known map[string]string
	past  []string // all cursors that it ever had
}

// A durableLife is one session of a person. What its client asks for is done by a goroutine of its own, because it waits
// for Redis.
type durableLife struct {
	durableStory
	relay   *durableRelay
	known   map[string]string // cursors of lives before
	session *relay.Session
	outbox  outbox.Outbox
	socket  *datedSocket
	queue   chan func()
	running sync.WaitGroup
	gone    bool
}

// A datedSocket remembers when it was sent what.
type datedSocket struct {
	*outboxtest.FakeSocket
	moment *atomic.Int64
	mu     sync.Mutex
	total  int
	dates  []date
}

// A date says when the first so many bytes were sent.
type date struct {
	bytes  int
	moment int64
}

// Send implements [outbox.Socket].
func (s *datedSocket) Send(frames [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.FakeSocket.Send(frames)
	if s.total += n; n > 0 {
		s.dates = append(s.dates, date{s.total, s.moment.Load()})
	}
	return n, err
}

// act is one step of a person.
func (p *person) act(r *durableRelay) {
	random, l := p.world.random, p.now
	if l == nil {
		p.connect(r)
		return
	}
	if l.socket.Ended() {
		l.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
		p.leave(endEvicted)
		return
	}
	switch op := random.IntN(40); {
	case op < 13:
		p.subscribe()
	case op < 18:
		p.unsubscribe()
	case op < 21:
		p.publish()
	case op < 36:
		l.socket.Give(random.IntN(1 << (4 + random.IntN(14))))
	case op < 38:
		p.leave(endLeft)
	case op == 38:
		l.session.Close(protocol.CloseRestart)
		l.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
		p.leave(endClosed)
	}
}

func (p *person) connect(r *durableRelay) {
	w := p.world
	p.count++
	spoken := protocol.All()[min(w.random.IntN(4), 1)]
	l := &durableLife{relay: r, known: maps.Clone(p.known), queue: make(chan func(), 1000)}
	l.durableStory = durableStory{id: fmt.Sprintf("%d.%d", p.name, p.count), protocol: spoken.ID()}
	l.gapClose = l.protocol == protocol.RawID && w.random.IntN(2) == 0
	room := outboxtest.Unlimited
	if w.random.IntN(2) == 0 {
		room = w.random.IntN(3000)
	}
	l.socket = &datedSocket{FakeSocket: outboxtest.NewFakeSocket(room), moment: &w.vault.moment}
	l.outbox.Init(r.budget, l.socket, spoken.Close(protocol.CloseSlow))
	l.session = r.hub.Join(relay.Client{Protocol: spoken, Outbox: &l.outbox, GapClose: l.gapClose})
	l.running.Go(func() {
		for do := range l.queue {
			do()
		}
	})
	if l.protocol == protocol.RawID {
		channels := w.channels[w.random.IntN(len(w.channels)):]
		l.asked = []question{{kind: "subscribed", channels: channels}}
		l.queue <- func() { l.session.Subscribe(channels) }
	}
	p.now = l
	w.lives = append(w.lives, l)
}

// ask sends a command.
func (l *durableLife) ask(q question, format string, args ...any) {
	l.asked = append(l.asked, q)
	text := fmt.Appendf(nil, format+`,"ref":%d}`, append(args, len(l.asked))...)
	l.queue <- func() { l.session.Handle(text, true) }
}

func (p *person) subscribe() {
	l, random := p.now, p.world.random
	if l.protocol != protocol.V1ID {
		return
	}
	joined, pending, known := l.state()
	q := question{kind: "subscribed"}
	var requests []string
	for range 1 + random.IntN(3) {
		channel := p.world.channels[random.IntN(len(p.world.channels))]
		if joined[channel] || pending[channel] || slices.Contains(q.channels, channel) {
			continue
		}
		after := known[channel]
		switch random.IntN(24) {
		case 0, 1:
			after = ""
		case 2:
			after = "AgAAAAAAAA" // there was no stream yet
		case 3:
			after = "bogus"
		case 4, 5: // an older one, perhaps of another channel
			if len(p.past) > 0 {
				after = p.past[random.IntN(len(p.past))]
			}
		}
		q.channels, q.after = append(q.channels, channel), append(q.after, after)
		requests = append(requests, fmt.Sprintf(`{"channel":%q,"after":%q}`, channel, after))
	}
	if len(requests) > 0 {
		l.ask(q, `{"type":"subscribe","channels":[%s]`, strings.Join(requests, ","))
	}
}

func (p *person) unsubscribe() {
	l := p.now
	channel := p.world.channels[p.world.random.IntN(len(p.world.channels))]
	if joined, pending, _ := l.state(); joined[channel] && !pending[channel] {
		l.ask(question{kind: "unsubscribed", channels: []string{channel}}, `{"type":"unsubscribe","channel":%q`, channel)
	}
}

func (p *person) publish() {
	l, w := p.now, p.world
	if l.protocol != protocol.V1ID {
		return
	}
	channel, by := w.channels[w.random.IntN(len(w.channels))], ""
	echo := w.random.IntN(2) == 0
	if !echo {
		by = " by " + l.id
	}
	w.published++
	text := fmt.Sprintf("#c%d%s", w.published, by)
	l.ask(question{kind: "ok"}, `{"type":"publish","channel":%q,"data":%q,"echo":%v`, channel, text, echo)
}

// state is what the client knows: what it is in, what it has asked for, and where it is.
func (l *durableLife) state() (joined, pending map[string]bool, known map[string]string) {
	l.listen()
	joined, pending, known = map[string]bool{}, map[string]bool{}, maps.Clone(l.known)
	for _, q := range l.asked {
		for _, channel := range q.channels {
			pending[channel] = l.protocol == protocol.V1ID
		}
	}
	answers := map[string]int{}
	for _, h := range l.heard {
		switch kind := h.kind; {
		case kind == "error" && l.asked[h.ref-1].kind == "ok": // it could not publish
		case kind == "subscribed", kind == "unsubscribed", kind == "error":
			joined[h.channel] = h.kind == "subscribed"
			answers[h.channel]++
		}
		if h.cursor != "" && h.channel != "" {
			known[h.channel] = h.cursor
		}
	}
	for channel := range pending {
		asked := 0
		for _, q := range l.asked {
			if slices.Contains(q.channels, channel) {
				asked++
			}
		}
		pending[channel] = asked > answers[channel]
	}
	return joined, pending, known
}

// listen reads what came until now.
func (l *durableLife) listen() {
	if l.gone {
		return
	}
	l.socket.mu.Lock()
	defer l.socket.mu.Unlock()
	stream := l.socket.Got()
	list, err := frames(stream[l.read:])
	if err != nil && err != errCut {
		l.fault = cmp.Or(l.fault, err)
	}
	for i := range list {
		h := &list[i]
		l.read += len(h.frame)
		if err := h.understand(l.protocol); err != nil && h.kind != "message" {
			l.fault = cmp.Or(l.fault, err)
		}
		k, _ := slices.BinarySearchFunc(l.socket.dates, l.read, func(d date, n int) int { return cmp.Compare(d.bytes, n) })
		l.heard = append(l.heard, dated{*h, l.socket.dates[min(k, len(l.socket.dates)-1)].moment})
	}
}

// leave ends a life: what the client has read until now is all that it gets.
func (p *person) leave(end ending) {
	l := p.now
	p.now = nil
	_, _, known := l.state()
	if l.protocol == protocol.V1ID {
		p.known = known
		for _, channel := range slices.Sorted(maps.Keys(known)) {
			p.past = append(p.past, known[channel])
		}
	}
	l.end = end
	l.depart()
}

func (l *durableLife) depart() {
	l.gone = true
	l.queue <- func() {
		l.session.Leave()
		l.outbox.Shut()
		l.socket.Poke()
	}
	close(l.queue)
}

// settle ends a life when everything has been handed out.
func (l *durableLife) settle() {
	l.listen()
	if !l.gone {
		if l.socket.Ended() {
			l.end = endEvicted
		}
		l.depart()
	}
	l.running.Wait()
}
