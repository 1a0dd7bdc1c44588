package relay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// newAudience returns a hub of one shard that does not run, with n clients on
// channel a.
func newAudience(t *testing.T, n int, p protocol.Protocol) (*testHub, []*testClient) {
	t.Helper()
	h := newTestHub(t, relay.HubConfig{Shards: 1})
	var clients []*testClient
	for range n {
		clients = append(clients, h.connect(connectOptions{protocol: p, room: outboxtest.Unlimited, channels: []string{"a"}}))
	}
	return h, clients
}

// receivers counts the clients that received text.
func receivers(clients []*testClient, text string) (n int) {
	for _, c := range clients {
		if strings.Contains(string(c.socket.Got()), text) {
			n++
		}
	}
	return n
}

// The source delivers messages and gaps to few clients itself, and leaves more
// to the shard's goroutine.
func TestHubSharesTheWork(t *testing.T) {
	message := func(h *testHub) { h.Publish([]byte("a"), []byte("hello")) }
	gap := func(h *testHub) { h.Oversize([]byte("a")) }
	for _, test := range []struct {
		why     string
		clients int
		send    func(*testHub)
		want    string
		inline  int // clients to which the source itself delivers
	}{
		{"a message to few", 63, message, "hello", 63},
		{"a message to many", 64, message, "hello", 0},
		{"a gap to few", 63, gap, "too_large", 63},
		{"a gap to many", 64, gap, "too_large", 0},
		{"an outage, to all", 1, func(h *testHub) { h.Offline() }, `"offline","reason"`, 0},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, clients := newAudience(t, test.clients, protocol.V1{})
				test.send(h)
				h.Flush()
				if got := receivers(clients, test.want); got != test.inline {
					t.Errorf("the source delivers to %d of %d clients, want %d", got, test.clients, test.inline)
				}
				defer h.start()()
				synctest.Wait()
				if got := receivers(clients, test.want); got != test.clients {
					t.Errorf("source and shard deliver to %d of %d clients", got, test.clients)
				}
			})
		})
	}
}

// A message costs one allocation for each protocol of its subscribers, whatever
// their number; without subscribers it costs no allocation.
func TestHubAllocations(t *testing.T) {
	for _, clients := range []int{1, 50, 500} {
		t.Run(fmt.Sprint(clients), func(t *testing.T) {
			h, _ := newAudience(t, clients, protocol.Raw{})
			defer h.start()()
			cost := func(channel string) float64 {
				name, payload := []byte(channel), []byte("hello")
				return testing.AllocsPerRun(1000, func() { h.Publish(name, payload); h.Flush() })
			}
			if got := cost("quiet"); got != 0 {
				t.Errorf("a message without subscribers costs %v allocations", got)
			}
			if clients > 50 {
				return // by the mailbox, whenever the shard gets to it
			}
			if got := cost("a"); got > 1.5 {
				t.Errorf("a message costs %v allocations", got)
			}
		})
	}
}

// If Redis does not answer a client's publish within a second, the client gets
// an error: the message may have been delivered.
func TestHubPublishTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{Publish: func(ctx context.Context, _ string, _ []byte) (int64, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}})
		c := h.connect(connectOptions{room: outboxtest.Unlimited})
		began := time.Now()
		c.handle(`{"type":"publish","channel":"a","data":"x","ref":1}`)
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("the client waits %v for its answer", waited)
		}
		if got := string(c.socket.Got()); !strings.Contains(got, fmt.Sprintf("%q", protocol.CodeUnavailable.String())) {
			t.Errorf("the answer is %q", got)
		}
	})
}

// After a burst to one client, a small batch clears only the frames that it
// used itself, and keeps none of them.
func TestSmallBatchAfterABurst(t *testing.T) {
	h, clients := newAudience(t, 1, protocol.Raw{})
	deliver := func(n int) {
		for range n {
			h.Publish([]byte("a"), []byte("hello"))
		}
		h.Flush()
	}
	deliver(60)
	scratch := h.Scratch(0)
	last := len(scratch) - 1
	if last < 50 {
		t.Fatalf("the burst leaves room for %d frames", len(scratch))
	}
	scratch[0], scratch[last] = nil, []byte("not used")
	deliver(2)
	if scratch[0] != nil || scratch[1] != nil || scratch[last] == nil {
		t.Errorf("two messages leave the frames %q, %q, and %q in the last place", scratch[0], scratch[1], scratch[last])
	}
	if n := strings.Count(string(clients[0].socket.Got()), "hello"); n != 62 {
		t.Errorf("%d messages arrive", n)
	}
}

// The application's permission for a channel ends the session when it expires,
// but not after the client has left the channel, or could not subscribe to it.
func TestPermissionOfAChannelThatWasLeft(t *testing.T) {
	for _, test := range []struct {
		why    string
		then   string // the client's next command
		max    int    // channels per session
		closed protocol.CloseCode
	}{
		{"the client stays", `{"type":"ping"}`, 2, protocol.CloseUnauthorized},
		{"the client leaves the channel", `{"type":"unsubscribe","channel":"private"}`, 2, protocol.CloseAbnormal},
		{"the client had too many channels", `{"type":"ping"}`, 1, protocol.CloseAbnormal},
	} {
		synctest.Test(t, func(t *testing.T) {
			all := access.Patterns{access.MustPattern("*")}
			h := newTestHub(t, relay.HubConfig{
				MaxChannels: test.max,
				Access:      &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: access.Patterns{access.MustPattern("news")}},
			})
			defer h.start()()
			c := h.connect(connectOptions{room: outboxtest.Unlimited, ask: func(context.Context, string, string) (time.Time, protocol.Code) {
				return time.Now().Add(10 * time.Second), protocol.CodeOK
			}})
			defer c.leave()
			c.handle(`{"type":"subscribe","channels":[{"channel":"news"}]}`)
			c.handle(`{"type":"subscribe","channels":[{"channel":"private"}]}`)
			c.handle("%s", test.then)
			time.Sleep(15 * time.Second)
			if code := c.session.CloseCode().Plain(); code != test.closed {
				t.Errorf("%s: the session has ended with %d, want %d", test.why, code, test.closed)
			}
		})
	}
}

// A subscribe that names many channels which are rejected counts as many
// commands, so that its answers are not many times as large as the client's
// frames.
func TestRejectedChannelsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{Shards: 1, PingInterval: time.Hour, CommandRate: 20, CommandBurst: 50, MaxChannels: 128})
		t.Cleanup(h.start())
		h.Online(1)
		c := h.client(outboxtest.Unlimited)
		for _, test := range []struct {
			why      string
			rejected int
			want     string
		}{
			{"a few", 8, strings.Repeat("error bad_channel,", 8) + "pong"},
			{"many", 100, strings.Repeat("error bad_channel,", 100) + "error rate_limited"},
		} {
			c.handle("%s", `{"type":"subscribe","channels":[`+strings.Repeat(`"",`, test.rejected-1)+`""]}`)
			c.handle(`{"type":"ping"}`)
			c.want(test.why, test.want)
			time.Sleep(time.Minute)
		}
	})
}
