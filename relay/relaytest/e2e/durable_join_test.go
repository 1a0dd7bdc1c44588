package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestDurableJoinsWhileAdding: between the entries that a client missed and the
// live ones that follow, no entry is missing or received twice, however fast
// entries are added and however often clients reconnect, to the same relay or
// to another.
func TestDurableJoinsWhileAdding(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relays := []*relaytest.Process{startDurable(t, server, nil), startDurable(t, server, nil)}
	ctx, cancel := context.WithTimeout(t.Context(), orLong(4*time.Second, time.Minute))
	defer cancel()
	added := 0
	var adding, reconnecting sync.WaitGroup
	adding.Go(func() { added = addFast(ctx, t, server, "order:1") })
	clients := make([]*reconnectingClient, 12)
	for i := range clients {
		clients[i] = &reconnectingClient{
			t: t, relays: relays, random: rand.New(rand.NewPCG(uint64(i), 1)), at: relaytest.ChannelRequest{Channel: "order:1"},
		}
		reconnecting.Go(func() { clients[i].run(ctx) })
	}
	adding.Wait()
	reconnecting.Wait()
	add(server, "order:1", "last")
	connections := 0
	for _, client := range clients {
		client.finish(added)
		connections += client.connections
	}
	t.Logf("%d entries, %d connections", added, connections)
	if added < 500 || connections < 50 {
		t.Error("too few entries or connections for this test to show anything")
	}
}

// addFast adds entries whose payloads begin with their numbers until ctx ends,
// and returns how many. The payloads have different sizes.
func addFast(ctx context.Context, t *testing.T, server *redistest.Server, channel string) (n int) {
	client := relaytest.NewRedis(server.Addr, time.Second)
	defer client.Close()
	filler := bytes.Repeat([]byte("."), 3000)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		pipe := client.Pipeline()
		for range 1 + n%7 {
			n++
			payload := fmt.Sprintf("%d %s", n, filler[:n*37%len(filler)])
			pipe.Do(context.Background(), "XADD", channel, "*", "data", payload)
		}
		if n%5 > 0 {
			pipe.Publish(context.Background(), channel, "")
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			t.Errorf("adding: %v", err)
			return n
		}
	}
	return n
}

// A reconnectingClient is one listener that disconnects and resumes again and
// again, and checks that it receives every entry once and in order.
type reconnectingClient struct {
	t           *testing.T
	relays      []*relaytest.Process
	random      *rand.Rand
	at          relaytest.ChannelRequest // its cursor
	next        int                      // the number of the next entry; 0 before the first
	receivedAll bool
	connections int
}

// connect connects to one of the relays and resumes. It returns nil if ctx ends
// before.
func (c *reconnectingClient) connect(ctx context.Context) *relaytest.Client {
	relay := c.relays[c.random.IntN(len(c.relays))]
	client, err := (&relaytest.Dialer{URL: relay.URL()}).Dial(ctx)
	if err != nil {
		return nil
	}
	if err := client.SubscribeFrom(ctx, c.at); err != nil && ctx.Err() == nil {
		c.t.Errorf("resuming: %v", err)
	}
	return client
}

// run reconnects until ctx ends.
func (c *reconnectingClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		client := c.connect(ctx)
		if client == nil {
			return
		}
		c.connections++
		stay, cancel := context.WithTimeout(ctx, time.Duration(c.random.IntN(150))*time.Millisecond)
		select {
		case <-client.Done():
		case <-stay.Done():
		}
		cancel()
		client.Abort()
		<-client.Done()
		c.check(client)
	}
}

// check checks all events of a connection, which must continue where the
// connection before it ended.
func (c *reconnectingClient) check(client *relaytest.Client) {
	for _, e := range client.Events() {
		switch e.Kind {
		case relaytest.KindSubscribed:
			if c.at.After != "" && !e.Recovered {
				c.t.Errorf("a resume before entry %d did not recover", c.next)
			}
			c.at.After = e.Cursor
		case relaytest.KindGap:
			c.t.Errorf("a gap before entry %d: %v", c.next, e)
		case relaytest.KindMessage:
			c.message(e)
		}
	}
}

func (c *reconnectingClient) message(e relaytest.Event) {
	c.at.After = e.Cursor
	if e.Data == "last" {
		c.receivedAll = true
		return
	}
	var number int
	if _, err := fmt.Sscan(e.Data, &number); err != nil || c.next != 0 && number != c.next {
		c.t.Errorf("a client received %.20q, want entry %d", e.Data, c.next)
	}
	c.next = number + 1
}

// finish resumes once more and receives everything.
func (c *reconnectingClient) finish(added int) {
	client := c.connect(c.t.Context())
	if client == nil {
		c.t.Fatal("a relay accepts no connections")
	}
	defer client.Drop()
	_, err := client.Await(c.t.Context(), func(e relaytest.Event) bool {
		return e.Kind == relaytest.KindMessage && e.Data == "last"
	})
	c.check(client)
	if err != nil || !c.receivedAll || c.next != 0 && c.next != added+1 {
		c.t.Errorf("a client received entries before %d, and there are %d: %v", c.next, added, err)
	}
}
