package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// A durableWorld is several relays over one vault, and people who move between them, in a bubble.
type durableWorld struct {
	t        *testing.T
	random   *rand.Rand // of the world's own goroutine
	vault    *vault
	channels []string
	maxlen   int  // to which backends trim; 0: not at all
	loose    bool // steps do not wait for each other
	relays   []*durableRelay
	people   []*person
	lives    []*durableLife

	published int // by clients

	mu   sync.Mutex
	dice *rand.Rand // of everybody else
}

// draw returns a random number for whoever is not the world's own goroutine.
func (w *durableWorld) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dice.IntN(n)
}

// A trouble is what is wrong with a relay's way to its streams.
type trouble uint8

const (
	troubleNone    trouble = iota
	troubleSlow            // everything takes a while
	troubleTimeout         // nothing is answered
	troubleLost            // the answers are lost, now and then
	troubleRefused         // the key is something else
	numTroubles
)

// A durableRelay is one relay, and its way to the vault.
type durableRelay struct {
	world  *durableWorld
	hub    *relay.Hub
	budget *outbox.Budget
	stats  *stats.Stats
	stop   func()

	mu      sync.Mutex
	up      bool
	trouble trouble
	nudges  []string // on their way
}

var errVault = errors.New("the vault does not answer")

func (w *durableWorld) start() {
	r := &durableRelay{world: w, stats: new(stats.Stats)}
	pick := func(choices ...int) int { return choices[w.random.IntN(len(choices))] }
	all := access.Patterns{access.MustPattern("*")}
	r.budget = outbox.NewBudget(pick(8000, 100_000, 1<<20), pick(1<<30, 1<<30, 400_000), time.Duration(pick(8, 3600))*time.Second, r.stats)
	r.hub = relay.NewHub(relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Durable: all, Public: all, Publish: all},
		Protocols: protocol.All(), Budget: r.budget, Stats: r.stats, Shards: pick(1, 3), MaxChannels: 100, MaxPayload: 1 << 20,
		PingInterval: time.Duration(pick(3, 3600)) * time.Second, Streams: func() stream.Store { return r },
	})
	r.hub.ShrinkRings(pick(700, 3000, 20_000, 1<<20), pick(5000, 64<<20))
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(ctx) })
	r.stop = func() { cancel(); running.Wait(); r.budget.Wait() }
	w.relays = append(w.relays, r)
	if w.random.IntN(4) > 0 {
		r.link(true)
	}
}

// link makes the link, or breaks it.
func (r *durableRelay) link(up bool) {
	r.mu.Lock()
	was := r.up
	r.up, r.nudges = up, nil
	r.mu.Unlock()
	switch {
	case up && !was:
		r.hub.Online(1)
	case was && !up:
		r.hub.Offline()
	}
}

// travel is the way to the vault, or back. An error is what the relay would see.
func (r *durableRelay) travel(ctx context.Context) error {
	r.mu.Lock()
	up, trouble := r.up, r.trouble
	r.mu.Unlock()
	wait := time.Duration(0)
	switch {
	case !up:
		return errVault
	case trouble == troubleSlow:
		wait = time.Duration(r.world.draw(600)) * time.Millisecond
	case trouble == troubleTimeout:
		wait = time.Second
	case trouble == troubleLost && r.world.draw(2) == 0:
		return errVault
	case trouble == troubleRefused:
		return fmt.Errorf("%w: WRONGTYPE", stream.ErrNoStream)
	}
	if wait == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	if trouble == troubleTimeout {
		return errVault
	}
	return nil
}

// Read implements [relay.Streams].
func (r *durableRelay) Read(ctx context.Context, channel string, from stream.ID, limit int) (stream.Page, error) {
	if err := r.travel(ctx); err != nil {
		return stream.Page{}, err
	}
	page := r.world.vault.read(channel, from, limit)
	return page, r.travel(ctx)
}

// State implements [relay.Streams].
func (r *durableRelay) State(ctx context.Context, channel string) (stream.State, error) {
	if err := r.travel(ctx); err != nil {
		return stream.State{}, err
	}
	r.world.vault.mu.Lock()
	state := r.world.vault.state(channel)
	r.world.vault.mu.Unlock()
	return state, r.travel(ctx)
}

// Behind implements [relay.Streams].
func (r *durableRelay) Behind(ctx context.Context, places []stream.Place) (list []bool, _ error) {
	if err := r.travel(ctx); err != nil {
		return nil, err
	}
	for _, place := range places {
		list = append(list, r.world.vault.behind(place))
	}
	return list, r.travel(ctx)
}

// publisher is who does not want back what it publishes: the payload says it.
func publisher(payload []byte) string {
	_, by, _ := strings.Cut(string(payload), " by ")
	return by
}

// Append implements [relay.Streams].
func (r *durableRelay) Append(ctx context.Context, channel string, payload []byte) (stream.ID, error) {
	if err := r.travel(ctx); err != nil {
		return stream.ID{}, err
	}
	v, w := r.world.vault, r.world
	w.mu.Lock()
	id := v.id(w.dice, channel)
	w.mu.Unlock()
	id = v.add(channel, id, []string{stream.PayloadField, string(payload)}, publisher(payload), w.maxlen)
	return id, r.travel(ctx)
}

// told puts a nudge on the way to all relays. The vault is locked.
func (w *durableWorld) told(channel string) {
	for _, r := range w.relays {
		r.mu.Lock()
		if r.up {
			r.nudges = append(r.nudges, channel)
		}
		r.mu.Unlock()
	}
}

// hear lets nudges arrive, or some of them.
func (r *durableRelay) hear(lose bool) {
	r.mu.Lock()
	nudges := r.nudges
	r.nudges = nil
	r.mu.Unlock()
	for _, channel := range nudges {
		switch random := r.world.random; {
		case lose && random.IntN(2) == 0:
		case random.IntN(5) == 0:
			r.hub.Event([]byte(channel))
		default:
			r.hub.Nudge([]byte(channel), random.IntN(2) == 0)
		}
	}
}

// pause lets everybody do what they can now; not always, where steps do not wait for each other.
func (w *durableWorld) pause() {
	if !w.loose || w.random.IntN(4) == 0 {
		synctest.Wait()
		return
	}
	for range w.random.IntN(20) {
		runtime.Gosched()
	}
}

// newDurableWorld draws a world.
func newDurableWorld(t *testing.T, seed, i uint64) *durableWorld {
	random := rand.New(rand.NewPCG(seed, i))
	w := &durableWorld{
		t: t, random: random, vault: newVault(random), dice: rand.New(rand.NewPCG(seed+1, i)),
		channels: []string{"a", "b", "räume:1", "d\"", "e", "f"}[:1+random.IntN(6)],
		maxlen:   []int{0, 0, 0, 100, 20, 3}[random.IntN(6)], loose: random.IntN(3) == 0,
	}
	w.vault.added = w.told
	for range 1 + random.IntN(3) {
		w.start()
	}
	for n := range 1 + random.IntN(5) {
		w.people = append(w.people, &person{world: w, name: n, known: map[string]string{}})
	}
	return w
}
