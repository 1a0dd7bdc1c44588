package source_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/embedded"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// digest stands for a payload in a recorder's log.
func digest(payload []byte) string {
	return fmt.Sprintf("%d/%08x", len(payload), crc32.ChecksumIEEE(payload))
}

// TestEveryMessageArrivesAsPublished publishes names of 1 to 8 bytes and payloads of all sizes around the edges of the
// read buffers, in bursts, and compares what arrives byte for byte and in order.
func TestEveryMessageArrivesAsPublished(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		const limit = 600 << 10
		l := run(t, server.Addr, []string{"*"}, speak, func(c *source.Config) { c.MaxPayload = limit })
		l.digests()
		l.awaitEvent(t, "online", 1)
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		r := rand.New(rand.NewPCG(1, 2))
		edges := []int{0, 1, 100, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 512 << 10, limit}
		var want []string
		for range 40 {
			pipe := client.Pipeline()
			for range 1 + r.IntN(20) {
				name := strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(8))
				size := max(0, edges[r.IntN(len(edges))]-64+r.IntN(128))
				if r.IntN(4) > 0 {
					size = r.IntN(300)
				}
				payload := make([]byte, size)
				for i := range payload {
					payload[i] = "\r\n*$>4pmessage8+-:"[r.IntN(18)]
				}
				pipe.Publish(t.Context(), name, payload)
				if size > limit {
					want = append(want, "oversize "+name)
				} else {
					want = append(want, name+"="+digest(payload))
				}
			}
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		client.Publish(t.Context(), "end", "")
		l.awaitEvent(t, "end="+digest(nil), 1)
		got := l.recorder.log()
		got = got[1 : len(got)-1]
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("message %d of %d: got %.100q, want %q", i, len(want), got[min(i, len(got)-1)], want[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d messages, want %d", len(got), len(want))
		}
		if n := l.stats.RedisMessages.Load(); n < uint64(len(want)) {
			t.Errorf("%d messages counted", n)
		}
	})
}

// TestOverlappingPatterns lets Redis send each message three times.
func TestOverlappingPatterns(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		names := access.NewNames("app[1]:", "")
		l := goLive(t, server.Addr, []string{"chat:*", "*:4?", "chat:42", "chat:42"}, speak, func(c *source.Config) { c.Names = names })
		for i := range 3 {
			if got := server.CLI("PUBLISH", "app[1]:chat:42", fmt.Sprint(i)); got != "3" {
				t.Fatalf("Redis sent it %s times", got)
			}
		}
		server.CLI("PUBLISH", "app1:chat:42", "the prefix is no pattern")
		server.CLI("PUBLISH", "app[1]:user:41", "x")
		l.awaitEvent(t, "user:41=x", 1)
		want := []string{"online", "chat:42=0", "chat:42=1", "chat:42=2", "user:41=x"}
		if got := l.recorder.log(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := l.stats.Dropped[stats.DropOverlap].Load(); n != 6 {
			t.Errorf("%d copies dropped, want 6", n)
		}
	})
}

// TestManyPatterns subscribes with a command that go-redis writes in several pieces, on the first conn and on the next.
func TestManyPatterns(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		var patterns []string
		for i := range 300 {
			patterns = append(patterns, fmt.Sprintf("%03d:%s*", i, strings.Repeat("x", 150)))
		}
		l := run(t, server.Addr, patterns, speak)
		name := strings.Replace(patterns[299], "*", "y", 1)
		l.awaitEvent(t, "online", 1)
		l.lives(t, server, name)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		l.lives(t, server, name)
	})
}

func TestReservedNamesAreNotRelayed(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--notify-keyspace-events", "KEA")
		l := goLive(t, server.Addr, []string{"*"}, speak)
		for _, name := range []string{"sidecast:control", "sidecast:mark", "__keyspace@0__:x", "__x"} {
			server.CLI("PUBLISH", name, "x")
		}
		server.CLI("SET", "key", "value") // two keyspace events
		server.CLI("PUBLISH", "control\x01", "x")
		l.lives(t, server, "chat")
		if got := l.recorder.log(); len(got) != 2 {
			t.Errorf("got %q", got)
		}
		if n := l.stats.Dropped[stats.DropReserved].Load(); n != 5 {
			t.Errorf("%d dropped as reserved, want all but the one on the marker channel", n)
		}
		if n := l.stats.Dropped[stats.DropName].Load(); n != 1 {
			t.Errorf("%d dropped for their names", n)
		}
	})
}

// TestTLSCarriesNoPlaintext looks at every byte of a rediss:// link and of its commands.
func TestTLSCarriesNoPlaintext(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server, ca := redistest.StartTLS(t)
		proxy := faultproxy.Start(t, server.Addr)
		proxy.Record(faultproxy.ToServer)
		proxy.Record(faultproxy.ToClient)
		l := goLive(t, proxy.Addr, []string{"plain:*"}, speak, secure(t, proxy.Addr, ca))
		if _, err := l.Link.Publish(t.Context(), "plain:text", []byte("readable")); err != nil {
			t.Fatal(err)
		}
		l.awaitEvent(t, "plain:text=readable", 1)
		for _, direction := range faultproxy.Both {
			wire := bytes.ToLower(proxy.Recorded(direction))
			for _, word := range []string{"plain:", "readable", "psubscribe", "pmessage", "publish", "hello", "sidecast"} {
				if bytes.Contains(wire, []byte(word)) {
					t.Errorf("%q crossed the wire", word)
				}
			}
		}
		proxy.Reset()
		l.awaitEvent(t, "online", 2)
	})
}

// secure makes a link use rediss:// and trust the CA.
func secure(t testing.TB, addr string, ca []byte) func(*source.Config) {
	t.Helper()
	return func(c *source.Config) {
		protocol := c.Server.Protocol
		server, err := source.ParseURL("rediss://"+addr, source.Standalone)
		if err == nil {
			err = server.TrustCA(ca)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Server = server
		c.Server.Protocol = protocol
	}
}

func TestTLSTroubleIsExplained(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server, ca := redistest.StartTLS(t)
		_, otherCA := redistest.StartTLS(t)
		plain := redistest.Start(t)
		tests := []struct {
			why, addr string
			change    func(*source.Config)
			says      string
		}{
			{"another CA", server.Addr, secure(t, server.Addr, otherCA), "set SIDECAST_REDIS_CA"},
			{"TLS to a plain port", plain.Addr, secure(t, plain.Addr, ca), "use a redis:// URL"},
			{"plain to a TLS port", server.Addr, func(*source.Config) {}, "use a rediss:// URL"},
			{"another host", server.Addr, func(c *source.Config) {
				secure(t, server.Addr, ca)(c)
				c.Server.TLS.ServerName = "redis.example.com"
			}, "use the host in SIDECAST_REDIS_URL that the certificate names"},
		}
		for _, test := range tests {
			t.Run(test.why, func(t *testing.T) {
				l := run(t, test.addr, []string{"*"}, speak, test.change)
				l.says(t, test.says)
			})
		}
	})
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		socket := filepath.Join(t.TempDir(), "redis.sock")
		server := redistest.Start(t, "--unixsocket", socket)
		l := goLive(t, socket, []string{"*"}, speak)
		l.lives(t, server, "chat")
		server.Restart()
		l.awaitEvent(t, "online", 2)
		l.lives(t, server, "chat")
	})
}

// TestEmbedded runs on the in-memory server of the embedded mode, which knows neither ROLE nor CLIENT SETNAME.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server, err := embedded.Start("127.0.0.1:0", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		l := goLive(t, server.Addr(), []string{"*"}, speak, func(c *source.Config) { c.Embedded = true })
		if n, err := l.Link.Publish(t.Context(), "chat", []byte("hello")); n != 1 || err != nil {
			t.Fatalf("Publish returned %d, %v", n, err)
		}
		l.awaitEvent(t, "chat=hello", 1)
		l.await(t, "a marker", hasMarker)
		server.Close()
		l.awaitEvent(t, "offline", 1)
		again, err := embedded.Start(server.Addr(), nil)
		if err != nil || again.Addr() != server.Addr() {
			t.Fatalf("starting it again on %s: %v", server.Addr(), err)
		}
		t.Cleanup(again.Close)
		l.awaitEvent(t, "online", 2)
		if strings.Contains(l.log.String(), "role") {
			t.Errorf("a warning about our own server")
		}
	})
}

// TestRelaysShareMarkers checks that two relays see the same markers in the same order, and publish few.
func TestRelaysShareMarkers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		a, b := run(t, server.Addr, []string{"*"}, speak), run(t, server.Addr, []string{"*"}, speak)
		a.awaitEvent(t, "online", 1)
		b.awaitEvent(t, "online", 1)
		markers := func(l *running) []string {
			return slices.DeleteFunc(l.all(), func(e string) bool { return !strings.HasPrefix(e, "marker ") })
		}
		began := time.Now()
		eventually(t, "some markers", func() bool { return len(markers(a)) >= 8 && len(markers(b)) >= 8 })
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("8 markers in %v", took)
		}
		seen, others := markers(a), markers(b)
		if i := slices.Index(seen, others[0]); i >= 0 { // either may have been online first
			seen = seen[i:]
		} else {
			others = others[max(0, slices.Index(others, seen[0])):]
		}
		if n := min(len(seen), len(others)); n < 5 || !slices.Equal(seen[:n], others[:n]) {
			t.Errorf("one saw %q, the other %q", seen, others)
		}
		slices.Sort(seen)
		if n := len(seen); len(slices.Compact(seen)) != n {
			t.Error("an id came twice")
		}
		if n, _, _ := a.stats.MarkerTrip.Snapshot(); n == 0 {
			t.Error("no round trip was measured")
		}
		if strings.Contains(a.log.String(), "another relay") {
			t.Error("replicas take each other for strangers")
		}
	})
}

func TestForeignRelayIsWarnedOf(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		a := goLive(t, server.Addr, []string{"chat:*"}, speak)
		run(t, server.Addr, []string{"news"}, speak).awaitEvent(t, "online", 1)
		a.says(t, "another relay with other patterns")
		a.says(t, "SIDECAST_KEY_PREFIX")
	})
}

func TestMarkersOff(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak, func(c *source.Config) { c.MarkersOff = true })
		if got := server.CLI("PUBSUB", "CHANNELS"); got != "" {
			t.Errorf("subscribed to %q", got)
		}
		l.lives(t, server, "chat")
		if got := l.stats.RedisMessages.Load(); got != 1 {
			t.Errorf("%d messages: markers are published", got)
		}
	})
}

// TestOnlyTheMarkerChannelIsExact holds what makes all replicas meet on one node of a cluster.
func TestOnlyTheMarkerChannelIsExact(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		goLive(t, server.Addr, []string{"chat:1", "chat:2"}, speak, func(c *source.Config) { c.Names = access.NewNames("", "x:") })
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

// TestAttemptsAreFewWhileRedisIsAway counts dials.
func TestAttemptsAreFewWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "x") // every attempt reaches the server and fails there
		proxy := faultproxy.Start(t, server.Addr)
		l := run(t, proxy.Addr, []string{"*"}, speak)
		l.awaitEvent(t, "offline", 1)
		began, before := time.Now(), proxy.Opened()
		eventually(t, "some attempts", func() bool { return proxy.Opened() >= before+8 })
		if took := time.Since(began); took < time.Second {
			t.Errorf("8 attempts in %v", took)
		}
		if n := strings.Count(l.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("the same trouble was logged %d times", n)
		}
		if got := l.recorder.log(); !slices.Equal(got, []string{"offline"}) {
			t.Errorf("got %q", got)
		}
	})
}

// TestNothingIsLeftRunning stops links in every state and counts goroutines. It must not run beside other tests.
func TestNothingIsLeftRunning(t *testing.T) {
	server := redistest.Start(t)
	closed := redistest.FreeAddr(t)
	silent, ca := redistest.StartTLS(t)
	proxy := faultproxy.Start(t, silent.Addr)
	proxy.Hold(faultproxy.Both...)
	warm := goLive(t, server.Addr, []string{"*"})
	warm.stop()
	before := runtime.NumGoroutine()
	for range 5 {
		l := goLive(t, server.Addr, []string{"*"})
		l.stop()
		l = run(t, closed, []string{"*"})
		l.awaitEvent(t, "offline", 1)
		l.stop()
		dials := proxy.Opened()
		l = run(t, proxy.Addr, []string{"*"}, secure(t, proxy.Addr, ca))
		eventually(t, "a dial", func() bool { return proxy.Opened() > dials })
		began := time.Now()
		l.stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("stopping a link in its TLS handshake took %v", took)
		}
	}
	proxy.Reset()
	eventually(t, "the proxy to be idle", func() bool { return proxy.Open() == 0 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestRunTwice(t *testing.T) {
	server := redistest.Start(t)
	l := goLive(t, server.Addr, []string{"*"})
	if err := l.Run(t.Context()); err == nil {
		t.Error("a second Run is accepted")
	}
}

func TestTheZeroConfigurationWorks(t *testing.T) {
	server := redistest.Start(t)
	recorder := newRecorder()
	l, err := source.New(source.Config{
		Server:   source.Server{Address: server.Addr},
		Patterns: access.Patterns{access.MustPattern("*")},
	}, recorder)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	recorder.awaitEvent(t, "online", 1)
	server.CLI("PUBLISH", "chat", "hello")
	recorder.awaitEvent(t, "chat=hello", 1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
