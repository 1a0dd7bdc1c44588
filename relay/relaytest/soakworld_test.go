//go:build unix

package relaytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// A soakWorld is one run: a Redis, relays behind proxies, publishers and
// clients.
type soakWorld struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand // of the test's goroutine

	ping    time.Duration
	history int           // bytes; 0 for the default
	length  time.Duration // of the time with faults
	equal   bool

	server    *redistest.Server
	redis     *redis.Client
	relays    []*soakRelay
	publisher *Publisher // live channels
	distinct  *Publisher // live channels whose payloads are never equal
	appender  *Publisher // durable ones
	faults    FaultLog
	killed    map[string]bool          // relay processes that ended by kill -9
	connected atomic.Int64             // connections of clients so far
	pace      map[string]time.Duration // time between two messages, by channel

	publishing     sync.WaitGroup
	stopPublishing context.CancelFunc
	moving         sync.WaitGroup
	stopMoving     context.CancelFunc
	clients        []*soakClient
	rawClients     []*soakRawClient
}

// A soakRelay is a relay that is restarted: one process runs after the other.
type soakRelay struct {
	w      *soakWorld
	index  int
	proxy  *faultproxy.Proxy // to Redis
	box    string            // path of its black box
	starts int

	mu      sync.Mutex
	process *Process
	name    string
	addr    string // empty while clients should not connect
}

// The numbers of clients.
const (
	soakFastClients = 16
	soakSlowClients = 2
)

// soakMaxLen is the length to which streams are trimmed: more than a run adds.
const soakMaxLen = 100_000

func newSoakWorld(t *testing.T, seed uint64) *soakWorld {
	w := &soakWorld{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 3)), pace: make(map[string]time.Duration), killed: make(map[string]bool),
	}
	w.ping = []time.Duration{time.Second, time.Second, 3 * time.Second, 25 * time.Second}[w.random.IntN(4)]
	w.history = []int{0, 0, 0, 64 << 10, 4 << 10}[w.random.IntN(5)]
	w.equal = w.random.IntN(3) == 0
	for range 2 + w.random.IntN(2) {
		w.relays = append(w.relays, &soakRelay{w: w, index: len(w.relays), box: filepath.Join(t.TempDir(), "box")})
	}
	paces := []time.Duration{15 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 8 * time.Second}
	for i := range 4 {
		w.pace[fmt.Sprintf("soak:%d", i)] = paces[(i+w.random.IntN(2))%len(paces)]
	}
	for i := range 3 {
		w.pace[fmt.Sprintf("soak:distinct:%d", i)] = 20 * time.Millisecond
	}
	if *soakDurable {
		for i := range 2 {
			w.pace[fmt.Sprintf("order:%d", i)] = paces[1+w.random.IntN(3)]
		}
	}
	return w
}

// settings describes the settings that the seed determines.
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
		args = []string{"--appendonly", "yes", "--appendfsync", "always"} // acknowledged entries survive a kill
	}
	w.server = redistest.Start(w.t, args...)
	w.redis = NewRedis(w.server.Addr, time.Second)
	w.t.Cleanup(func() { _ = w.redis.Close() })
	for _, r := range w.relays {
		r.proxy = faultproxy.Start(w.t, w.server.Addr)
		r.start()
	}
	for _, r := range w.relays {
		r.open()
	}
	w.publisher = NewPublisher(PublishTo(w.redis), Payloads{Sizes: soakSizes(), Equal: w.equal, Anchors: 16})
	w.distinct = NewPublisher(PublishTo(w.redis), Payloads{Sizes: soakSizes()})
	w.appender = NewPublisher(AppendTo(w.redis, soakMaxLen), Payloads{Sizes: []int{64, 64, 700}})
	// A relay cannot tell whether a client that joined a stream before its first
	// entry at another relay has missed anything, and sends a gap.
	for _, name := range w.channels(true) {
		if sent := w.appender.Publish(w.t.Context(), name); sent.Err != nil {
			w.t.Fatal(sent.Err)
		}
	}
	var moving, publishing context.Context
	moving, w.stopMoving = context.WithCancel(w.t.Context())
	publishing, w.stopPublishing = context.WithCancel(w.t.Context())
	for name, pace := range w.pace {
		p := w.publisherOf(name)
		w.publishing.Go(func() { _ = p.Run(publishing, []string{name}, 0, pace) }) // it ends with its context
	}
	for i := range soakFastClients + soakSlowClients {
		c := newSoakClient(w, i)
		w.clients = append(w.clients, c)
		w.moving.Go(func() { c.run(moving) })
	}
	for i := range 3 {
		c := &soakRawClient{w: w, gapClose: i == 0, random: rand.New(rand.NewPCG(w.seed, uint64(200+i)))}
		w.rawClients = append(w.rawClients, c)
		w.moving.Go(func() { c.run(moving) })
	}
	w.t.Cleanup(func() {
		w.stopMoving()
		w.stopPublishing()
		w.moving.Wait()
		w.publishing.Wait()
	})
}

// publisherOf returns the publisher of a channel.
func (w *soakWorld) publisherOf(channel string) *Publisher {
	switch {
	case strings.HasPrefix(channel, "order:"):
		return w.appender
	case strings.HasPrefix(channel, "soak:distinct:"):
		return w.distinct
	}
	return w.publisher
}

func (w *soakWorld) publishers() []*Publisher {
	return []*Publisher{w.publisher, w.distinct, w.appender}
}

// soakSizes are sizes of payloads by which the black box of a relay tells
// messages apart: they repeat only after so many messages of a channel that no
// fault loses as many.
func soakSizes() (sizes []int) {
	const many = 4001 // a prime
	for i := range many {
		sizes = append(sizes, 64+i*1009%many)
	}
	return sizes
}

// start runs a relay process. Clients do not connect to it before open.
func (r *soakRelay) start() {
	r.starts++
	env := map[string]string{
		"SIDECAST_REDIS_URL": "redis://" + r.proxy.Addr, "SIDECAST_CHANNELS": "soak:*", "SIDECAST_PUBLIC_CHANNELS": "soak:*,order:*",
		"SIDECAST_PING_INTERVAL": r.w.ping.String(), "SIDECAST_PONG_TIMEOUT": min(r.w.ping*9/10, 10*time.Second).String(),
		"SIDECAST_DRAIN_DELAY": "1s", "SIDECAST_DRAIN_TIMEOUT": "2s",
		"SIDECAST_WRITE_TIMEOUT": "2s",
		"SIDECAST_BLACKBOX_FILE": r.box, "SIDECAST_BLACKBOX_BYTES": "16MiB",
	}
	if r.w.history > 0 {
		env["SIDECAST_HISTORY_BYTES"] = fmt.Sprint(r.w.history)
	}
	if *soakDurable {
		env["SIDECAST_DURABLE_CHANNELS"] = "order:*"
	}
	var p *Process
	if *clocks {
		p = StartShifted(r.w.t, time.Duration(r.index-1)*time.Minute, env)
	} else {
		p = Start(r.w.t, env)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.name, r.addr = p, fmt.Sprintf("r%d.%d", r.index, r.starts), ""
}

// open waits until the relay is ready, and lets clients connect.
func (r *soakRelay) open() {
	r.process.AwaitReady()
	addr := r.process.Addr()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = addr
}

// close keeps clients from connecting, as a load balancer does.
func (r *soakRelay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = ""
}

// where returns the name of the process and its address, which is empty if
// clients should not connect.
func (r *soakRelay) where() (name, addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name, r.addr
}

// end ends all publishing, waits until all clients have received everything,
// and returns the logs.
func (w *soakWorld) end() Run {
	w.wait(min(3*time.Second, w.length/3))
	w.awaitPairs()
	w.stopMoving()
	w.moving.Wait()
	w.stopPublishing()
	w.publishing.Wait()
	for _, c := range w.rawClients {
		c.stay()
	}
	// While nothing is published, only heartbeats move the positions of the
	// clients. Then all move once more.
	w.wait(2*w.ping%(5*time.Second) + time.Second)
	var all Fleet
	for _, c := range w.clients {
		all = append(all, c.stay())
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), Patience)
	defer cancel()
	w.faults.settle()
	published, durable := w.finish(ctx)
	for _, c := range w.rawClients {
		if c.current != nil {
			all = append(all, c.current)
		}
	}
	for _, p := range w.publishers() {
		if err := all.AwaitEnd(ctx, p); err != nil {
			w.t.Errorf("seed %d: awaiting the ends: %v", w.seed, err)
		}
	}
	return Run{
		Published: published, Durable: durable, Sessions: w.sessions(), Faults: w.faults.Faults(),
		Rules: Rules{Lag: 6 * time.Second, AnyEnd: true},
	}
}

// finish publishes the last messages, and resolves the failed calls on streams.
func (w *soakWorld) finish(ctx context.Context) (published []Publication, durable map[string]int) {
	for _, p := range w.publishers() {
		if err := p.Finish(ctx); err != nil {
			w.t.Errorf("seed %d: %v", w.seed, err)
		}
	}
	appended, err := Resolve(ctx, w.redis, w.appender.Log())
	if err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
	}
	durable = make(map[string]int)
	for _, name := range w.channels(true) {
		durable[name] = soakMaxLen
	}
	return slices.Concat(w.publisher.Log(), w.distinct.Log(), appended), durable
}

func (w *soakWorld) sessions() (list []Session) {
	for _, c := range w.clients {
		list = append(list, c.Sessions()...)
	}
	for _, c := range w.rawClients {
		list = append(list, c.ended...)
		if c.current != nil {
			list = append(list, c.current.Session())
		}
	}
	return list
}

func (w *soakWorld) moves() (n int) {
	for _, c := range w.clients {
		n += c.Reconnects
	}
	return n
}

// wait waits for d.
func (w *soakWorld) wait(d time.Duration) { pause(d, w.t.Context().Done()) }
