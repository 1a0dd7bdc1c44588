package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/source/resp"
	"sidecast/relay/stats"
)

// A Link connects one relay to Redis. Create it with [New], then call Run once.
// Ready, Up, Publish, CatchUp and Streams may be called concurrently at any
// time.
type Link struct {
	// Constant after New, except for the clients, which Run makes.
	cfg           Config
	log           *slog.Logger
	stats         *stats.Stats
	sink          Sink
	nudgeSink     Nudged // the sink if there are durable channels, otherwise nil
	filter        *filter
	redisPatterns []string // patterns with the prefix, each once
	markerChannel string   // empty if markers are off
	subscriber    redis.UniversalClient
	commands      redis.UniversalClient
	probe         *probe
	deposed       *deposedMasters

	// Owned by the link's goroutine, which is the one that calls Run.
	backoff      backoff
	epochBegan   time.Time
	epochEnded   time.Time // or when the link was started
	sinkNotified bool      // Offline or Online was called at least once
	lastMaster   string    // where the last epoch was, if that server may still be a master; used with Sentinels

	// For any goroutine.
	started      atomic.Bool
	up           atomic.Bool
	ready        atomic.Bool
	reporter     errorReporter
	barrier      barrier
	commandConns commandConns

	// Guarded by mu.
	mu      sync.Mutex
	conn    *pubsubConn // the connection that was last dialled for the link
	stopped bool        // new connections are rejected
}

// New returns a link that connects when Run is called. It rejects a
// configuration without patterns.
func New(cfg Config, sink Sink) (*Link, error) {
	if len(cfg.Patterns) == 0 {
		return nil, errors.New("there are no patterns to subscribe to")
	}
	if err := cfg.Server.validate(); err != nil {
		return nil, err
	}
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = DefaultMaxPayload
	}
	if cfg.MaxPayload < 0 || cfg.MaxPayload > resp.MaxBulk {
		return nil, errors.New("the payload limit is out of range")
	}
	if cfg.Stats == nil {
		cfg.Stats = new(stats.Stats)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Connect == nil {
		cfg.Connect = newClient
	}
	silenceGoRedis()
	l := &Link{cfg: cfg, log: cfg.Logger, stats: cfg.Stats, sink: sink}
	l.reporter.link = l
	l.filter = newFilter(cfg.Names, cfg.Patterns, cfg.Stats, !cfg.MarkersOff)
	l.filter.dropped = cfg.Dropped
	if len(cfg.Durable) > 0 {
		var ok bool
		if l.nudgeSink, ok = sink.(Nudged); !ok {
			return nil, errors.New("the sink does not support durable channels")
		}
		l.filter.durable = cfg.Durable
	}
	l.filter.singleCopy = cfg.Embedded // Redis sends a copy for each pattern that matches, miniredis sends only one
	for _, name := range l.serviceChannels() {
		l.filter.services = append(l.filter.services, name)
		l.filter.longestName = max(l.filter.longestName, len(name))
	}
	l.redisPatterns = subscriptions(cfg.Names, cfg.Patterns)
	if !cfg.MarkersOff {
		l.markerChannel = cfg.Names.Marker()
	}
	l.probe = newProbe(l)
	l.deposed = newDeposedMasters(l)
	return l, nil
}

// Ready reports whether every pattern was confirmed at least once since the
// start. After it has returned true it never returns false.
func (l *Link) Ready() bool { return l.ready.Load() }

// Up reports whether an epoch is running: messages that are published now are
// received.
func (l *Link) Up() bool { return l.up.Load() }

// Run keeps the link connected until ctx ends. It returns nil when everything
// that it started has stopped. Losing Redis is not an error. Run may be called
// once.
func (l *Link) Run(ctx context.Context) error {
	if l.started.Swap(true) {
		return errors.New("the link was already run")
	}
	l.subscriber = l.cfg.Connect(l.subscriberOptions(ctx))
	l.commands = l.cfg.Connect(l.commandOptions())
	l.epochEnded = time.Now()
	var helpers sync.WaitGroup
	helpers.Go(func() {
		<-ctx.Done()
		l.stop()
	})
	helpers.Go(func() { runWatchdog(ctx, l) })
	helpers.Go(func() { l.probe.run(ctx) })
	helpers.Go(func() { (&topologyWatcher{link: l}).run(ctx) })
	helpers.Go(func() { l.deposed.run(ctx) })
	helpers.Go(func() { listenForEvents(ctx, l) })
	helpers.Go(func() { checkStreamRights(ctx, l) })
	l.listen(ctx) // until ctx ends
	helpers.Wait()
	err := errors.Join(l.subscriber.Close(), l.commands.Close())
	if err != nil {
		l.log.Debug("closing the redis clients failed", "err", l.cfg.Server.Redact(err))
	}
	return nil
}

// listen runs on the link's goroutine, which is the only one that dials for the
// link, reads from it and calls the sink.
//
// Receive returns the few replies that the connection leaves to go-redis, all
// of which the connection has already checked. An error means that the
// connection has ended or could not be made; go-redis may already have tried to
// dial again, which the backoff prevented. The context has no deadline and is
// never cancelled, because go-redis would set a read deadline, which can expire
// inside a reply. When ctx ends, the dialer and the connection end.
func (l *Link) listen(ctx context.Context) {
	call := context.WithValue(context.WithoutCancel(ctx), linkKey{}, true)
	sub := l.subscriber.Subscribe(call)
	defer sub.Close()
	// go-redis remembers the names even if this fails, and subscribes to them
	// on every new connection.
	var err error
	if l.markerChannel != "" {
		err = sub.Subscribe(call, l.markerChannel)
	}
	if patternErr := sub.PSubscribe(call, l.redisPatterns...); err == nil {
		err = patternErr
	}
	if err != nil && ctx.Err() == nil {
		l.handleFailure(err)
		l.backoff.wait(ctx)
	}
	for ctx.Err() == nil {
		reply, err := receive(call, sub)
		switch {
		case errors.Is(err, errPanic):
			l.cut(stats.CauseError, err)
		case ctx.Err() != nil:
		case err != nil:
			l.handleFailure(err)
			l.backoff.wait(ctx)
		default:
			if m, ok := reply.(*redis.Message); ok { // the connection should have handled it
				l.cut(stats.CauseError, errBypassed(m.Channel))
			}
		}
	}
}

// errPanic reports that go-redis panicked, as it does on replies in a form that
// Redis never sends.
var errPanic = errors.New("go-redis cannot read a reply")

// receive calls Receive and turns a panic into an error.
func receive(ctx context.Context, sub *redis.PubSub) (reply any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	return sub.Receive(ctx)
}

// linkKey marks the context of the link's own calls, so that the dialer makes a
// pubsubConn for them.
type linkKey struct{}

// beginEpoch begins an epoch on the connection. markers reports whether the
// link receives markers in it. Called by the connection on the link's
// goroutine.
func (l *Link) beginEpoch(c *pubsubConn, markers bool) {
	l.epochBegan = time.Now()
	l.sinkNotified = true
	l.up.Store(true) // before Online, because the sink may publish when it is notified
	l.stats.RedisUp.Store(true)
	l.barrier.begin(c)
	l.notifyOnline(c)
	l.sink.Online(c.node)
	l.ready.Store(true) // after Online, because callers that wait for Ready expect that the sink is online
	l.reporter.connected()
	l.log.Info("redis connected", "addr", c.displayAddr(), "patterns", len(l.redisPatterns),
		"took", time.Since(l.epochEnded).Round(time.Millisecond))
	l.probe.begin(markers)
}

// endEpoch ends the epoch. Called by the connection on the link's goroutine.
func (l *Link) endEpoch(c *pubsubConn, cause stats.Cause, err error) {
	l.epochEnded = time.Now()
	if l.lastMaster = c.addr; errors.Is(err, errReplica) {
		l.lastMaster = "" // it accepts no more messages, so the gap of the next epoch covers all
	}
	l.up.Store(false)
	l.stats.RedisUp.Store(false)
	l.stats.RedisEpochs[cause].Add(1)
	l.probe.end()
	l.sink.Offline()
	l.notifyOffline()
	l.barrier.end() // after the sink was notified, as CatchUp promises
	if cause == stats.CauseShutdown {
		return
	}
	lasted := l.epochEnded.Sub(l.epochBegan)
	if lasted >= steadyEpoch {
		l.backoff.reset()
	}
	l.log.Warn("redis connection lost; messages published until it is back are lost and clients get a gap",
		"cause", stats.Causes[cause], "err", l.cfg.Server.Redact(err), "after", lasted.Round(time.Millisecond))
}

// handleFailure handles an error of Receive, which is usually an attempt that
// did not become an epoch. The end of an epoch was handled when the connection
// found it.
func (l *Link) handleFailure(err error) {
	if c := l.current(); c != nil && c.endErr == nil && c.subscribedAt.Load() != 0 {
		c.cut(stats.CauseError, err) // the connection is open, but go-redis cannot read a reply on it
		return
	}
	if !l.sinkNotified {
		l.sinkNotified = true
		l.sink.Offline()
	}
	if errors.Is(err, errBackoff) {
		return
	}
	if loss, ok := errors.AsType[*lossError](err); ok && loss.epoch {
		return
	}
	l.reporter.connectFailed(err)
}

// current returns the connection that was last dialled for the link, which may
// have ended, or nil.
func (l *Link) current() *pubsubConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// cut ends the link's current connection in whatever state it is. Only the
// first cause counts.
func (l *Link) cut(cause stats.Cause, err error) {
	if c := l.current(); c != nil {
		c.cut(cause, err)
	}
}

// stop ends the link permanently.
func (l *Link) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.cut(stats.CauseShutdown, context.Canceled)
}

func (l *Link) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// setConn makes c the link's connection, unless the link is stopping.
func (l *Link) setConn(c *pubsubConn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return net.ErrClosed
	}
	l.conn = c
	return nil
}
