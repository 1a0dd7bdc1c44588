package source_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A publishLog records which messages Redis answered, by channel. Messages are
// numbers that increase by one. Every number is sent once, whether or not that
// succeeds.
type publishLog struct {
	mu         sync.Mutex
	acked      map[string][]int
	publishers sync.WaitGroup
	stop       context.CancelFunc
	ctx        context.Context
}

// publishInterval is the time between two messages of a publisher.
const publishInterval = 2 * time.Millisecond

func newPublishLog(t testing.TB) *publishLog {
	l := &publishLog{acked: make(map[string][]int)}
	l.ctx, l.stop = context.WithCancel(t.Context())
	t.Cleanup(l.stopPublishers)
	return l
}

// publish publishes to the channel until stopPublishers is called. next returns
// the client for each message.
func (l *publishLog) publish(channel string, next func() redis.UniversalClient) {
	l.publishers.Go(func() {
		tick := time.NewTicker(publishInterval)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.ctx.Done():
				return
			case <-tick.C:
			}
			ctx, cancel := context.WithTimeout(l.ctx, time.Second)
			err := next().Publish(ctx, channel, strconv.Itoa(n)).Err()
			cancel()
			if err == nil {
				l.mu.Lock()
				l.acked[channel] = append(l.acked[channel], n)
				l.mu.Unlock()
			}
		}
	})
}

// count returns how many messages Redis has answered so far.
func (l *publishLog) count(channel string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked[channel])
}

// awaitPublished waits until that many more messages were published to each
// channel.
func (l *publishLog) awaitPublished(t testing.TB, messages int, channels ...string) {
	t.Helper()
	for _, channel := range channels {
		until := l.count(channel) + messages
		eventually(t, "messages to "+channel, func() bool { return l.count(channel) >= until })
	}
}

func (l *publishLog) stopPublishers() {
	l.stop()
	l.publishers.Wait()
}

// verify stops the publishers, waits until the link has received the rest, and
// compares the received messages with the published ones. They must be in order
// and without duplicates, and a new epoch must have begun wherever answered
// messages are missing since the first epoch.
func (l *publishLog) verify(t testing.TB, r *runningLink) (received, missing int) {
	t.Helper()
	l.stopPublishers()
	// In a cluster the last ones may still be on the bus, which CatchUp does
	// not cover.
	limit := time.Now().Add(drainTime)
	eventually(t, "the last messages", func() bool { return l.complete(r) || time.Now().After(limit) })
	epochs, seen := 0, make(map[string]position)
	for _, event := range r.recorder.deliveries() {
		channel, number, message := strings.Cut(event, "=")
		if event == "online" {
			epochs++
		}
		if !message {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			continue // published by another part of the test
		}
		received++
		last, ok := seen[channel]
		lost := l.missingBetween(channel, last.number, n)
		switch {
		case ok && n <= last.number:
			t.Errorf("%s: %d arrived after %d", channel, n, last.number)
		case ok && lost > 0 && last.epoch == epochs:
			t.Errorf("%s: %d messages between %d and %d are missing without a gap", channel, lost, last.number, n)
		case ok:
			missing += lost
		}
		seen[channel] = position{n, epochs}
	}
	for channel := range l.acked {
		last, ok := seen[channel]
		if lost := l.missingBetween(channel, last.number, 1<<60); !ok || lost > 0 && last.epoch == epochs {
			t.Errorf("%s: the last %d messages are missing without a gap", channel, lost)
		}
	}
	return received, missing
}

// drainTime is how long the last messages may take.
const drainTime = 3 * time.Second

// complete reports whether the last message of each channel was received.
func (l *publishLog) complete(r *runningLink) bool {
	events := r.recorder.deliveries()
	for channel, acked := range l.acked {
		if len(acked) > 0 && count(events, fmt.Sprint(channel, "=", acked[len(acked)-1])) == 0 {
			return false
		}
	}
	return true
}

// position is the last message of a channel and its epoch.
type position struct{ number, epoch int }

// missingBetween counts the answered messages after one number and before
// another.
func (l *publishLog) missingBetween(channel string, after, before int) (n int) {
	for _, number := range l.acked[channel] {
		if number > after && number < before {
			n++
		}
	}
	return n
}

// TestPublishLogFindsLoss checks the count of missing messages.
func TestPublishLogFindsLoss(t *testing.T) {
	l := &publishLog{acked: map[string][]int{"c": {0, 1, 2, 4}}}
	for _, test := range []struct{ after, before, want int }{{0, 1, 0}, {0, 2, 1}, {2, 4, 0}, {0, 4, 2}, {4, 9, 0}} {
		if got := l.missingBetween("c", test.after, test.before); got != test.want {
			t.Errorf("between %d and %d: %d, want %d", test.after, test.before, got, test.want)
		}
	}
}

// fixedClient returns a function that always returns the same client for an
// address.
func fixedClient(t testing.TB, addr string) func() redis.UniversalClient {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return func() redis.UniversalClient { return client }
}

func channelNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("chat:", i))
	}
	return names
}
