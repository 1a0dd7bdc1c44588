package relay_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/protocol"
)

// A fleet is several relays that hear one Redis, each at its own pace, and clients that move between them. Everybody takes
// turns, so that what each has heard is known.
type fleet struct {
	t      *testing.T
	random *rand.Rand
	equal  bool // no check tells messages apart
	log    []said
	said   map[string]int // messages so far, by channel
	relays []*replica
	people []*mover
	moves  map[string]int
}

// said is one thing that Redis said.
type said struct {
	mark    [8]byte
	channel string // empty for a mark
	number  int    // of the message on its channel
	large   bool   // too large for any relay
}

// A replica is one relay.
type replica struct {
	fleet  *fleet
	hub    *relay.Hub
	budget *relay.Budget
	stop   func()
	at     int            // how much of the log it has come by
	heard  map[string]int // the last message that it has come by, by channel
	down   bool
	begun  bool // while down: Redis has taken its subscription, and what it hears comes later
	behind []said

	mu      sync.Mutex
	waiting []chan error // of those who wait for the link to catch up
}

// pong lets the link catch up with what was said, or finds that it was dead.
func (r *replica) pong() error {
	if r.down {
		return errors.New("away")
	}
	if r.fleet.random.IntN(20) == 0 {
		r.lose()
		return errors.New("lost")
	}
	r.hear(len(r.fleet.log))
	return nil
}

// answer lets go of those who wait for that.
func (r *replica) answer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) > 0 {
		err := r.pong()
		for _, w := range r.waiting {
			w <- err
		}
		r.waiting = nil
	}
}

func (f *fleet) start() *replica {
	r := &replica{fleet: f, heard: map[string]int{}, down: true}
	pick := func(choices ...int) int { return choices[f.random.IntN(len(choices))] }
	all := relay.Patterns{relay.MustPattern("*")}
	r.budget = relay.NewBudget(1<<20, 1<<30, time.Hour, nil)
	r.hub = relay.NewHub(relay.HubConfig{
		Access:    &relay.Access{Names: relay.NewNames("", ""), Channels: all, Public: all},
		Protocols: protocol.All(), Budget: r.budget, Shards: pick(1, 3), MaxChannels: 10, PingInterval: 3 * time.Second,
		HistoryBytes: pick(1500, 8000, 1<<20), HistoryAge: time.Hour,
		CatchUp: func(ctx context.Context) error {
			if _, now := ctx.Deadline(); now {
				return r.pong() // it is this goroutine's turn
			}
			answer := make(chan error, 1)
			r.mu.Lock()
			r.waiting = append(r.waiting, answer)
			r.mu.Unlock()
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	ctx, cancel := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(ctx) })
	r.stop = func() { cancel(); running.Wait() }
	f.relays = append(f.relays, r)
	return r
}

// hear makes the relay come by what was said up to there, if its link lives.
func (r *replica) hear(upTo int) {
	for ; r.at < upTo; r.at++ {
		s := r.fleet.log[r.at]
		switch {
		case r.down && r.begun:
			r.behind = append(r.behind, s)
			continue
		case r.down:
			r.pass(s)
			continue
		}
		r.say(s)
	}
	r.hub.Flush()
}

// pass goes by what was said.
func (r *replica) pass(s said) {
	if s.channel != "" {
		r.heard[s.channel] = s.number
	}
}

// say gives the hub what comes.
func (r *replica) say(s said) {
	r.pass(s)
	switch {
	case s.channel == "":
		r.hub.Marker(s.mark[:])
	case s.large:
		r.hub.Oversize([]byte(s.channel))
	default:
		r.hub.Publish([]byte(s.channel), r.fleet.payload(s.number))
	}
}

// lose ends the link: what is on it is lost.
func (r *replica) lose() {
	r.down, r.begun, r.behind = true, false, nil
	r.hub.Offline()
	r.hear(len(r.fleet.log))
}

// subscribe begins a link in Redis: what is said from now on will come.
func (r *replica) subscribe() {
	r.hear(len(r.fleet.log))
	r.begun = true
}

// find begins it here.
func (r *replica) find() {
	if !r.begun {
		r.subscribe()
	}
	r.down, r.begun = false, false
	r.hub.Online(7)
	late := len(r.behind)
	if r.fleet.random.IntN(2) == 0 {
		late = r.fleet.random.IntN(late + 1)
	}
	// The rest comes with what is said next.
	r.at -= len(r.behind) - late
	for _, s := range r.behind[:late] {
		r.say(s)
	}
	r.behind = nil
	r.hub.Flush()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// suffixes turn any payload of one length into one with a checksum of 0, by what its checksum is without them.
var suffixes = sync.OnceValue(func() (columns [32]uint32) {
	zero := crc32.Checksum(make([]byte, 12), castagnoli)
	for bit := range columns {
		payload := make([]byte, 12)
		binary.LittleEndian.PutUint32(payload[8:], 1<<bit)
		columns[bit] = crc32.Checksum(payload, castagnoli) ^ zero
	}
	return columns
})

// payload is that of message number n. Where messages are equal, they differ, but no check over them does: whoever takes
// one for another is not saved by it.
func (f *fleet) payload(n int) []byte {
	payload := fmt.Appendf(nil, "%8d", n)
	if !f.equal {
		return payload
	}
	return collide(payload)
}

// collide appends the 4 bytes that make the checksum of 8 bytes 0.
func collide(payload []byte) []byte {
	payload = append(payload, 0, 0, 0, 0)
	want, columns := crc32.Checksum(payload, castagnoli), suffixes()
	var suffix uint32
	basis, combos := [32]uint32{}, [32]uint32{}
	for bit, column := range columns {
		combo := uint32(1) << bit
		for top := 31; top >= 0; top-- {
			if column>>top&1 == 0 {
				continue
			}
			if basis[top] == 0 {
				basis[top], combos[top] = column, combo
				break
			}
			column, combo = column^basis[top], combo^combos[top]
		}
	}
	for top := 31; top >= 0; top-- {
		if want>>top&1 == 1 {
			want, suffix = want^basis[top], suffix^combos[top]
		}
	}
	binary.LittleEndian.PutUint32(payload[8:], suffix)
	return payload
}

// A mover is one client, through all its sessions.
type mover struct {
	fleet   *fleet
	name    int
	relay   *replica // nil between two sessions
	session *relay.Session
	outbox  *relay.Outbox
	socket  *relay.FakeSocket
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
	m.socket, m.outbox = relay.NewFakeSocket(relay.Unlimited), new(relay.Outbox)
	if m.fleet.random.IntN(3) == 0 {
		m.socket = relay.NewFakeSocket(m.fleet.random.IntN(2000))
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
		m.session.Close(relay.CloseRestart)
		m.socket.Give(relay.Unlimited)
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
		if h.op == byte(relay.OpPing) || h.op == byte(relay.OpClose) {
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
	if err := h.understand(relay.ProtocolV1); h.kind != "message" {
		return err
	}
	return nil // the payload is the mover's to read
}

func (f *fleet) step() {
	r := f.relays[f.random.IntN(len(f.relays))]
	m := f.people[f.random.IntN(len(f.people))]
	switch op := f.random.IntN(100); {
	case op < 40:
		for range 1 + f.random.IntN(8) {
			f.say()
		}
	case op < 50:
		s := said{}
		binary.BigEndian.PutUint64(s.mark[:], f.random.Uint64())
		f.log = append(f.log, s)
	case op < 70:
		r.hear(min(len(f.log), r.at+1+f.random.IntN(20)))
	case op < 71 && !r.down:
		r.lose()
	case op < 75 && r.down && !r.begun:
		r.subscribe()
	case op < 79 && r.down:
		r.find()
	case op < 81:
		r.answer()
	case op < 84:
		time.Sleep(time.Duration(f.random.IntN(3000)) * time.Millisecond)
	case op < 90 && m.relay != nil:
		m.socket.Give(f.random.IntN(3000))
		synctest.Wait()
		m.listen()
	case m.relay == nil:
		m.connect(r)
	case op < 96:
		m.leave()
	}
	synctest.Wait()
}

func (f *fleet) say() {
	channel := string(rune('a' + f.random.IntN(len(f.said))))
	if f.random.IntN(3) > 0 {
		channel = "a"
	}
	f.said[channel]++
	f.log = append(f.log, said{channel: channel, number: f.said[channel], large: f.random.IntN(60) == 0})
}

// end lets everybody hear everything.
func (f *fleet) end() {
	for again := true; again; {
		again = false
		for _, r := range f.relays {
			if r.down {
				r.find()
			}
			synctest.Wait()
			r.answer()
			time.Sleep(time.Second)
			synctest.Wait()
			again = again || r.down || len(r.waiting) > 0
		}
	}
	for _, channel := range slices.Sorted(maps.Keys(f.said)) {
		f.said[channel]++
		f.log = append(f.log, said{channel: channel, number: f.said[channel]})
	}
	for _, r := range f.relays {
		r.hear(len(f.log))
	}
	for _, m := range f.people {
		if m.relay == nil {
			m.connect(f.relays[0])
		}
		m.socket.Give(relay.Unlimited)
	}
	synctest.Wait()
	for _, m := range f.people {
		m.listen()
		for channel, n := range f.said {
			if p := m.places[channel]; p.last != n {
				f.t.Errorf("client %d: %s: the last message heard is %d of %d", m.name, channel, p.last, n)
			}
		}
		m.leave()
	}
	for _, r := range f.relays {
		r.stop()
		r.budget.Wait()
	}
}

// Clients that move between relays, which hear the same Redis each at its own pace and lose it at times: each hears
// everything once and in order, or is told.
func TestReplicas(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -run %s -model.seed %d -model.worlds %d", t.Name(), seed, *modelWorlds)
	moves := map[string]int{}
	for i := range uint64(*modelWorlds) {
		synctest.Test(t, func(t *testing.T) {
			f := &fleet{t: t, random: rand.New(rand.NewPCG(seed, i)), said: map[string]int{"a": 0}, moves: moves}
			f.equal = f.random.IntN(3) == 0
			for range f.random.IntN(3) {
				f.said[string(rune('a'+len(f.said)))] = 0
			}
			for range 1 + f.random.IntN(3) {
				f.start()
			}
			for n := range 1 + f.random.IntN(5) {
				f.people = append(f.people, &mover{fleet: f, name: n, known: memory{}, places: map[string]*hearing{}})
			}
			for range 300 {
				f.step()
			}
			f.end()
		})
		if t.Failed() {
			t.Fatalf("in history %d", i)
		}
	}
	t.Logf("what came of it: %v", moves)
	for _, what := range []string{"recovered", "not recovered", "gap redis", "gap too_large"} {
		if moves[what] == 0 {
			t.Errorf("nobody had: %s", what)
		}
	}
}

// The payloads that no check tells apart are what they should be.
func TestCollide(t *testing.T) {
	var all []string
	for n := range 100 {
		payload := collide(fmt.Appendf(nil, "%8d", n))
		if sum := crc32.Checksum(payload, castagnoli); sum != 0 {
			t.Fatalf("%q has the checksum %08x", payload, sum)
		}
		all = append(all, string(payload))
	}
	if slices.Sort(all); len(slices.Compact(all)) != 100 {
		t.Error("they are not different")
	}
}
