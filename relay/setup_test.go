package relay_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// So many random histories run by default, and so many are enough to require
// that everything happens in them.
const defaultWorlds = 60

var (
	modelSeed   = flag.Uint64("model.seed", 0, "seed of the random histories; 0: a different one each time")
	modelWorlds = flag.Int("model.worlds", defaultWorlds, "number of random histories")
)

// newSeed returns the seed of a test with random histories and logs how to
// repeat it.
func newSeed(t *testing.T) uint64 {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -race -run %s -model.seed %d -model.worlds %d", t.Name(), seed, *modelWorlds)
	return seed
}

// requireCounts fails if one of these happened less often, if there were at
// least as many random histories as by default.
func requireCounts(t *testing.T, counts map[string]int, least int, names ...string) {
	t.Helper()
	for _, name := range names {
		if counts[name] < least && *modelWorlds >= defaultWorlds {
			t.Errorf("it happened %d times, want %d or more: %s", counts[name], least, name)
		}
	}
}

// A testHub is a hub with its budget and counters.
type testHub struct {
	box *blackbox.Box
	*relay.Hub
	t       testing.TB
	budget  *outbox.Budget
	stats   *stats.Stats
	markers uint64
}

// newTestHub returns a hub that does not run yet. It fills in what cfg does not
// say: everyone may do everything, and if there are streams, all channels are
// durable.
func newTestHub(t testing.TB, cfg relay.HubConfig) *testHub {
	all := access.Patterns{access.MustPattern("*")}
	if cfg.Access == nil {
		cfg.Access = &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all}
		if cfg.Streams != nil {
			cfg.Access.Durable = all
		}
	}
	if cfg.Budget == nil {
		cfg.Budget = outbox.NewBudget(1<<20, 1<<30, time.Minute, nil)
	}
	if cfg.Protocols == nil {
		cfg.Protocols = protocol.All()
	}
	if cfg.BlackBox == nil {
		box, err := blackbox.Open(blackbox.MinBytes, "")
		if err != nil {
			t.Fatal(err)
		}
		cfg.BlackBox = box
	}
	cfg.Stats, cfg.MaxChannels = new(stats.Stats), cmp.Or(cfg.MaxChannels, 128)
	cfg.MaxPayload = cmp.Or(cfg.MaxPayload, 1<<20)
	return &testHub{Hub: relay.NewHub(cfg), t: t, budget: cfg.Budget, stats: cfg.Stats, box: cfg.BlackBox}
}

// start runs the hub until stop is called, which waits for the hub and all
// connections.
func (h *testHub) start() (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	return func() { cancel(); running.Wait(); h.budget.Wait() }
}

// checkEmpty fails unless all sessions have left and nothing of them is left.
func (h *testHub) checkEmpty() {
	h.t.Helper()
	if n := h.Sessions(); n != 0 {
		h.t.Errorf("%d sessions are left", n)
	}
	if channels, subs := h.stats.Channels.Load(), h.stats.Subscriptions.Load(); channels != 0 || subs != 0 {
		h.t.Errorf("%d channels and %d subscriptions are left", channels, subs)
	}
	if n := h.Signed(); n != 0 {
		h.t.Errorf("%d signed subscriptions are left", n)
	}
	if n := h.stats.Resuming.Load(); n != 0 {
		h.t.Errorf("%d resumes are left", n)
	}
	if used, kept := h.budget.Used(), h.StreamBytes(); used != 0 || kept != 0 {
		h.t.Errorf("%d bytes are still charged, %d held", used, kept)
	}
}

// newLiveHub returns a running hub of one shard that keeps so many bytes of
// history. It is online and has received a marker.
func newLiveHub(t *testing.T, historyBytes int, catchUp func() error) *testHub {
	h := newTestHub(t, relay.HubConfig{
		Shards: 1, PingInterval: 20 * time.Second, HistoryBytes: historyBytes, HistoryAge: time.Hour,
		Publish: func(context.Context, string, []byte) (int64, error) { return 1, nil }, // the test publishes what arrives
		CatchUp: func(context.Context) error {
			if catchUp != nil {
				return catchUp()
			}
			return nil
		},
	})
	t.Cleanup(h.start())
	h.Online(1)
	h.receiveMarker()
	return h
}

// receiveMarker makes the hub receive a marker.
func (h *testHub) receiveMarker() {
	h.mark()
	synctest.Wait()
}

// mark is receiveMarker outside a bubble.
func (h *testHub) mark() {
	h.markers++
	h.Marker(binary.BigEndian.AppendUint64(nil, h.markers))
	h.Flush()
}

// publish publishes messages n to m on a channel, of a KiB each, and waits
// until they are delivered.
func (h *testHub) publish(channel string, n, m int) {
	h.publishSized(channel, n, m, 1000)
	synctest.Wait()
}

// publishSized is publish with messages of about size bytes, outside a bubble.
func (h *testHub) publishSized(channel string, n, m, size int) {
	for ; n <= m; n++ {
		h.Publish([]byte(channel), numbered(n, size))
	}
	h.Flush()
}

// numbered returns the payload of message n.
func numbered(n, size int) []byte { return fmt.Appendf(nil, "#%d:%s", n, strings.Repeat("x", size)) }

// mixedRules allow everything to all. Channels that begin with "s:" are
// durable.
func mixedRules() *access.Rules {
	all := access.Patterns{access.MustPattern("*")}
	return &access.Rules{
		Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all,
		Durable: access.Patterns{access.MustPattern("s:*")},
	}
}

// relink makes the hub lose its connection to Redis and get another one.
func (h *testHub) relink() {
	h.Offline()
	h.Online(1)
	synctest.Wait()
}

// subscriber returns a client that is subscribed to a channel from now on, or
// from a cursor.
func (h *testHub) subscriber(channel, after string) *testClient {
	c := h.client(outboxtest.Unlimited)
	c.subscribe(channel, after)
	return c
}

// newCursor returns the cursor that a new client of a channel gets.
func (h *testHub) newCursor(channel string) string {
	c := h.subscriber(channel, "")
	cursor := c.want("a new client", "subscribed false")
	c.leave()
	return cursor
}
