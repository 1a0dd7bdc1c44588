package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// reconnectLimit bounds how long after a restarted Redis answers PING clients
// must receive its messages.
const reconnectLimit = 5 * time.Second

// TestRedisKilled: Redis is killed and restarted again and again while messages
// are published. Each time every client of sidecast.v1 receives one offline
// notice after the kill, and one gap after the restart and before the next
// message. No message is missing without such a gap, and no client loses its
// connection.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	names := channels("killed", 8)
	notified := append(listenFleet(t, relay, 20, names[:4]...), listenFleet(t, relay, 20, names[2:]...)...)
	raw := dialFleet(t, &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: names}, 10)
	gapClose := &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: names[:1], GapClose: true}

	p := publisher(t, server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	stop := traffic(t, p, names, 10*time.Millisecond)

	var faults relaytest.FaultLog
	var closed relaytest.Fleet
	kills := orLong(4, 20)
	for n := range kills {
		closed = append(closed, dial(t, gapClose))
		awaitTraffic(t, notified, raw, closed[n:])
		kill(t, server, &faults, n+1, notified)
		wantClose(t, closed[n], 4410)
	}
	awaitTraffic(t, notified, raw)
	stop()
	fleet := slices.Concat(notified, raw)
	finish(t, p, fleet)
	report := checkContract(t, relaytest.Run{
		Published: p.Log(), Sessions: append(fleet.Sessions(), closed.Sessions()...), Faults: faults.Faults(),
	})
	// The checker counts the close of a raw client with gap=close as a gap.
	got, want := [2]int{report.Gaps, report.Offlines}, [2]int{kills * (len(notified) + 1), kills * len(notified)}
	if got != want {
		t.Errorf("gaps and offline notices: %v, want %v", got, want)
	}
	if ended := total(t, relay, "sidecast_redis_epochs_total{"); ended != float64(kills) {
		t.Errorf("%v connections to Redis ended after %d kills", ended, kills)
	}
}

// awaitTraffic waits until every client has received 20 more messages.
func awaitTraffic(t testing.TB, fleets ...relaytest.Fleet) {
	t.Helper()
	all := slices.Concat(fleets...)
	var last []relaytest.Event
	for _, client := range all {
		last = append(last, client.Last())
	}
	for i, client := range all {
		if _, err := client.AwaitAfter(t.Context(), last[i], nth(20, relaytest.KindMessage)); err != nil {
			t.Fatalf("awaiting traffic: %v", err)
		}
	}
}

// kill kills Redis for the nth time, starts it again, and waits until all
// clients have received an offline notice, a gap and a message.
func kill(t testing.TB, server *redistest.Server, faults *relaytest.FaultLog, n int, notified relaytest.Fleet) {
	t.Helper()
	fault := faults.Begin(relaytest.Fault{
		Name: fmt.Sprintf("kill %d", n), Gap: relaytest.Once, Offline: relaytest.Once,
	})
	server.Kill()
	for _, client := range notified {
		if _, err := client.Await(t.Context(), nth(n, relaytest.KindOffline)); err != nil {
			t.Fatalf("kill %d: awaiting the offline notice: %v", n, err)
		}
	}
	server.Restart()
	if pong := server.CLI("PING"); pong != "PONG" {
		t.Fatalf("Redis answers %q", pong)
	}
	ponged := time.Now()
	fault.Undone()
	var slowest time.Duration
	for _, client := range notified {
		gap, err := client.Await(t.Context(), nth(n, relaytest.KindGap))
		if err != nil {
			t.Fatalf("kill %d: awaiting the gap: %v", n, err)
		}
		next, err := client.AwaitAfter(t.Context(), gap, relaytest.Is(relaytest.KindMessage))
		if err != nil {
			t.Fatalf("kill %d: awaiting a message: %v", n, err)
		}
		slowest = max(slowest, next.At.Sub(ponged))
	}
	fault.Settled()
	t.Logf("kill %d: messages arrived %v after Redis answered PING", n, slowest)
	if slowest > reconnectLimit {
		t.Errorf("kill %d: messages arrived only %v after Redis answered PING", n, slowest)
	}
}
