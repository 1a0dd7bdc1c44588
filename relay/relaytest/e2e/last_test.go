package e2e_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestLastJoins: many clients join with last while 1,000 messages are published
// per second on 100 channels, live and durable. Each receives a suffix of
// Redis's order and then all new messages: none is missing or repeated between
// the two, also if the connection breaks right after the answer and the client
// resumes at another relay.
func TestLastJoins(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var dialers []*relaytest.Dialer
	for _, name := range []string{"a", "b"} {
		relay := startRelay(t, server, map[string]string{
			"SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_MAX_CONNECT_RATE_PER_IP": "0",
		})
		awaitMetric(t, relay, "sidecast_markers_up", func(up float64) bool { return up == 1 })
		dialers = append(dialers, &relaytest.Dialer{URL: relay.URL(), Relay: name})
	}
	live, durable := channels("price", 80), channels("order", 20)
	redis := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = redis.Close() })
	publishers := []*relaytest.Publisher{
		publisher(t, server, relaytest.Payloads{Sizes: []int{64, 300}}),
		relaytest.NewPublisher(relaytest.AppendTo(redis, 0), relaytest.Payloads{Sizes: []int{64, 300}}),
	}
	if err := publishers[1].Run(t.Context(), durable, 1, 0); err != nil { // no client can resume from a stream that does not exist yet
		t.Fatal(err)
	}
	stop := [2]func(){
		traffic(t, publishers[0], live, 100*time.Millisecond), traffic(t, publishers[1], durable, 100*time.Millisecond),
	}
	joiners := joinAll(t, orLong(300, 10_000), dialers, append(live, durable...))
	run := relaytest.Run{Sessions: joiners, Durable: map[string]int{}}
	run.Rules.AllNewest = true
	run.Rules.Resumes = relaytest.ResumeBounds{Enough: 1, Recovered: 1}
	for _, channel := range durable {
		run.Durable[channel] = 0
	}
	for i, names := range [][]string{live, durable} {
		fleet := dialFleet(t, dialers[i], 1)
		if err := fleet.Subscribe(t.Context(), names...); err != nil {
			t.Fatal(err)
		}
		stop[i]()
		finish(t, publishers[i], fleet)
		run.Sessions = append(run.Sessions, fleet.Sessions()...)
		run.Published = append(run.Published, publishers[i].Log()...)
	}
	if report := checkContract(t, run); report.Gaps > 0 || report.Live.Crossed.Recovered == 0 || report.Durable.Crossed.Recovered == 0 {
		t.Errorf("%d gaps, and %v and %v resumes", report.Gaps, report.Live, report.Durable)
	}
}

// joinAll lets so many clients join with last, several at a time, and returns
// their sessions.
func joinAll(t *testing.T, n int, dialers []*relaytest.Dialer, names []string) (sessions []relaytest.Session) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var working sync.WaitGroup
	var begun atomic.Int32
	for range orLong(16, 64) {
		working.Go(func() {
			for int(begun.Add(1)) <= n && ctx.Err() == nil {
				client := relaytest.NewReconnectingClient(names[rand.IntN(len(names))])
				client.Last = []int{1, 5, 20, 100}[rand.IntN(4)]
				err := join(ctx, client, dialers)
				client.Disconnect((*relaytest.Client).Drop)
				mu.Lock()
				sessions = append(sessions, client.Sessions()...)
				mu.Unlock()
				if err != nil && ctx.Err() == nil {
					t.Errorf("joining: %v", err)
					cancel()
				}
			}
		})
	}
	working.Wait()
	return sessions
}

// join connects a client and waits for a message that was published afterwards.
// Every other connection breaks as soon as it was answered, and the client
// resumes.
func join(ctx context.Context, client *relaytest.ReconnectingClient, dialers []*relaytest.Dialer) error {
	if err := client.Connect(ctx, dialers[rand.IntN(len(dialers))]); err != nil {
		return err
	}
	if err := client.AwaitAnswers(ctx); err != nil {
		return err
	}
	if rand.IntN(2) == 0 {
		client.Disconnect((*relaytest.Client).Abort)
		if err := client.Connect(ctx, dialers[rand.IntN(len(dialers))]); err != nil {
			return err
		}
	}
	began := time.Now()
	_, err := client.Client().Await(ctx, func(e relaytest.Event) bool {
		return e.Kind == relaytest.KindMessage && e.At.Sub(began) > 250*time.Millisecond
	})
	return err
}
