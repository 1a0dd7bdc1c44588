//go:build unix

package relaytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// A soakWorld is one run: a Redis, relays behind proxies, publishers and listeners.
type soakWorld struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand // of the test's goroutine

	ping    time.Duration
	history int           // bytes; 0: the default
	length  time.Duration // of the trouble
	equal   bool

	server    *redistest.Server
	client    *redis.Client
	relays    []*soakRelay
	publisher *Publisher // live channels
	appender  *Publisher // durable ones
	faults    FaultLog
	pace      map[string]time.Duration // of each channel

	publishing sync.WaitGroup
	stop       context.CancelFunc // of publishing
	moving     sync.WaitGroup
	settle     context.CancelFunc // of moving
	travellers []*soakTraveller
	listeners  []*soakListener
}

// A soakRelay is a place at which one relay process runs after the other.
type soakRelay struct {
	w     *soakWorld
	place int
	proxy *faultproxy.Proxy // to Redis
	lives int

	mu   sync.Mutex
	now  *Process
	name string
	addr string // empty while nobody should come
}

// maxLen is the length to which streams are trimmed: more than a run appends.
const soakMaxLen = 100_000

func newSoakWorld(t *testing.T, seed uint64) *soakWorld {
	quiet()
	w := &soakWorld{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 3)), pace: make(map[string]time.Duration)}
	w.ping = []time.Duration{time.Second, time.Second, 3 * time.Second, 25 * time.Second}[w.random.IntN(4)]
	w.history = []int{0, 0, 0, 64 << 10, 4 << 10}[w.random.IntN(5)]
	w.equal = w.random.IntN(3) == 0
	for range 2 + w.random.IntN(2) {
		w.relays = append(w.relays, &soakRelay{w: w, place: len(w.relays)})
	}
	paces := []time.Duration{15 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 8 * time.Second}
	for i := range 4 {
		w.pace[fmt.Sprintf("soak:%d", i)] = paces[(i+w.random.IntN(2))%len(paces)]
	}
	if *soakDurable {
		for i := range 2 {
			w.pace[fmt.Sprintf("order:%d", i)] = paces[1+w.random.IntN(3)]
		}
	}
	return w
}

// quiet silences go-redis, which tells of each attempt to reach a Redis that a test has killed.
var quiet = sync.OnceFunc(logging.Disable)

// settings tells what the seed chose.
func (w *soakWorld) settings() string {
	return fmt.Sprintf("%d relays, ping %v, history %d, equal payloads %v", len(w.relays), w.ping, w.history, w.equal)
}

func (w *soakWorld) channels(durable bool) (names []string) {
	for name := range w.pace {
		if (name[0] == 'o') == durable {
			names = append(names, name)
		}
	}
	return names
}

// start starts everything.
func (w *soakWorld) start() {
	args := []string{}
	if *soakDurable {
		args = []string{"--appendonly", "yes", "--appendfsync", "always"} // what was acknowledged outlives a kill
	}
	w.server = redistest.Start(w.t, args...)
	w.client = NewRedis(w.server.Addr, time.Second)
	w.t.Cleanup(func() { _ = w.client.Close() })
	for _, r := range w.relays {
		r.proxy = faultproxy.Start(w.t, w.server.Addr)
		r.start()
	}
	for _, r := range w.relays {
		r.open()
	}
	w.publisher = NewPublisher(PublishTo(w.client), Payloads{Sizes: []int{64, 64, 700, 5000}, Equal: w.equal, Anchors: 16})
	w.appender = NewPublisher(AppendTo(w.client, soakMaxLen), Payloads{Sizes: []int{64, 64, 700}})
	var moving, publishing context.Context
	moving, w.settle = context.WithCancel(w.t.Context())
	publishing, w.stop = context.WithCancel(w.t.Context())
	for name, pace := range w.pace {
		p := w.publisher
		if name[0] == 'o' {
			p = w.appender
		}
		w.publishing.Go(func() { _ = p.Run(publishing, []string{name}, 0, pace) }) // it ends with its context
	}
	for i := range 8 {
		tr := newSoakTraveller(w, i)
		w.travellers = append(w.travellers, tr)
		w.moving.Go(func() { tr.live(moving) })
	}
	for i := range 3 {
		l := &soakListener{w: w, gapClose: i == 0, random: rand.New(rand.NewPCG(w.seed, uint64(200+i)))}
		w.listeners = append(w.listeners, l)
		w.moving.Go(func() { l.live(moving) })
	}
	w.t.Cleanup(func() {
		w.settle()
		w.stop()
		w.moving.Wait()
		w.publishing.Wait()
	})
}

// start runs a relay at the place, for which nobody waits.
func (r *soakRelay) start() {
	r.lives++
	env := map[string]string{
		"SIDECAST_REDIS_URL": "redis://" + r.proxy.Addr, "SIDECAST_CHANNELS": "soak:*", "SIDECAST_PUBLIC_CHANNELS": "soak:*,order:*",
		"SIDECAST_PING_INTERVAL": r.w.ping.String(), "SIDECAST_PONG_TIMEOUT": min(r.w.ping*9/10, 10*time.Second).String(),
		"SIDECAST_DRAIN_DELAY": "1s", "SIDECAST_DRAIN_TIMEOUT": "2s",
	}
	if r.w.history > 0 {
		env["SIDECAST_HISTORY_BYTES"] = fmt.Sprint(r.w.history)
	}
	if *soakDurable {
		env["SIDECAST_DURABLE_CHANNELS"] = "order:*"
	}
	var p *Process
	if *clocks {
		p = StartShifted(r.w.t, time.Duration(r.place-1)*time.Minute, env)
	} else {
		p = Start(r.w.t, env)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.name, r.addr = p, fmt.Sprintf("r%d.%d", r.place, r.lives), ""
}

// open waits until the relay is ready, and lets clients come.
func (r *soakRelay) open() {
	r.now.AwaitReady()
	addr := r.now.Addr()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = addr
}

// shut keeps clients from coming, as a load balancer does.
func (r *soakRelay) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = ""
}

func (r *soakRelay) where() (name, addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name, r.addr
}

// end lets everything become quiet, brings all listeners to the end, and returns what is known.
func (w *soakWorld) end() Run {
	w.awaitTick(min(3*time.Second, w.length/3))
	w.settle()
	w.moving.Wait()
	w.stop()
	w.publishing.Wait()
	for _, l := range w.listeners {
		l.stay()
	}
	// A quiet time, in which heartbeats alone say where everybody is; then all move once more.
	w.awaitTick(2*w.ping%(5*time.Second) + time.Second)
	var all Fleet
	for _, tr := range w.travellers {
		all = append(all, tr.stay())
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), Patience)
	defer cancel()
	w.faults.settle() // what comes now comes to all
	published, durable := w.finish(ctx)
	for _, l := range w.listeners {
		if l.now != nil {
			all = append(all, l.now)
		}
	}
	for _, p := range []*Publisher{w.publisher, w.appender} {
		if err := all.AwaitEnd(ctx, p); err != nil {
			w.t.Errorf("seed %d: awaiting the ends: %v", w.seed, err)
		}
	}
	lag := 6 * time.Second
	return Run{
		Published: published, Durable: durable, Sessions: w.sessions(), Faults: w.faults.Faults(),
		Rules: Rules{Lag: lag, AnyEnd: true},
	}
}

// finish publishes the last messages, and settles what became of those without an answer.
func (w *soakWorld) finish(ctx context.Context) (published []Publication, durable map[string]int) {
	for _, p := range []*Publisher{w.publisher, w.appender} {
		if err := p.Finish(ctx); err != nil {
			w.t.Errorf("seed %d: %v", w.seed, err)
		}
	}
	appended, err := Settle(ctx, w.client, w.appender.Log())
	if err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
	}
	durable = make(map[string]int)
	for _, name := range w.channels(true) {
		durable[name] = soakMaxLen
	}
	return append(w.publisher.Log(), appended...), durable
}

func (w *soakWorld) sessions() (list []Session) {
	for _, tr := range w.travellers {
		list = append(list, tr.Sessions()...)
	}
	for _, l := range w.listeners {
		list = append(list, l.past...)
		if l.now != nil {
			list = append(list, l.now.Session())
		}
	}
	return list
}

func (w *soakWorld) moves() (n int) {
	for _, tr := range w.travellers {
		n += tr.Moves
	}
	return n
}

// awaitTick lets time pass: trouble lasts.
func (w *soakWorld) awaitTick(d time.Duration) { pause(d, w.t.Context().Done()) }
