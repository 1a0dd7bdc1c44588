package events

import (
	"context"
	"crypto/rand"
	"math/big"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/access"
)

// UnheardConfig configures [Unheard].
type UnheardConfig struct {
	Config
	Names    access.Names
	Patterns access.Patterns // of the channels
}

// Unheard reports the messages on some channels to which no client of any relay
// was subscribed.
//
// A relay that has a subscriber holds a lease on the channel in Redis, from the
// first subscriber on until some time after the last. A relay that receives a
// message without a subscriber of its own waits until the leases of all relays
// are in Redis, and then asks whether one of them covers the time of the
// message. All relays do so, and a script elects one of them, which writes the
// event in the same step.
type Unheard struct {
	// These do not change.
	cfg   UnheardConfig
	relay string        // names this relay among the holders of a lease
	spare time.Duration // in addition to judgeAfter, different for each relay
	warn  rate.Sometimes

	changed chan struct{} // has one element if a lease has to be written
	noted   chan struct{} // has one element if there may be a new message

	// Guarded by mu.
	mu       sync.Mutex
	leases   map[string]*lease // by channel
	dirty    []string          // channels whose leases have changed and have to be written
	stale    []string          // channels whose leases have to be written after those
	renewals []renewal         // of all leases, the earliest first
	renewAll int               // so many of renewals must not wait for their time
	queue    []note            // messages without a listener here, oldest first
	bytes    int               // of queue
	epoch    int               // counts the connections to Redis
	began    time.Time         // when the current one began
}

// NewUnheard returns an Unheard that works while [Unheard.Run] runs.
func NewUnheard(cfg UnheardConfig) *Unheard {
	cfg.Config = cfg.complete()
	return &Unheard{
		cfg: cfg, relay: rand.Text(), spare: randomBelow(judgeSpread), warn: rate.Sometimes{First: 1, Interval: time.Minute},
		changed: make(chan struct{}, 1), noted: make(chan struct{}, 1), leases: make(map[string]*lease),
	}
}

func randomBelow(d time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(d)))
	if err != nil {
		return 0
	}
	return time.Duration(n.Int64())
}

// Match reports whether the channel is one of those that are watched.
func (u *Unheard) Match(channel []byte) bool { return u.cfg.Patterns.OwnerBytes(channel) >= 0 }

// Online reports that a connection to Redis begins: all leases have to be
// written again, and other relays may not have written theirs yet.
func (u *Unheard) Online() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.epoch++
	u.began = time.Now()
	u.renewAll = len(u.renewals)
	signal(u.changed)
}

// Run writes leases and judges messages until ctx ends. Then it shortens the
// leases that it still holds.
func (u *Unheard) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { u.writeLeases(ctx) })
	all.Go(func() { u.judge(ctx) })
	all.Wait()
	return nil
}

// signal adds an element to a channel with room for one, unless it has one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
