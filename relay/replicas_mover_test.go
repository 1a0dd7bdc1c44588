package relay_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing/synctest"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A mover is one client, through all its sessions.
type mover struct {
	fleet   *fleet
	name    int
	relay   *replica // nil between two sessions
	session *relay.Session
	outbox  *outbox.Outbox
	socket  *outboxtest.FakeSocket
	read    int // bytes
	known   memory
	places  map[string]*hearing
}

// hearing is how far a mover is on a channel.
type hearing struct {
	last    int
	excused bool // it was told that something is missing before the next
	joined  bool
	begin   int  // the last message that the relay had come by when it was asked
	down    bool // and whether it heard any more
}

func (m *mover) connect(r *replica) {
	m.relay, m.read = r, 0
	m.socket, m.outbox = outboxtest.NewFakeSocket(outboxtest.Unlimited), new(outbox.Outbox)
	if m.fleet.random.IntN(3) == 0 {
		m.socket = outboxtest.NewFakeSocket(m.fleet.random.IntN(2000))
	}
	m.outbox.Init(r.budget, m.socket, nil)
	m.session = r.hub.Join(relay.Client{Protocol: protocol.V1{}, Outbox: m.outbox})
	for _, channel := range slices.Sorted(maps.Keys(m.fleet.said)) {
		w := m.known[channel]
		m.session.Handle(fmt.Appendf(nil, `{"type":"subscribe","channels":[{"channel":%q,"after":%q,"at":%q}]}`, channel, w.after, w.at), true)
		m.places[channel] = cmp.Or(m.places[channel], new(hearing))
		m.places[channel].begin, m.places[channel].down = r.heard[channel], r.down
	}
	m.listen()
}

// leave ends the session: the client goes, with bytes on their way, or the relay says goodbye.
func (m *mover) leave() {
	synctest.Wait()
	if m.fleet.random.IntN(2) == 0 {
		m.session.Close(protocol.CloseRestart)
		m.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
	}
	m.listen()
	m.session.Leave()
	m.outbox.Shut()
	m.socket.Poke()
	m.relay = nil
	for _, h := range m.places {
		h.joined = false
	}
}

// listen reads what came.
func (m *mover) listen() {
	got := m.socket.Got()
	list, err := frames(got[m.read:])
	if err != nil && err != errCut {
		m.fleet.t.Fatal(err)
	}
	for i := range list {
		h := &list[i]
		m.read += len(h.frame)
		if h.op == byte(protocol.OpPing) || h.op == byte(protocol.OpClose) {
			continue
		}
		if err := h.decode(); err != nil {
			m.fleet.t.Fatal(err)
		}
		m.hear(h)
	}
}

func (m *mover) hear(h *heard) {
	t, p := m.fleet.t, m.places[h.channel]
	switch h.kind {
	case "subscribed":
		m.joined(h, p)
	case "message":
		n := 0
		if _, err := fmt.Sscanf(string(h.payload[:8]), "%d", &n); err != nil {
			t.Fatal(err)
		}
		switch {
		case n <= p.last:
			t.Fatalf("client %d: %s: message %d after %d", m.name, h.channel, n, p.last)
		case n != p.last+1 && !p.excused:
			t.Fatalf("client %d: %s: message %d after %d, and no word of it", m.name, h.channel, n, p.last)
		}
		p.last, p.excused = n, false
		m.known[h.channel] = whereabouts{after: h.cursor}
	case "gap":
		for channel, p := range m.places {
			if channel == h.channel || h.channel == "" && p.joined {
				p.excused = true
			}
		}
		if h.cursor != "" {
			m.known[h.channel] = whereabouts{after: h.cursor}
		}
		m.fleet.moves["gap "+h.reason]++
	case "heartbeat":
		for channel, p := range m.places {
			if p.joined && h.at != "" {
				m.known[channel] = whereabouts{m.known[channel].after, h.at}
			}
		}
	}
}

// joined is the answer to a subscribe.
func (m *mover) joined(h *heard, p *hearing) {
	p.joined = true
	where, back := m.known[h.channel]
	m.known[h.channel] = whereabouts{after: h.cursor}
	switch {
	case h.recovered && !back:
		m.fleet.t.Fatalf("client %d: %s: recovered, and was never there", m.name, h.channel)
	case h.recovered:
		m.fleet.moves["recovered"]++
		return
	case back:
		m.fleet.moves["not recovered"]++
	}
	if p.begin < p.last && !p.down {
		m.fleet.t.Fatalf("client %d: %s: begins anew behind message %d, has had %d (%v)", m.name, h.channel, p.begin, p.last, where)
	}
	p.last, p.excused = max(p.last, p.begin), false
}

// decode reads a frame of sidecast.v1.
func (h *heard) decode() error {
	if err := h.understand(protocol.V1ID); h.kind != "message" {
		return err
	}
	return nil // the payload is the mover's to read
}
