package source_test

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// digest returns a payload, or a short text that stands for a large one in a
// recorder.
func digest[T string | []byte](payload T) string {
	if len(payload) <= 256 {
		return string(payload)
	}
	return fmt.Sprintf("%d/%08x", len(payload), crc32.ChecksumIEEE([]byte(payload)))
}

// TestEveryMessageArrivesAsPublished publishes names of 1 to 8 bytes and
// payloads of all sizes around the edges of the read buffers, in bursts, and
// compares the received messages byte for byte and in order.
func TestEveryMessageArrivesAsPublished(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		const limit = 600 << 10
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, func(c *source.Config) { c.MaxPayload = limit })
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
		l.awaitEvent(t, "end=", 1)
		got := l.recorder.deliveries()
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

// TestOverlappingPatterns makes Redis send each message three times.
func TestOverlappingPatterns(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		patterns := []string{"chat:*", "*:4?", "chat:42", "chat:42"}
		l := startLive(t, server.Addr, patterns, useProtocol, useNames("app[1]:", ""))
		for i := range 3 {
			if got := server.CLI("PUBLISH", "app[1]:chat:42", fmt.Sprint(i)); got != "3" {
				t.Fatalf("Redis sent it %s times", got)
			}
		}
		server.CLI("PUBLISH", "app1:chat:42", "the prefix is not a pattern")
		server.CLI("PUBLISH", "app[1]:user:41", "x")
		l.awaitEvent(t, "user:41=x", 1)
		l.expectEvents(t, "online", "chat:42=0", "chat:42=1", "chat:42=2", "user:41=x")
		if n := l.stats.Dropped[stats.DropOverlap].Load(); n != 6 {
			t.Errorf("%d copies dropped, want 6", n)
		}
	})
}

// TestManyPatterns subscribes with a command that go-redis writes in several
// pieces, on the first connection and on the next.
func TestManyPatterns(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		var patterns []string
		for i := range 300 {
			patterns = append(patterns, fmt.Sprintf("%03d:%s*", i, strings.Repeat("x", 150)))
		}
		l := startLive(t, server.Addr, patterns, useProtocol)
		name := strings.Replace(patterns[299], "*", "y", 1)
		l.expectDelivery(t, server, name)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		l.expectDelivery(t, server, name)
	})
}

func TestReservedNamesAreNotRelayed(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t, "--notify-keyspace-events", "KEA")
		l := startLive(t, server.Addr, []string{"*"}, useProtocol)
		for _, name := range []string{"sidecast:control", "sidecast:mark", "__keyspace@0__:x", "__x"} {
			server.CLI("PUBLISH", name, "x")
		}
		server.CLI("SET", "key", "value") // two keyspace events
		server.CLI("PUBLISH", "control\x01", "x")
		l.expectDelivery(t, server, "chat")
		if got := l.recorder.deliveries(); len(got) != 2 {
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
