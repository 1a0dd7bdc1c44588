package source

import (
	"context"
	"fmt"
	"time"

	"sidecast/relay/stats"
)

// The watchdog sends a PING when the connection has been silent for pingAfter,
// and closes the connection when it has been silent for deadAfter.
const (
	pingAfter        = 3 * time.Second
	deadAfter        = 8 * time.Second
	watchdogInterval = 500 * time.Millisecond
)

var (
	errSilence     = fmt.Errorf("nothing arrived for %v, not even an answer to PING", deadAfter)
	errUnconfirmed = fmt.Errorf("the subscriptions were not confirmed within %v", deadAfter)
)

// runWatchdog closes the link's connection when it is silent for too long. It
// uses only the connection, never go-redis, which holds a lock while it dials.
// It returns when ctx ends.
func runWatchdog(ctx context.Context, l *Link) {
	every(ctx, watchdogInterval, func() bool {
		if c := l.current(); c != nil {
			c.watchdog.check(c, c.age())
		}
		return true
	})
}

// A watchdog measures how long a connection has been silent. Its times are
// those of [pubsubConn.age].
type watchdog struct {
	lastCheck    int64
	excusedUntil int64 // silence before this time is not counted
	lastPing     int64 // when the watchdog last sent a PING
}

// check sends a PING or cuts the connection if it has been silent for too long
// at the time now.
func (w *watchdog) check(c *pubsubConn, now int64) {
	if now-w.lastCheck > int64(4*watchdogInterval) {
		w.excusedUntil = now // the process was suspended, and has yet to read what arrived in that time
	}
	w.lastCheck = now
	subscribed, waiting := c.subscribedAt.Load(), c.waitingSince.Load()
	if subscribed == 0 { // the deadlines of the handshake cover this
		return
	}
	if !c.epochRunning.Load() {
		if now-max(subscribed, w.excusedUntil) >= int64(deadAfter) {
			c.cut(stats.CauseError, errUnconfirmed)
		}
		return
	}
	if waiting == 0 { // the sink is busy, so the relay itself does not read
		return
	}
	since := max(c.lastRead.Load(), waiting, w.excusedUntil)
	switch silence := time.Duration(now - since); {
	case silence >= deadAfter:
		c.cut(stats.CauseSilence, errSilence)
	case silence >= pingAfter && now-w.lastPing >= int64(pingAfter):
		w.lastPing = now
		_, _ = c.ping() // if it fails, the connection is ending
	}
}
