package source

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/stats"
)

// TestBackoff checks the bounds of the delay, and the reset.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g backoff
		if g.active() {
			t.Fatal("active before the first failure")
		}
		longest := time.Duration(0)
		for i := range 2000 {
			g.fail()
			ceiling := min(maxBackoff, minBackoff<<min(i, 10))
			delay := time.Until(g.until)
			if delay < 0 || delay >= ceiling {
				t.Fatalf("failure %d: %v, the ceiling is %v", i, delay, ceiling)
			}
			longest = max(longest, delay)
			began := time.Now()
			g.wait(t.Context())
			if g.active() || time.Since(began) < delay {
				t.Fatal("the wait was too short, or the backoff is still active")
			}
		}
		if longest < maxBackoff*9/10 {
			t.Errorf("in 2000 failures the longest delay was %v: no full jitter", longest)
		}
		g.reset()
		g.fail()
		if delay := time.Until(g.until); delay >= minBackoff {
			t.Errorf("%v after a reset", delay)
		}
	})
}

// TestOnlyLongEpochResetsBackoff prevents dialling without a pause if a server
// accepts each connection and closes it at once.
func TestOnlyLongEpochResetsBackoff(t *testing.T) {
	for lasted, want := range map[time.Duration]int{time.Second: 7, steadyEpoch + time.Second: 0} {
		l := testLink(t, new(discardSink))
		l.backoff.failures = 7
		l.beginEpoch(newPubsubConn(new(scriptedConn), l), false)
		l.epochBegan = time.Now().Add(-lasted)
		l.endEpoch(new(pubsubConn), stats.CauseError, io.EOF)
		if got := l.backoff.failures; got != want {
			t.Errorf("after an epoch of %v there are %d failures, want %d", lasted, got, want)
		}
	}
}

// TestDialRefusesDuringBackoff prevents go-redis from dialling in a tight loop
// inside Receive.
func TestDialRefusesDuringBackoff(t *testing.T) {
	l := testLink(t, new(discardSink))
	l.backoff.until = time.Now().Add(time.Hour)
	began := time.Now()
	_, err := l.dial(t.Context(), t.Context(), "tcp", "192.0.2.1:1")
	if !errors.Is(err, errBackoff) || time.Since(began) > time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
