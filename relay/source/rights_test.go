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

// aclUser makes a user with the least rights, and more.
func aclUser(t testing.TB, server *redistest.Server, rights ...string) func(*source.Config) {
	t.Helper()
	server.CLI(slices.Concat([]string{
		"ACL", "SETUSER", "relay", "on", ">pw", "resetkeys", "resetchannels", "-@all", "+psubscribe", "+punsubscribe", "+subscribe", "+unsubscribe", "+ping", "+hello", "+auth", "+client|setname",
	}, rights)...)
	return func(c *source.Config) { c.Server.Username, c.Server.Password = "relay", "pw" }
}

func TestLeastRightsSuffice(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role", "+info")
		l := goLive(t, server.Addr, []string{"chat:*"}, speak, user)
		l.lives(t, server, "chat:1")
		l.await(t, "a marker", hasMarker)
		if !l.stats.MarkersUp.Load() {
			t.Error("markers come back, and the gauge says no")
		}
		if text := l.log.String(); strings.Contains(text, "level=WARN") || strings.Contains(text, "level=ERROR") {
			t.Error("a relay with the rights that are asked for complains")
		}
	})
}

func hasMarker(events []string) bool {
	return slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "marker ") })
}

func TestDeniedPatternIsNamed(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role")
		l := run(t, server.Addr, []string{"chat:*", "chat:1:*"}, speak, user)
		l.says(t, "a subscription was refused", "&chat:1:* :", "literally")
		l.ended(t, stats.CauseDenied, 1)
		if l.Ready() || l.Up() || !slices.Equal(l.recorder.log(), []string{"offline"}) {
			t.Errorf("got %q", l.recorder.log())
		}
		server.CLI("ACL", "SETUSER", "relay", "&chat:1:*")
		l.awaitEvent(t, "online", 1)
		l.lives(t, server, "chat:1:2")
	})
}

func TestRevokedRightEndsTheEpoch(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role")
		l := goLive(t, server.Addr, []string{"chat:*"}, speak, user)
		server.CLI("ACL", "SETUSER", "relay", "resetchannels", "&sidecast:*")
		l.awaitEvent(t, "offline", 1)
		l.says(t, "&chat:* :")
		if !l.Ready() {
			t.Error("Ready fell back")
		}
		server.CLI("ACL", "SETUSER", "relay", "&chat:*")
		l.awaitEvent(t, "online", 2)
		server.CLI("ACL", "DELUSER", "relay")
		l.awaitEvent(t, "offline", 2)
	})
}

func TestDeniedCommandIsNamed(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "allchannels", "-psubscribe")
		l := run(t, server.Addr, []string{"chat:*"}, speak, user)
		l.says(t, "+psubscribe")
	})
}

func TestWithoutTheRightToHearMarkers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&chat:*", "+publish", "+role")
		l := goLive(t, server.Addr, []string{"chat:*"}, speak, user)
		l.lives(t, server, "chat:1")
		l.says(t, "refuses the marker channel", "&sidecast:mark")
		if l.stats.MarkersUp.Load() {
			t.Error("markers are not heard, and the gauge says that they work")
		}
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		l.lives(t, server, "chat:1")
		l.warnedOnce(t, "refuses the marker channel")
		if got := server.CLI("PUBSUB", "NUMSUB", "sidecast:mark"); !strings.HasSuffix(got, "0") {
			t.Errorf("subscribed to markers: %q", got)
		}
	})
}

func TestWithoutTheRightToPublishMarkers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+role")
		l := goLive(t, server.Addr, []string{"chat:*"}, speak, user)
		l.says(t, "refuses to publish markers")
		l.lives(t, server, "chat:1")
		if l.stats.MarkersLost.Load() == 0 {
			t.Error("not counted")
		}
		if l.stats.MarkersUp.Load() {
			t.Error("markers are refused, and the gauge says that they work")
		}
		if _, err := l.Link.Publish(t.Context(), "chat:1", nil); !errors.Is(err, source.ErrRefused) {
			t.Errorf("publishing without the right: %v", err)
		}
		l.says(t, "refuses what clients publish")
		server.CLI("ACL", "SETUSER", "relay", "+publish")
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.await(t, "a marker once it is allowed", hasMarker)
		if !l.stats.MarkersUp.Load() {
			t.Error("markers come back, and the gauge says no")
		}
		server.Kill()
		l.awaitEvent(t, "offline", 2)
		if l.stats.MarkersUp.Load() {
			t.Error("the link is lost, and the gauge says that markers work")
		}
		l.warnedOnce(t, "refuses to publish markers")
	})
}

func TestRefusedPingsAreAnswers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&chat:*", "+role", "-ping")
		l := goLive(t, server.Addr, []string{"chat:*"}, speak, user, func(c *source.Config) { c.MarkersOff = true })
		// Two rounds of silence.
		l.says(t, "refuses PING")
		eventually(t, "another PING", func() bool {
			return strings.Contains(server.CLI("INFO", "commandstats"), "rejected_calls=2") ||
				strings.Count(server.CLI("ACL", "LOG"), "ping") > 0 && strings.Contains(server.CLI("ACL", "LOG"), "\n2\n")
		})
		l.lives(t, server, "chat:1")
		if got := l.recorder.log(); slices.Contains(got, "offline") {
			t.Errorf("got %q", got)
		}
	})
}

// durable makes the first pattern one of streams.
func durable(c *source.Config) { c.Durable = c.Patterns[:1] }

// TestTheStartSaysWhatIsMissing has a user with the right to the messages and to nothing else.
func TestTheStartSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&order:*", "&chat:*")
		l := goLive(t, server.Addr, []string{"order:*", "chat:*"}, speak, user, durable)
		eventually(t, "what is missing for streams", func() bool { return strings.Contains(l.log.String(), "+xrange") })
		l.says(t, "grant +role", "grant +info", "grant +subscribe and &sidecast:mark", "grant %R~order:* and +xrange +xrevrange +xinfo +multi +exec")
		if n := strings.Count(l.log.String(), "level=WARN"); n != 4 {
			t.Errorf("warned %d times", n)
		}
	})
}

// TestLeastRightsForStreams has a user with what the warnings ask for.
func TestLeastRightsForStreams(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "&order:*", "&sidecast:*", "+publish", "+role", "+info",
			"%R~order:*", "+xrange", "+xrevrange", "+xinfo", "+multi", "+exec")
		l := goLive(t, server.Addr, []string{"order:*"}, speak, user, durable)
		l.await(t, "a marker", hasMarker)
		l.await(t, "more markers", func(events []string) bool {
			return len(slices.DeleteFunc(slices.Clone(events), func(e string) bool { return !strings.HasPrefix(e, "marker ") })) >= 3
		})
		if strings.Contains(l.log.String(), "level=WARN") {
			t.Error("a relay with the rights that are asked for complains")
		}
		// They permit no adding, and whoever tries learns what is missing.
		_, err := l.Streams().Append(t.Context(), "order:1", nil)
		if !errors.Is(err, stream.ErrNoStream) || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("adding is answered with %v", err)
		}
	})
}
