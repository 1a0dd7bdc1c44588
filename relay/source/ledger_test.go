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

// A ledger holds what was published and answered, by channel, as numbers that rise by one. Every number is sent once,
// whatever became of it.
type ledger struct {
	mu    sync.Mutex
	acked map[string][]int
	work  sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
}

// ledgerPace lies between two messages of a publisher.
const ledgerPace = 2 * time.Millisecond

func newLedger(t testing.TB) *ledger {
	l := &ledger{acked: make(map[string][]int)}
	l.ctx, l.stop = context.WithCancel(t.Context())
	t.Cleanup(l.end)
	return l
}

// publish publishes to the channel until end, by whatever client next gives for each message.
func (l *ledger) publish(channel string, next func() redis.UniversalClient) {
	l.work.Go(func() {
		tick := time.NewTicker(ledgerPace)
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

// count returns how many messages were published and answered so far.
func (l *ledger) count(channel string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked[channel])
}

// flows waits until so many more messages were published to each channel.
func (l *ledger) flows(t testing.TB, messages int, channels ...string) {
	t.Helper()
	for _, channel := range channels {
		until := l.count(channel) + messages
		eventually(t, "messages to "+channel, func() bool { return l.count(channel) >= until })
	}
}

func (l *ledger) end() {
	l.stop()
	l.work.Wait()
}

// judge ends the publishers, lets the link hear the rest, and holds what it heard against what was published: in order,
// nothing twice, and a new epoch wherever something is missing that was published and answered since the first epoch.
func (l *ledger) judge(t testing.TB, r *running) (heard, missing int) {
	t.Helper()
	l.end()
	// In a cluster the last ones may still be on the bus, which CatchUp knows nothing of.
	limit := time.Now().Add(lastOnes)
	eventually(t, "the last messages", func() bool { return l.complete(r) || time.Now().After(limit) })
	epochs, seen := 0, make(map[string]place)
	for _, event := range r.recorder.log() {
		channel, number, message := strings.Cut(event, "=")
		if event == "online" {
			epochs++
		}
		if !message {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			continue // somebody else's
		}
		heard++
		last, ok := seen[channel]
		lost := l.between(channel, last.number, n)
		switch {
		case ok && n <= last.number:
			t.Errorf("%s: %d came behind %d", channel, n, last.number)
		case ok && lost > 0 && last.epoch == epochs:
			t.Errorf("%s: %d messages between %d and %d are missing without a gap", channel, lost, last.number, n)
		case ok:
			missing += lost
		}
		seen[channel] = place{n, epochs}
	}
	for channel := range l.acked {
		last, ok := seen[channel]
		if lost := l.between(channel, last.number, 1<<60); !ok || lost > 0 && last.epoch == epochs {
			t.Errorf("%s: the last %d messages are missing without a gap", channel, lost)
		}
	}
	return heard, missing
}

// lastOnes is how long the last messages may take.
const lastOnes = 3 * time.Second

// complete reports whether the last message of each channel was heard.
func (l *ledger) complete(r *running) bool {
	events := r.recorder.log()
	for channel, acked := range l.acked {
		if len(acked) > 0 && count(events, fmt.Sprint(channel, "=", acked[len(acked)-1])) == 0 {
			return false
		}
	}
	return true
}

// place is where a channel was when a message came.
type place struct{ number, epoch int }

// between counts the messages that were answered after one number and before another.
func (l *ledger) between(channel string, after, before int) (n int) {
	for _, number := range l.acked[channel] {
		if number > after && number < before {
			n++
		}
	}
	return n
}

// TestTheLedgerNoticesALoss breaks what the ledger is to notice.
func TestTheLedgerNoticesALoss(t *testing.T) {
	l := &ledger{acked: map[string][]int{"c": {0, 1, 2, 4}}}
	for _, test := range []struct{ after, before, want int }{{0, 1, 0}, {0, 2, 1}, {2, 4, 0}, {0, 4, 2}, {4, 9, 0}} {
		if got := l.between("c", test.after, test.before); got != test.want {
			t.Errorf("between %d and %d: %d, want %d", test.after, test.before, got, test.want)
		}
	}
}

// to always gives the same client, for an address.
func to(t testing.TB, addr string) func() redis.UniversalClient {
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
