package relay_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// spreads returns the frames that a client has received since the last call and
// that say over how long to spread the load, and these times.
func (c *testClient) spreads() string {
	var list []string
	for _, frame := range regexp.MustCompile(`\{[^{}]*"spread":[^{}]*\}`).FindAllString(string(c.socket.Got()), -1) {
		kind, spread := regexp.MustCompile(`"type":"(\w+)"`).FindStringSubmatch(frame)[1], regexp.MustCompile(`"spread":(.*)\}`).FindStringSubmatch(frame)[1]
		if strings.Contains(strings.ReplaceAll(frame, `"channel":""`, ""), `"channel"`) {
			kind += " a channel"
		}
		list = append(list, kind+" "+spread)
	}
	return strings.Join(list, ",")
}

// Frames that make all clients load their state again say over how long to
// spread that: 6 ms for each client of each relay, and 60 s at most.
func TestSpread(t *testing.T) {
	for _, test := range []struct {
		relays func() int
		want   int
	}{
		{nil, 60}, {func() int { return 3 }, 180}, {func() int { return 999 }, 59_940}, {func() int { return 1001 }, 60_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newPlainStore()
			h := newTestHub(t, relay.HubConfig{
				Access: mixedRules(), HistoryBytes: 1 << 20, HistoryAge: time.Hour, PingInterval: time.Hour, Relays: test.relays,
				Streams: func() stream.Store { return &storeConn{store: store} },
			})
			t.Cleanup(h.start())
			h.Online(1)
			clients := []*testClient{}
			for range 10 {
				clients = append(clients, h.client(outboxtest.Unlimited))
			}
			c := clients[0]
			expect := func(why, frame string) {
				t.Helper()
				synctest.Wait()
				if got := c.spreads(); got != frame {
					t.Errorf("%s: %s, want %s", why, got, frame)
				}
				c.leave()
				c = h.client(outboxtest.Unlimited)
			}
			h.relink()
			expect("an outage", fmt.Sprint("gap ", test.want))
			c.subscribe("a", "")
			c.last(1)
			h.Oversize([]byte("a"))
			h.Flush()
			expect("new subscriptions, and a gap of one channel", "")
			c.subscribe("a", "bogus")
			expect("a client that cannot resume", fmt.Sprint("subscribed a channel ", test.want))
			c.subscribe("s:a", "AsrN3Zu4LDcSNFZ4")
			expect("on a durable channel", fmt.Sprint("subscribed a channel ", test.want))
			c.subscribe("a", h.newCursor("a"))
			expect("a client that resumes", "")
			c.handle(`{"type":"subscribe","channels":[{"channel":"s:a","since":"5-0"}]}`)
			expect("the place that an application has read", "")
			h.Gap(1)
			expect("a failover", fmt.Sprint("gap ", test.want))
		})
	}
}

// Each gap without a channel says it: also the one that ends a resume of several
// channels.
func TestSpreadOfSeveralChannels(t *testing.T) {
	for name, test := range map[string]struct {
		before, during func(h *testHub)
		want           string
	}{
		"a client that connects during an outage": {func(h *testHub) { h.Offline() }, func(h *testHub) { h.Online(1) }, "subscribed 6,gap 6,gap 6"},
		"a client that reads too slowly":          {func(*testHub) {}, func(h *testHub) { h.publishSized("other", 1, 600, 1000) }, "gap 6"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, at := missedTogether(t, 500_000, 300)
				test.before(h)
				c := h.stalledTogether(at)
				test.during(h)
				c.drain()
				if got := c.spreads(); got != test.want {
					t.Errorf("received %s, want %s", got, test.want)
				}
			})
		})
	}
}
