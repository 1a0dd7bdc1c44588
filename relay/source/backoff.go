package source

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// The delay between attempts has full jitter: it is random, below a ceiling
// that doubles from minBackoff to maxBackoff. The ceiling is reset after an
// epoch that lasted for steadyEpoch.
const (
	minBackoff  = 100 * time.Millisecond
	maxBackoff  = 2 * time.Second
	steadyEpoch = 5 * time.Second
)

// errBackoff is returned by the dialer while the delay lasts.
var errBackoff = errors.New("too early to dial again")

// A backoff computes when the next attempt to connect may begin. It belongs to
// the link's goroutine.
type backoff struct {
	failures int
	until    time.Time
}

// fail starts a delay after a failed attempt or a lost connection.
func (b *backoff) fail() {
	ceiling := min(maxBackoff, minBackoff<<min(b.failures, 10))
	b.failures++
	b.until = time.Now().Add(rand.N(ceiling))
}

// reset forgets the failures so far.
func (b *backoff) reset() { b.failures = 0 }

// active reports whether it is too early for an attempt.
func (b *backoff) active() bool { return time.Now().Before(b.until) }

// wait returns when the delay is over or ctx ends.
func (b *backoff) wait(ctx context.Context) { sleep(ctx, time.Until(b.until)) }
