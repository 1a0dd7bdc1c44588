package presence

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/roster"
	"sidecast/relay/stats"
)

// A Config configures a [Presence]. It must not be changed after [New].
type Config struct {
	Names access.Names

	// Link returns the link to Redis. It is called after New.
	Link func() Link

	// Notify receives the updates for the clients that watch a channel, in
	// order, apart from those for parts of the clients: they can be older than
	// what clients know. It may wait for the clients' shards, never for a client. If it is
	// nil, nobody watches.
	Notify func(channel string, update roster.Update)

	MaxMembers   int          // in a list of members; 0: roster.MaxMembers
	Joined, Left bool         // write these events to the stream of events
	Stats        *stats.Stats // nil counts nothing
	Logger       *slog.Logger // nil discards

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
	lease   time.Duration // until a member expires that no relay refreshes
	refresh time.Duration // between two refreshes
	grace   time.Duration // until a user without a subscription is no member any more
	settle  time.Duration // how long relays write their members again after Redis has lost its data
	reap    time.Duration // about how often a relay looks for expired members
	retry   time.Duration // after an error
	pace    time.Duration // the shortest time between two passes
	count   time.Duration // between two notices of the number of members of a large channel
	reload  time.Duration // between two loads of a channel that was large
}

var usual = timing{
	lease: 30 * time.Second, refresh: 10 * time.Second, grace: 5 * time.Second, settle: 5 * time.Second,
	reap: 3 * time.Second, retry: time.Second, pace: 50 * time.Millisecond, count: time.Second, reload: 5 * time.Second,
}

// A Presence makes the users of one relay members of their channels, in Redis,
// and knows the members of the channels that its clients watch. Create it with
// [New]. Its methods may be called concurrently, unless their comments say
// otherwise.
type Presence struct {
	cfg   Config
	keys  keys
	relay string // this relay's id
	stats *stats.Stats

	started time.Duration

	inbox   inbox
	wake    chan struct{}   // there is work
	numbers roster.Sequence // of the updates of all channels

	// Guarded by mu.
	mu       sync.Mutex
	channels map[string]*holders
	joins    []*hold // that Redis does not know, or not for certain
	leaves   leaves  // holds that nobody uses
	watched  map[string]*watched
	busy     map[string]*watched // those that are to be loaded, or have too many members
	link     linkState
	seen     int64 // the newest version in a message of this epoch or an earlier one

	worker worker // owned by the goroutine that calls Run
}

type linkState uint8

const (
	linkDown linkState = iota
	linkUp
	linkDeaf // up, but changes are not received
)

// Holders are the users of this relay on one channel. The mu of their Presence
// guards them.
type holders struct {
	name  string
	holds map[string]*hold // by user
	list  []*hold          // the same
}

// New returns a Presence that works when Run is called.
func New(cfg Config) *Presence {
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
	if cfg.Notify == nil {
		cfg.Notify = func(string, roster.Update) {}
	}
	p := &Presence{
		cfg: cfg, keys: newKeys(cfg.Names, cfg.Joined || cfg.Left), relay: rand.Text()[:12], stats: cfg.Stats,
		wake: make(chan struct{}, 1), channels: make(map[string]*holders),
		watched: make(map[string]*watched), busy: make(map[string]*watched),
	}
	p.worker.p, p.started = p, cfg.Now()
	return p
}

// Run does the work until ctx ends. It may be called once.
func (p *Presence) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
			// What arrives together is written together.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(p.cfg.pace):
			}
		case <-timer.C:
		}
		timer.Reset(max(p.worker.pass(ctx)-p.cfg.Now(), p.cfg.pace))
	}
}

// Close lets the users of this relay be members for the grace period only, so
// that they can connect to another relay meanwhile. Call it after Run has
// returned.
func (p *Presence) Close(ctx context.Context) error { return p.worker.release(ctx) }

// wanted returns the events to write.
func (p *Presence) wanted() string {
	var kinds []string
	if p.cfg.Joined {
		kinds = append(kinds, "joined")
	}
	if p.cfg.Left {
		kinds = append(kinds, "left")
	}
	return strings.Join(kinds, " ")
}

// awake makes Run do a pass.
func (p *Presence) awake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
