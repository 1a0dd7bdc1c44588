package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// soon is how long after a new Redis answers PING clients may have to wait for its messages.
const soon = 5 * time.Second

// TestRedisKilled: Redis dies and comes back again and again under traffic. Each time every client that can be told is
// told once when it is gone and once, before the next message, when it is back; nothing is missing that this does not
// explain, and nobody loses the connection.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	names := channels("killed", 8)
	told := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, 40)
	if err := told[:20].Subscribe(t.Context(), names[:4]...); err != nil {
		t.Fatal(err)
	}
	if err := told[20:].Subscribe(t.Context(), names[2:]...); err != nil {
		t.Fatal(err)
	}
	deaf := dialFleet(t, &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: names}, 10)
	asking := &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: names[:1], GapClose: true}

	p := publisher(t, server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	stop := traffic(t, p, names, 10*time.Millisecond)

	var faults relaytest.FaultLog
	var closed relaytest.Fleet
	kills := or(4, 20)
	for n := range kills {
		closed = append(closed, dial(t, asking))
		flows(t, told, deaf, closed[n:])
		kill(t, server, &faults, n+1, told)
		closes(t, closed[n], 4410)
	}
	flows(t, told, deaf)
	stop()
	fleet := slices.Concat(told, deaf)
	finish(t, p, fleet)
	report := judge(t, relaytest.Run{
		Published: p.Log(), Sessions: append(fleet.Sessions(), closed.Sessions()...), Faults: faults.Faults(),
	})
	if gaps, offlines := kills*(len(told)+1), kills*len(told); report.Gaps != gaps || report.Offlines != offlines {
		t.Errorf("%d gaps and %d offline, want %d and %d", report.Gaps, report.Offlines, gaps, offlines)
	}
	if ended := total(t, relay, "sidecast_redis_epochs_total{"); ended != float64(kills) {
		t.Errorf("%v links ended, by %d kills", ended, kills)
	}
}

// flows waits until every client has heard some more messages.
func flows(t testing.TB, fleets ...relaytest.Fleet) {
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

// kill kills Redis for the nth time, starts it again, and waits until all clients have heard what they must of both.
func kill(t testing.TB, server *redistest.Server, faults *relaytest.FaultLog, n int, told relaytest.Fleet) {
	t.Helper()
	fault := faults.Begin(relaytest.Fault{
		Name: fmt.Sprintf("kill %d", n), Gap: relaytest.Once, Offline: relaytest.Once,
	})
	server.Kill()
	for _, client := range told {
		if _, err := client.Await(t.Context(), nth(n, relaytest.KindOffline)); err != nil {
			t.Fatalf("kill %d: awaiting offline: %v", n, err)
		}
	}
	server.Restart()
	if pong := server.CLI("PING"); pong != "PONG" {
		t.Fatalf("Redis answers %q", pong)
	}
	ponged := time.Now()
	fault.Undone()
	var slowest time.Duration
	for _, client := range told {
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
	t.Logf("kill %d: live %v after PONG", n, slowest)
	if slowest > soon {
		t.Errorf("kill %d: live only %v after Redis answered PING", n, slowest)
	}
}
