package ws

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/relaytest/readers"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// A testRelay is a hub and a handler with a listener. Redis is simulated: the
// hub receives what clients and the test publish.
type testRelay struct {
	t       testing.TB
	hub     *relay.Hub
	budget  *outbox.Budget
	stats   *stats.Stats
	slots   *accept.Slots
	handler *Handler
	reader  *transport.Reader
	addr    string
	log     *inmemory.Log

	mu        sync.Mutex
	published []string
	err       error // of publishing to Redis
	lossy     bool  // Redis accepts messages and does not deliver them
}

type relayOption func(*relayConfig)

type relayConfig struct {
	hub         relay.HubConfig
	ws          Config
	each, total int // bytes of one outbox and of all outboxes
	age         time.Duration
	slots       int
}

// newTestRelay runs a relay on a TCP port until the test ends. Its settings are
// the defaults, changed by options.
func newTestRelay(t testing.TB, options ...relayOption) *testRelay {
	t.Helper()
	r := buildRelay(t, append([]relayOption{func(c *relayConfig) { c.ws.Reader = readers.Start(t) }}, options...))
	server := httptest.NewServer(r.handler)
	r.addr = server.Listener.Addr().String()
	r.run(func() { server.Close(); r.reader.Close() })
	return r
}

func buildRelay(t testing.TB, options []relayOption) *testRelay {
	r := &testRelay{t: t, stats: new(stats.Stats), log: new(inmemory.Log)}
	logger := slog.New(slog.NewTextHandler(r.log, nil))
	all := access.Patterns{access.MustPattern("*")}
	c := relayConfig{each: 3 << 20, total: 256 << 20, age: 10 * time.Second, slots: 10_000}
	c.hub = relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all},
		Protocols: protocol.All(), Stats: r.stats, Logger: logger, Publish: r.publishToRedis,
		MaxChannels: 128, MaxPayload: 1 << 20, CommandRate: 20, CommandBurst: 50,
		PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
	}
	c.ws = Config{
		Stats: r.stats, Logger: logger, MaxInbound: 16 << 10, DefaultChannels: []string{"chat"},
		Protocols: map[string]protocol.Protocol{
			"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
		},
	}
	for _, option := range options {
		option(&c)
	}
	r.budget, r.slots = outbox.NewBudget(c.each, c.total, c.age, r.stats), accept.NewSlots(c.slots)
	c.hub.Budget, c.ws.Budget, c.ws.Slots = r.budget, r.budget, r.slots
	r.hub = relay.NewHub(c.hub)
	c.ws.Hub = r.hub
	r.handler, r.reader = New(c.ws), c.ws.Reader
	return r
}

// run runs the hub until the test ends. Then it drains the relay, calls
// closeServer, and checks that nothing is left.
func (r *testRelay) run(closeServer func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(ctx) })
	r.t.Cleanup(func() {
		soon, done := context.WithTimeout(context.Background(), 5*time.Second)
		r.hub.Drain(soon, 0, protocol.CloseRestart)
		done()
		r.handler.Wait()
		cancel()
		running.Wait()
		closeServer()
		r.budget.Wait()
		if n, used := r.slots.Used(), r.budget.Used(); n != 0 || used != 0 {
			r.t.Errorf("at the end %d slots are in use and %d bytes are charged", n, used)
		}
	})
	r.online()
}

func (r *testRelay) online() { r.hub.Online(1); r.hub.Flush() }

// publishToRedis delivers a message to the hub, as Redis does.
func (r *testRelay) publishToRedis(_ context.Context, channel string, payload []byte) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return 0, r.err
	case r.lossy:
		return 1, nil
	}
	r.published = append(r.published, channel+" "+string(payload))
	r.receive(channel, payload)
	return 1, nil
}

// receive makes the hub receive a message. r.mu is locked.
func (r *testRelay) receive(channel string, payload []byte) {
	r.hub.Publish([]byte(channel), payload)
	r.hub.Flush()
}

// deliver is publish without an entry in the list of published messages.
func (r *testRelay) deliver(channel, payload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receive(channel, []byte(payload))
}

// publish publishes a message as the application does.
func (r *testRelay) publish(channel, payload string) {
	r.t.Helper()
	if _, err := r.publishToRedis(context.Background(), channel, []byte(payload)); err != nil {
		r.t.Fatal(err)
	}
}

// publications returns all published messages, as "channel payload".
func (r *testRelay) publications() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.published)
}

// setRedisError makes publishing fail with err, or succeed again if err is nil.
func (r *testRelay) setRedisError(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// setLossy sets whether Redis accepts messages without delivering them.
func (r *testRelay) setLossy(lossy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lossy = lossy
}

// Every test runs on both readers.
func TestWithGoroutines(t *testing.T) { readers.RunWithGoroutines(t) }

// await polls until ok returns true. It is for conditions that other goroutines
// fulfil without an event that a test could receive.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
		<-tick.C
	}
}
