package relay_test

import (
	"context"
	"fmt"
	"strings"
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

// audience is a hub of one shard with n clients of the protocol on one channel, over sockets that take everything.
func audience(t *testing.T, n int, p protocol.Protocol) (*relay.Hub, []*outboxtest.FakeSocket) {
	t.Helper()
	all := access.Patterns{access.MustPattern("*")}
	budget := outbox.NewBudget(1<<20, 1<<30, time.Minute, nil)
	hub := relay.NewHub(relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all},
		Protocols: protocol.All(), Budget: budget, Shards: 1, MaxChannels: 10,
	})
	var sockets []*outboxtest.FakeSocket
	for range n {
		socket, outbox := outboxtest.NewFakeSocket(outboxtest.Unlimited), new(outbox.Outbox)
		outbox.Init(budget, socket, nil)
		hub.Join(relay.Client{Protocol: p, Outbox: outbox}).Subscribe([]string{"a"})
		sockets = append(sockets, socket)
	}
	return hub, sockets
}

// hearers counts the sockets that got text.
func hearers(sockets []*outboxtest.FakeSocket, text string) (n int) {
	for _, s := range sockets {
		if strings.Contains(string(s.Got()), text) {
			n++
		}
	}
	return n
}

// The source hands out a little itself, and leaves the rest to the shard's goroutine: messages and gaps alike.
func TestHubSharesTheWork(t *testing.T) {
	for _, test := range []struct {
		why     string
		clients int
		say     func(*relay.Hub)
		want    string
		itself  bool
	}{
		{"a message to few", 63, func(h *relay.Hub) { h.Publish([]byte("a"), []byte("hello")) }, "hello", true},
		{"a message to many", 64, func(h *relay.Hub) { h.Publish([]byte("a"), []byte("hello")) }, "hello", false},
		{"a gap to few", 63, func(h *relay.Hub) { h.Oversize([]byte("a")) }, "too_large", true},
		{"a gap to many", 64, func(h *relay.Hub) { h.Oversize([]byte("a")) }, "too_large", false},
		{"an outage, to all", 1, func(h *relay.Hub) { h.Offline() }, `"offline","reason"`, false},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub, sockets := audience(t, test.clients, protocol.V1{})
				test.say(hub)
				hub.Flush()
				want := 0
				if test.itself {
					want = test.clients
				}
				if got := hearers(sockets, test.want); got != want {
					t.Errorf("the source itself tells %d of %d clients, want %d", got, test.clients, want)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = hub.Run(ctx) })
				synctest.Wait()
				if got := hearers(sockets, test.want); got != test.clients {
					t.Errorf("with the shard's help %d of %d clients hear it", got, test.clients)
				}
				cancel()
				running.Wait()
			})
		})
	}
}

// A message costs one allocation for each protocol that is listened with, whatever the number of clients; on a channel
// that nobody listens to, none.
func TestHubAllocations(t *testing.T) {
	for _, clients := range []int{1, 50, 500} {
		hub, _ := audience(t, clients, protocol.Raw{})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = hub.Run(ctx) })
		quiet, name, payload := []byte("nobody"), []byte("a"), []byte("hello")
		if got := testing.AllocsPerRun(1000, func() { hub.Publish(quiet, payload); hub.Flush() }); got != 0 {
			t.Errorf("a message that nobody hears costs %v allocations", got)
		}
		if clients > 50 {
			cancel()
			running.Wait()
			continue // by the mailbox, at the shard's own time
		}
		if got := testing.AllocsPerRun(1000, func() { hub.Publish(name, payload); hub.Flush() }); got > 1.5 {
			t.Errorf("a message to %d clients costs %v allocations", clients, got)
		}
		cancel()
		running.Wait()
	}
}

// A publish whose answer does not come within a second is answered: it may have been delivered.
func TestHubPublishTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := access.Patterns{access.MustPattern("*")}
		budget := outbox.NewBudget(1<<20, 1<<30, time.Minute, nil)
		hub := relay.NewHub(relay.HubConfig{
			Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all},
			Protocols: protocol.All(), Budget: budget, MaxChannels: 10, MaxPayload: 100,
			Publish: func(ctx context.Context, _ string, _ []byte) (int64, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			},
		})
		socket, outbox := outboxtest.NewFakeSocket(outboxtest.Unlimited), new(outbox.Outbox)
		outbox.Init(budget, socket, nil)
		session := hub.Join(relay.Client{Protocol: protocol.V1{}, Outbox: outbox})
		began := time.Now()
		session.Handle([]byte(`{"type":"publish","channel":"a","data":"x","ref":1}`), true)
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("the client waits %v for its answer", waited)
		}
		if got := string(socket.Got()); !strings.Contains(got, fmt.Sprintf("%q", protocol.CodeUnavailable.String())) {
			t.Errorf("the answer is %q", got)
		}
	})
}
