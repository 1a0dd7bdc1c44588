package counts

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// A Config configures a [Counts]. It must not be changed after [New].
type Config struct {
	Names access.Names

	// Link returns the link to Redis. It is called after New.
	Link func() Link

	// Connections returns how many clients this relay has. If it is nil, they
	// are not counted.
	Connections func() int

	// Notify receives the number of subscriptions of a channel, for those of its
	// clients that are told. It may wait for the clients' shards, never for a
	// client. Only the goroutine that calls Run calls it.
	Notify func(channel string, count int)

	Stats  *stats.Stats // nil counts nothing
	Logger *slog.Logger // nil discards

	Now func() time.Duration // a monotonic clock; nil: that of the system
	timing
}

// A Link is the relay's connection to Redis.
type Link interface {
	// Do runs commands while the relay is connected.
	Do(ctx context.Context, commands func(context.Context, redis.UniversalClient) error) error
}

// timing are the times of the rules. The zero value means the usual ones.
type timing struct {
	gather  time.Duration // from the first change to the pass that writes it
	pace    time.Duration // the shortest time between two passes
	lease   time.Duration // until the numbers of a relay expire that does not refresh them
	refresh time.Duration // between two refreshes
	settle  time.Duration // until the others have written their numbers again after a loss of the connection
	rewrite time.Duration // the same after a loss of data, which each relay notices at its next refresh
	retry   time.Duration // after an error
	small   time.Duration // between two numbers that the clients of a channel are told
	large   time.Duration // the same if it has more than largeCount subscriptions
}

var usual = timing{
	gather: 100 * time.Millisecond, pace: time.Second, lease: 20 * time.Second, refresh: 5 * time.Second,
	settle: 2 * time.Second, rewrite: 6 * time.Second, retry: time.Second, small: time.Second, large: 5 * time.Second,
}

// A Counts writes the numbers of one relay and reads those of the others. Create
// it with [New]. Its methods may be called concurrently, unless their comments
// say otherwise.
type Counts struct {
	cfg   Config
	relay string // this relay's id
	list  string // the sorted set with the ids of all relays; the scores have no meaning
	topic string // the pub/sub channel with the names of changed channels
	stats *stats.Stats

	changes changes
	inbox   inbox
	wake    chan struct{} // there is work

	worker worker // owned by the goroutine that calls Run
}

// New returns a Counts that works when Run is called.
func New(cfg Config) *Counts {
	if cfg.Stats == nil {
		cfg.Stats = new(stats.Stats)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		started := time.Now()
		cfg.Now = func() time.Duration { return time.Since(started) }
	}
	if cfg.timing == (timing{}) {
		cfg.timing = usual
	}
	if cfg.Connections == nil {
		cfg.Connections = func() int { return 0 }
	}
	if cfg.Notify == nil {
		cfg.Notify = func(string, int) {}
	}
	c := &Counts{
		cfg: cfg, relay: rand.Text()[:12], list: cfg.Names.Internal("counts"), topic: cfg.Names.Internal("counts"),
		stats: cfg.Stats, wake: make(chan struct{}, 1),
	}
	c.worker = worker{c: c, channels: make(map[string]*channel), stale: make(map[*channel]struct{}), due: make(map[*channel]struct{})}
	return c
}

// key returns the name of the hash with the numbers of a relay.
func (c *Counts) key(relay string) string { return c.cfg.Names.Internal("counts:" + relay) }

// Run does the work until ctx ends. It may be called once.
func (c *Counts) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := c.cfg.Now() - c.cfg.pace
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			// What changes together is written together.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(max(c.cfg.gather, last+c.cfg.pace-c.cfg.Now())):
			}
		case <-timer.C:
		}
		last = c.cfg.Now()
		next := c.worker.pass(ctx)
		timer.Reset(max(next-c.cfg.Now(), c.cfg.gather))
	}
}

// Close removes the numbers of this relay. Call it after Run has returned.
func (c *Counts) Close(ctx context.Context) error { return c.worker.leave(ctx) }

// awake makes Run do a pass.
func (c *Counts) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
