package relaytest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// TestRelayEmbedded: the relay needs no settings, and clients receive what one
// of them publishes.
func TestRelayEmbedded(t *testing.T) {
	relay := Start(t, nil)
	relay.AwaitReady()
	fleet, err := (&Dialer{URL: relay.URL()}).DialFleet(t.Context(), 5)
	check(t, err)
	defer fleet.Drop()
	check(t, fleet.Subscribe(t.Context(), "chat"))
	p := NewPublisher(fleet[0].Publish, Payloads{Bytes: BytesBinary})
	check(t, p.Run(t.Context(), []string{"chat"}, 10, 60*time.Millisecond)) // below the rate limit of clients
	check(t, p.Finish(t.Context()))
	check(t, fleet.AwaitEnd(t.Context(), p))
	report := Check(Run{Published: p.Log(), Sessions: fleet.Sessions()})
	check(t, report.Err())
	if report.Deliveries != 55 {
		t.Error(report)
	}
	fleet.Drop()
	if code := relay.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestRelayDuringRedisRestart: the relay keeps its guarantees while its Redis
// is killed and restarted, and Check reports every mutant of the logs of its
// clients.
func TestRelayDuringRedisRestart(t *testing.T) {
	for _, equal := range []bool{false, true} {
		t.Run(fmt.Sprintf("equal=%v", equal), func(t *testing.T) {
			run := restartRedis(t, equal)
			for !hasLoss(run) { // the relay reconnected before the first message
				run = restartRedis(t, equal)
			}
			for _, m := range mutants {
				m.check(t, run, equal)
			}
		})
	}
}

// hasLoss reports whether the relay cannot have received a message on channel a
// because it had no connection to Redis.
func hasLoss(run Run) bool {
	return slices.ContainsFunc(run.Published, func(p Publication) bool {
		return p.Channel == "a" && p.Err == nil && p.Receivers == 0
	})
}

// restartRedis runs a relay whose Redis is killed and restarted, checks the
// logs and returns them.
func restartRedis(t *testing.T, equal bool) Run {
	server := redistest.Start(t)
	relay := Start(t, map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
	})
	relay.AwaitReady()
	client := NewRedis(server.Addr, time.Second)
	defer client.Close()
	p := NewPublisher(PublishTo(client), Payloads{Bytes: BytesBinary, Sizes: []int{100, 5000}, Equal: equal})

	channels := []string{"a", "chat:1", "x:" + "ü"}
	dialer := &Dialer{URL: relay.URL()}
	v1, err := dialer.DialFleet(t.Context(), 20)
	check(t, err)
	check(t, v1.Subscribe(t.Context(), channels...))
	raw, err := (&Dialer{URL: relay.URL(), Protocol: Raw, Channels: channels[:2]}).DialFleet(t.Context(), 20)
	check(t, err)
	closing, err := (&Dialer{URL: relay.URL(), Protocol: Raw, Channels: channels[1:], GapClose: true}).DialFleet(t.Context(), 20)
	check(t, err)
	fleet := slices.Concat(v1, raw, closing)
	defer fleet.Drop()
	returning := NewReconnectingClient(channels...)
	defer returning.Disconnect((*Client).Drop)

	publish := func(n int) { check(t, p.Run(t.Context(), channels, n, time.Millisecond)) }
	publish(100)
	var faults FaultLog
	fault := faults.Begin(Fault{Name: "kill redis", Gap: Once, Offline: Once})
	server.Kill()
	publish(5)
	server.Restart()
	fault.Undone()
	publish(100)
	check(t, v1.Await(t.Context(), Is(KindGap)))
	check(t, closing.Await(t.Context(), Is(KindEnd)))
	fault.Settled()

	check(t, returning.Connect(t.Context(), dialer))
	check(t, returning.AwaitAnswers(t.Context()))
	publish(30)
	returning.Disconnect((*Client).Abort)
	publish(30)
	check(t, returning.Connect(t.Context(), dialer))
	check(t, returning.AwaitAnswers(t.Context()))
	publish(40)
	check(t, p.Finish(t.Context()))
	check(t, append(fleet, returning.Client()).AwaitEnd(t.Context(), p))
	run := Run{Published: p.Log(), Sessions: append(fleet.Sessions(), returning.Sessions()...), Faults: faults.Faults()}
	fleet.Drop()
	returning.Disconnect((*Client).Drop)
	if code := relay.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	report := Check(run)
	check(t, report.Err())
	t.Log(report)
	if report.Live.Same.Recovered == 0 {
		t.Error("no client was recovered")
	}
	return run
}
