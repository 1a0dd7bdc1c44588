package source_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// TestRelaysShareMarkers checks that two relays receive the same markers in the
// same order, and publish few.
func TestRelaysShareMarkers(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		a, b := startLive(t, server.Addr, []string{"*"}, useProtocol), startLive(t, server.Addr, []string{"*"}, useProtocol)
		began := time.Now()
		eventually(t, "some markers", func() bool {
			return len(markersIn(a.allEvents())) >= 8 && len(markersIn(b.allEvents())) >= 8
		})
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("8 markers in %v", took)
		}
		seen, others := markersIn(a.allEvents()), markersIn(b.allEvents())
		if i := slices.Index(seen, others[0]); i >= 0 { // either may have been online first
			seen = seen[i:]
		} else {
			others = others[max(0, slices.Index(others, seen[0])):]
		}
		if n := min(len(seen), len(others)); n < 5 || !slices.Equal(seen[:n], others[:n]) {
			t.Errorf("one received %q, the other %q", seen, others)
		}
		slices.Sort(seen)
		if n := len(seen); len(slices.Compact(seen)) != n {
			t.Error("an id was used twice")
		}
		eventually(t, "both to know each other", func() bool { return a.Relays() == 2 && b.Relays() == 2 })
		if n, _, _ := a.stats.MarkerTrip.Snapshot(); n == 0 {
			t.Error("no round trip was measured")
		}
		if strings.Contains(a.log.String(), "another relay") {
			t.Error("replicas with the same settings warn about each other")
		}
	})
}

func TestForeignRelayIsReported(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		a := startLive(t, server.Addr, []string{"chat:*"}, useProtocol)
		startLive(t, server.Addr, []string{"news"}, useProtocol)
		a.awaitLog(t, "another relay with different patterns")
		a.awaitLog(t, "SIDECAST_KEY_PREFIX")
	})
}

func TestMarkersOff(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, markersOff)
		if got := server.CLI("PUBSUB", "CHANNELS"); got != "" {
			t.Errorf("subscribed to %q", got)
		}
		l.expectDelivery(t, server, "chat")
		if got := l.stats.RedisMessages.Load(); got != 1 {
			t.Errorf("%d messages: markers were published", got)
		}
	})
}

// TestOnlyMarkerChannelIsSubscribedExactly guards the reason why all replicas
// use the same node of a cluster.
func TestOnlyMarkerChannelIsSubscribedExactly(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		startLive(t, server.Addr, []string{"chat:1", "chat:2"}, useProtocol, useNames("", "x:"))
		if got := server.CLI("PUBSUB", "CHANNELS"); got != "x:mark" {
			t.Errorf("exact subscriptions: %q", got)
		}
		if got := server.CLI("PUBSUB", "NUMPAT"); got != "2" {
			t.Errorf("%s patterns", got)
		}
		if got := server.CLI("CLIENT", "LIST", "TYPE", "pubsub"); strings.Count(got, "name=sidecast-link") != 1 {
			t.Errorf("clients: %s", got)
		}
	})
}

// TestMarkersArePublishedOnce checks that a marker is never sent twice: a relay that received only the second copy would
// put it in another place than the others.
func TestMarkersArePublishedOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	defer client.Close()
	sub := client.Subscribe(t.Context(), access.NewNames("", "").Marker())
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	startLink(t, server.Addr, []string{"*"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := make(map[string]bool)
	for range 2 {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if seen[m.Payload] {
			t.Error("a marker was published twice")
		}
		seen[m.Payload] = true
	}
}
