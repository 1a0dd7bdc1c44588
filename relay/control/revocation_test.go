package control

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestParseRevocation checks which entries of the sorted set are revocations.
func TestParseRevocation(t *testing.T) {
	for _, test := range []struct {
		why, member string
		score       float64
		want        access.Revocation
		seconds     bool
	}{
		{"a user", "user:42", 1_700_000_000_123, access.Revocation{Subject: user("42"), Ms: 1_700_000_000_123}, false},
		{"an id with a colon", "user:a:b", 1_700_000_000_123, access.Revocation{Subject: user("a:b"), Ms: 1_700_000_000_123}, false},
		{"a session", "session:ABC", 1_700_000_000_123, access.Revocation{Subject: access.Subject{Kind: access.SubjectSession, Name: "ABC"}, Ms: 1_700_000_000_123}, false},
		{"a token", "token:a1", 1_700_000_000_123, access.Revocation{Subject: access.Subject{Kind: access.SubjectToken, Name: "a1"}, Ms: 1_700_000_000_123}, false},
		{"seconds: the whole second", "user:42", 1_700_000_000, access.Revocation{Subject: user("42"), Ms: 1_700_000_000_999}, true},
		{"seconds with a fraction, as microtime(true)", "user:42", 1_700_000_000.5, access.Revocation{Subject: user("42"), Ms: 1_700_000_000_999}, true},
		{"the first score in milliseconds", "user:42", 100_000_000_000, access.Revocation{Subject: user("42"), Ms: 100_000_000_000}, false},
		{"for ever", "user:42", math.Inf(1), access.Revocation{Subject: user("42"), Ms: forever}, false},
		{"never", "user:42", math.Inf(-1), access.Revocation{Subject: user("42"), Ms: -forever}, true},
	} {
		got, seconds, ok := parseRevocation(redis.Z{Member: test.member, Score: test.score})
		if !ok || got != test.want || seconds != test.seconds {
			t.Errorf("%s: %+v, seconds %v, %v", test.why, got, seconds, ok)
		}
	}
	for _, member := range []string{"", "42", "user", "user:", "User:42", "users:42", ":42", " user:42"} {
		if got, _, ok := parseRevocation(redis.Z{Member: member, Score: 1}); ok {
			t.Errorf("%q is understood as %+v", member, got)
		}
	}
}

// TestSpans checks which scores the spans contain.
func TestSpans(t *testing.T) {
	const now = 1_700_000_000_000
	server := redistest.Start(t)
	client := relaytest.NewRedis(server.Addr, time.Minute)
	defer client.Close()
	for _, test := range []struct {
		why   string
		score float64
		since bool // otherwise before
	}{
		{"milliseconds, long ago", now - 1e9, false},
		{"just before", now - 1, false},
		{"at that time", now, true},
		{"later", now + 1, true},
		{"for ever", math.Inf(1), true},
		{"never", math.Inf(-1), false},
		{"zero", 0, false},
		{"seconds, just before", now/1000 - 1, false},
		{"seconds, at that time", now / 1000, true},
		{"seconds, later", now/1000 + 1, true},
		{"the last score in seconds", secondsBelow - 1, true},
	} {
		client.Del(t.Context(), "k")
		client.ZAdd(t.Context(), "k", redis.Z{Member: "m", Score: test.score})
		count := func(spans []span) (n int) {
			for _, s := range spans {
				if err := readSpan(t.Context(), client, "k", s, func(page []redis.Z) { n += len(page) }); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		if n, m, all := count(since(now)), count(before(now)), count(everything); (n == 1) != test.since || n+m != 1 || all != 1 {
			t.Errorf("%s: %d since then, %d before, %d of all", test.why, n, m, all)
		}
	}
	if got := since(5000)[1].from; got != "100000000000" {
		t.Errorf("milliseconds begin at %s", got)
	}
}

// TestReadPages checks that no entry is missing if pages end between entries of
// the same score, and if old entries are deleted meanwhile.
func TestReadPages(t *testing.T) {
	server := redistest.Start(t)
	client := relaytest.NewRedis(server.Addr, time.Minute)
	defer client.Close()
	for _, test := range []struct {
		why    string
		n      int
		scores int  // how many different ones
		trim   bool // delete what was read
	}{
		{"nothing", 0, 1, false},
		{"one page", pageSize - 1, pageSize, false},
		{"exactly one page", pageSize, pageSize, false},
		{"pages of the same score", 2*pageSize + 10, 1, false},
		{"few scores", 3 * pageSize, 4, false},
		{"random scores", 2*pageSize + 1, 1 << 30, false},
		{"deleted while they are read", 3*pageSize + 1, 1 << 30, true},
	} {
		client.Del(t.Context(), "k")
		for n := 0; n < test.n; n += 1000 {
			var entries []redis.Z
			for i := n; i < min(n+1000, test.n); i++ {
				entries = append(entries, redis.Z{Member: fmt.Sprint(i), Score: float64(rand.IntN(test.scores))})
			}
			if err := client.ZAdd(t.Context(), "k", entries...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[any]bool{}
		err := readSpan(t.Context(), client, "k", everything[0], func(page []redis.Z) {
			for _, entry := range page {
				seen[entry.Member] = true
			}
			if test.trim && len(page) > 0 {
				client.ZRemRangeByScore(context.Background(), "k", "-inf", "("+formatScore(page[len(page)-1].Score))
			}
		})
		if err != nil || len(seen) != test.n {
			t.Errorf("%s: %d of %d entries, %v", test.why, len(seen), test.n, err)
		}
	}
}
