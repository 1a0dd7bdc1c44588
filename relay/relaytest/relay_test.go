package relaytest

import (
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// TestBuild: the binary is built once.
func TestBuild(t *testing.T) {
	if first, again := Build(t), Build(t); first != again {
		t.Errorf("built twice: %s and %s", first, again)
	}
}

// TestRelayEmbedded: the relay needs nothing to be configured, and what one client publishes another hears.
func TestRelayEmbedded(t *testing.T) {
	relay := Start(t, nil)
	relay.AwaitReady()
	fleet, err := (&Dialer{URL: relay.URL()}).DialFleet(t.Context(), 5)
	check(t, err)
	defer fleet.Drop()
	check(t, fleet.Subscribe(t.Context(), "chat"))
	p := NewPublisher(fleet[0].Publish, Payloads{Bytes: BytesBinary})
	check(t, p.Run(t.Context(), []string{"chat"}, 10, 60*time.Millisecond)) // below the rate at which clients may speak
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

// TestRelayOverARedisRestart: the relay keeps its promises while its Redis is killed and comes back.
func TestRelayOverARedisRestart(t *testing.T) {
	for _, equal := range []bool{false, true} {
		server := redistest.Start(t)
		relay := Start(t, map[string]string{
			"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
		})
		relay.AwaitReady()
		client := NewRedis(server.Addr, time.Second)
		defer client.Close()
		p := NewPublisher(PublishTo(client), Payloads{Bytes: BytesBinary, Sizes: []int{100, 5000}, Equal: equal})

		channels := []string{"a", "chat:1", "x:" + "ü"}
		v1, err := (&Dialer{URL: relay.URL()}).DialFleet(t.Context(), 20)
		check(t, err)
		check(t, v1.Subscribe(t.Context(), channels...))
		raw, err := (&Dialer{URL: relay.URL(), Protocol: Raw, Channels: channels[:2]}).DialFleet(t.Context(), 20)
		check(t, err)
		closing, err := (&Dialer{URL: relay.URL(), Protocol: Raw, Channels: channels[1:], GapClose: true}).DialFleet(t.Context(), 20)
		check(t, err)
		fleet := slices.Concat(v1, raw, closing)
		defer fleet.Drop()

		check(t, p.Run(t.Context(), channels, 100, time.Millisecond))
		var faults FaultLog
		fault := faults.Begin(Fault{Name: "kill redis", Gap: Once, Offline: Once})
		server.Kill()
		check(t, p.Run(t.Context(), channels, 5, time.Millisecond))
		server.Restart()
		fault.Undone()
		check(t, p.Run(t.Context(), channels, 100, time.Millisecond))
		check(t, v1.Await(t.Context(), Is(KindGap)))
		check(t, closing.Await(t.Context(), Is(KindEnd)))
		fault.Settled()

		check(t, p.Run(t.Context(), channels, 100, time.Millisecond))
		check(t, p.Finish(t.Context()))
		check(t, fleet.AwaitEnd(t.Context(), p))
		report := Check(Run{Published: p.Log(), Sessions: fleet.Sessions(), Faults: faults.Faults()})
		check(t, report.Err())
		t.Log(report)
		fleet.Drop()
		if code := relay.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
