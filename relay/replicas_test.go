package relay_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
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
	budget *outbox.Budget
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
	all := access.Patterns{access.MustPattern("*")}
	r.budget = outbox.NewBudget(1<<20, 1<<30, time.Hour, nil)
	r.hub = relay.NewHub(relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all},
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
		m.socket.Give(outboxtest.Unlimited)
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
