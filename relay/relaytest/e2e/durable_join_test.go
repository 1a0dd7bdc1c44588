package e2e_test

import (
	"context"
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
	var dialers []*relaytest.Dialer
	for _, name := range []string{"a", "b"} {
		dialers = append(dialers, &relaytest.Dialer{URL: startDurable(t, server, nil).URL(), Relay: name})
	}
	ctx, cancel := context.WithTimeout(t.Context(), orLong(4*time.Second, time.Minute))
	defer cancel()
	redis := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = redis.Close() })
	n, nudged := 0, relaytest.AppendTo(redis, 0)
	p := relaytest.NewPublisher(func(ctx context.Context, channel string, payload []byte) (int64, error) {
		if n++; n%5 == 0 { // the relay finds these entries with the next nudge or by itself
			return 0, redis.Do(ctx, "XADD", channel, "*", "data", payload).Err()
		}
		return nudged(ctx, channel, payload)
	}, relaytest.Payloads{Sizes: []int{64, 3000, 700, 64, 1500}})
	var working sync.WaitGroup
	working.Go(func() { _ = p.Run(ctx, []string{"order:1"}, 0, 0) }) // its error is the end of the context
	clients := make([]*relaytest.ReconnectingClient, 12)
	for i := range clients {
		clients[i] = relaytest.NewReconnectingClient("order:1")
		working.Go(func() { keepMoving(ctx, clients[i], dialers) })
	}
	working.Wait()
	run, connections := relaytest.Run{Durable: map[string]int{"order:1": 0}}, 0
	run.Rules.Resumes = relaytest.ResumeBounds{Enough: 1, Recovered: 1}
	var fleet relaytest.Fleet
	for _, client := range clients {
		if err := client.Connect(t.Context(), dialers[0]); err != nil {
			t.Fatal(err)
		}
		defer client.Disconnect((*relaytest.Client).Drop)
		if err := client.AwaitAnswers(t.Context()); err != nil {
			t.Fatal(err)
		}
		fleet = append(fleet, client.Client())
		connections += client.Reconnects
	}
	finish(t, p, fleet)
	for _, client := range clients {
		run.Sessions = append(run.Sessions, client.Sessions()...)
	}
	run.Published = p.Log()
	if report := checkContract(t, run); report.Messages < 500 || connections < 50 || report.Gaps > 0 {
		t.Errorf("%d entries, %d connections and %d gaps, want at least 500 and 50, and no gap",
			report.Messages, connections, report.Gaps)
	}
}

// keepMoving connects the client to one relay after another until ctx ends, and
// resets each connection after a random time.
func keepMoving(ctx context.Context, client *relaytest.ReconnectingClient, dialers []*relaytest.Dialer) {
	for client.Connect(ctx, dialers[rand.IntN(len(dialers))]) == nil {
		select {
		case <-time.After(rand.N(150 * time.Millisecond)):
		case <-ctx.Done():
		}
		client.Disconnect((*relaytest.Client).Abort)
	}
}
