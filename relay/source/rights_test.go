package source_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// aclUser creates a user with the minimum rights and the given ones.
func aclUser(t testing.TB, server *redistest.Server, rights ...string) func(*source.Config) {
	t.Helper()
	server.CLI(slices.Concat([]string{
		"ACL", "SETUSER", "relay", "on", ">pw", "resetkeys", "resetchannels", "-@all",
		"+psubscribe", "+punsubscribe", "+subscribe", "+unsubscribe", "+ping", "+hello", "+auth", "+client|setname",
	}, rights)...)
	return func(c *source.Config) { c.Server.Username, c.Server.Password = "relay", "pw" }
}

func TestLeastRightsSuffice(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role", "+info")
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, user)
		l.expectDelivery(t, server, "chat:1")
		l.await(t, "a marker", hasMarker)
		l.expectMarkersUp(t, true)
		l.expectNoWarnings(t)
	})
}

func TestDeniedPatternIsNamed(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role")
		l := startLink(t, server.Addr, []string{"chat:*", "chat:1:*"}, useProtocol, user)
		l.awaitLog(t, "a subscription was refused", "&chat:1:* (", "literally")
		l.expectEnded(t, stats.CauseDenied, 1)
		if l.Ready() || l.Up() || !slices.Equal(l.recorder.deliveries(), []string{"offline"}) {
			t.Errorf("got %q", l.recorder.deliveries())
		}
		server.CLI("ACL", "SETUSER", "relay", "&chat:1:*")
		l.awaitEvent(t, "online", 1)
		l.expectDelivery(t, server, "chat:1:2")
	})
}

func TestRevokedRightEndsTheEpoch(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role")
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, user)
		server.CLI("ACL", "SETUSER", "relay", "resetchannels", "&sidecast:*")
		l.awaitEvent(t, "offline", 1)
		l.awaitLog(t, "&chat:* (")
		if !l.Ready() {
			t.Error("Ready became false")
		}
		server.CLI("ACL", "SETUSER", "relay", "&chat:*")
		l.awaitEvent(t, "online", 2)
		server.CLI("ACL", "DELUSER", "relay")
		l.awaitEvent(t, "offline", 2)
	})
}

func TestDeniedCommandIsNamed(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "allchannels", "-psubscribe")
		l := startLink(t, server.Addr, []string{"chat:*"}, useProtocol, user)
		l.awaitLog(t, "+psubscribe")
	})
}

func TestMarkerSubscriptionDenied(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&chat:*", "+publish", "+role")
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, user)
		l.expectDelivery(t, server, "chat:1")
		l.awaitLog(t, "refuses the subscription to the marker channel", "&sidecast:mark")
		l.expectMarkersUp(t, false)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		l.expectDelivery(t, server, "chat:1")
		l.expectLoggedOnce(t, "refuses the subscription to the marker channel")
		if got := server.CLI("PUBSUB", "NUMSUB", "sidecast:mark"); !strings.HasSuffix(got, "0") {
			t.Errorf("subscribed to markers: %q", got)
		}
	})
}

func TestMarkerPublishDenied(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+role")
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, user)
		l.awaitLog(t, "refuses to publish markers")
		l.expectDelivery(t, server, "chat:1")
		if l.stats.MarkersLost.Load() == 0 {
			t.Error("the refusal was not counted")
		}
		l.expectMarkersUp(t, false)
		if _, err := l.Link.Publish(t.Context(), "chat:1", nil); !errors.Is(err, source.ErrRefused) {
			t.Errorf("publishing without the right returned %v", err)
		}
		l.awaitLog(t, "refuses messages that clients publish")
		server.CLI("ACL", "SETUSER", "relay", "+publish")
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.await(t, "a marker after it is allowed", hasMarker)
		l.expectMarkersUp(t, true)
		server.Kill()
		l.awaitEvent(t, "offline", 2)
		l.expectMarkersUp(t, false)
		l.expectLoggedOnce(t, "refuses to publish markers")
	})
}

func TestRefusedPingsCountAsAnswers(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&chat:*", "+role", "-ping")
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, user, markersOff)
		// Silence makes the watchdog send two PINGs.
		l.awaitLog(t, "refuses PING")
		eventually(t, "another PING", func() bool {
			return strings.Contains(server.CLI("INFO", "commandstats"), "rejected_calls=2") ||
				strings.Count(server.CLI("ACL", "LOG"), "ping") > 0 && strings.Contains(server.CLI("ACL", "LOG"), "\n2\n")
		})
		l.expectDelivery(t, server, "chat:1")
		l.expectLost(t, 0)
	})
}

// durableFirst makes the first pattern one of durable channels.
func durableFirst(c *source.Config) { c.Durable = c.Patterns[:1] }

// TestMissingRightsAreLogged uses a user who has the right to the messages and
// no other.
func TestMissingRightsAreLogged(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&order:*", "&chat:*")
		l := startLive(t, server.Addr, []string{"order:*", "chat:*"}, useProtocol, user, durableFirst)
		l.awaitLog(t, "grant +role", "grant +info", "grant +subscribe and &sidecast:mark",
			"grant %R~order:* and +xrange +xrevrange +xinfo")
		if n := strings.Count(l.log.String(), "level=WARN"); n != 4 {
			t.Errorf("%d warnings", n)
		}
	})
}

// TestLeastRightsForStreams uses a user with the rights that the warnings name.
func TestLeastRightsForStreams(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "&order:*", "&sidecast:*", "+publish", "+role", "+info",
			"%R~order:*", "+xrange", "+xinfo")
		l := startLive(t, server.Addr, []string{"order:*"}, useProtocol, user, durableFirst)
		l.await(t, "a marker", hasMarker)
		l.await(t, "more markers", func(events []string) bool {
			return len(markersIn(events)) >= 3
		})
		l.expectNoWarnings(t)
		// They do not permit adding, and the error names the missing right.
		_, err := l.Streams().Append(t.Context(), "order:1", nil)
		if !errors.Is(err, stream.ErrNoStream) || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("adding returned %v", err)
		}
		server.CLI("ACL", "SETUSER", "relay", "%RW~order:*", "+xadd")
		id, err := l.Streams().Append(t.Context(), "order:1", nil)
		if err != nil {
			t.Errorf("adding with the right returned %v", err)
		}
		if page, err := l.Streams().Read(t.Context(), "order:1", stream.ID{}, 1); err != nil || !page.BeginsAt(id) {
			t.Errorf("read %+v, %v", page, err)
		}
		if log := server.CLI("ACL", "LOG"); strings.Count(log, "object") != 1 || !strings.Contains(log, "xadd") {
			t.Errorf("Redis denied:\n%s", log)
		}
	})
}
