package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// DefaultMaxPayload is the largest payload taken from Redis where the configuration names none.
const DefaultMaxPayload = 1 << 20

// Sink takes what the link hears. All methods are called by one goroutine, the link's, in the order of the wire. While
// one runs nothing is read from Redis, so none may wait for a client.
type Sink interface {
	// Publish hands over one message. The slices are valid during the call only, and must not be changed. channel is
	// without the channel prefix, valid and not reserved.
	Publish(channel, payload []byte)
	// Oversize says that a message beyond the payload limit was dropped here. channel is as for Publish.
	Oversize(channel []byte)
	// Flush says that everything that one read brought was handed over; the link is about to wait.
	Flush()
	// Marker hands over the id of a marker, anybody's, in its place among the messages. The slice has 8 bytes and is
	// valid during the call only.
	Marker(id []byte)
	// Offline says that the epoch is over. It is called once per epoch that had begun, and once at the start if the
	// first attempt to reach Redis fails. What was heard before has been flushed.
	Offline()
	// Online says that a new epoch began: everything that is published from now on is heard, until Offline. node tells
	// the Redis server from others: what two relays hear from one node comes in one order. Where the server does not tell
	// who it is, node is random and another one each time.
	Online(node uint32)
}

// Config is what a link needs. It must not be changed after New.
type Config struct {
	Server     Server          // where Redis is
	Connect    Connect         // makes the clients; nil means redis.NewUniversalClient
	Names      access.Names    // prefixes
	Patterns   access.Patterns // what to hear, in configuration order; at least one
	Durable    access.Patterns // those of Patterns whose channels are streams; they come first among them
	MaxPayload int             // bytes; 0 means DefaultMaxPayload
	MarkersOff bool            // neither hear nor publish markers
	Embedded   bool            // the server is our own in-memory one: no warnings about what it lacks
	Stats      *stats.Stats    // nil counts nothing
	Logger     *slog.Logger    // nil means slog.Default

	StreamLength int // to how many entries, about, a stream is trimmed when a client adds one; 0: not at all
}

// Connect makes a go-redis client. It is called twice: for the client that subscribes, which is one for a single node, and
// for the one for commands, which is one for a cluster where the options say so. They carry a Dialer, which does TLS and
// finds the master where Sentinels know it, and for the first client an OnConnect; both must be kept, and so must the ban
// on retries.
type Connect func(*redis.UniversalOptions) redis.UniversalClient

// A Link is the way from Redis to one relay. Make it with [New], then call Run once; Ready, Up, Publish and CatchUp may
// be called concurrently at any time.
type Link struct {
	// Static after New.
	cfg      Config
	log      *slog.Logger
	stats    *stats.Stats
	sink     Sink
	nudged   Nudged // the sink, where there are durable channels; else nil
	filter   *filter
	wanted   []string // patterns as Redis knows them, each once
	marker   string   // the service channel; empty if markers are off
	client   redis.UniversalClient
	commands redis.UniversalClient
	probe    *probe

	// Owned by the link's goroutine, which is Run's.
	gate    gate
	trouble trouble
	began   time.Time // when this epoch began
	lost    time.Time // when the last one ended, or the link was started
	told    bool      // Offline or Online was called at least once

	// For any goroutine.
	started atomic.Bool
	up      atomic.Bool
	ready   atomic.Bool
	warned  warnings
	barrier barrier
	escort  escort

	// Guarded by mu.
	mu      sync.Mutex
	tap     *tap // the conn last dialled for the link
	stopped bool // no conn may be added any more
}

// New makes a link that hears nothing until Run. It refuses a configuration without patterns.
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
	if cfg.MaxPayload < 0 || cfg.MaxPayload > maxBulk {
		return nil, errors.New("the payload limit is out of range")
	}
	if cfg.Stats == nil {
		cfg.Stats = new(stats.Stats)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Connect == nil {
		cfg.Connect = redis.NewUniversalClient
	}
	quiet()
	l := &Link{cfg: cfg, log: cfg.Logger, stats: cfg.Stats, sink: sink}
	l.filter = newFilter(cfg.Names, cfg.Patterns, cfg.Stats, !cfg.MarkersOff)
	if err := l.nudge(sink); err != nil {
		return nil, err
	}
	l.filter.single = cfg.Embedded // where Redis sends one copy for each pattern, miniredis picks a pattern
	l.wanted = subscriptions(cfg.Names, cfg.Patterns)
	if !cfg.MarkersOff {
		l.marker = cfg.Names.Marker()
	}
	l.probe = newProbe(l)
	return l, nil
}

// Ready reports whether every pattern was confirmed at least once since the start. Once true it stays true.
func (l *Link) Ready() bool { return l.ready.Load() }

// Up reports whether an epoch is running: messages published now are heard.
func (l *Link) Up() bool { return l.up.Load() }

// Run keeps the link up until ctx ends, and returns nil when everything that it started has stopped. A Redis that is
// away is no error. Run may be called once.
func (l *Link) Run(ctx context.Context) error {
	if l.started.Swap(true) {
		return errors.New("the link was already run")
	}
	l.client = l.cfg.Connect(l.linkOptions(ctx))
	l.commands = l.cfg.Connect(l.commandOptions())
	l.lost = time.Now()
	var helpers sync.WaitGroup
	helpers.Go(func() {
		<-ctx.Done()
		l.stop()
	})
	helpers.Go(func() { l.watch(ctx) })
	helpers.Go(func() { l.probe.watch(ctx) })
	helpers.Go(func() { l.watchServer(ctx) })
	helpers.Go(func() { l.hearEvents(ctx) })
	helpers.Go(func() { l.tryStreams(ctx) })
	l.listen(ctx) // until ctx ends
	helpers.Wait()
	err := errors.Join(l.client.Close(), l.commands.Close())
	if err != nil {
		l.log.Debug("closing the Redis clients", "err", err)
	}
	return nil
}

// listen is the link's goroutine: it alone dials for the link, reads from it and calls the sink.
//
// Receive returns for every reply that the tap leaves to go-redis, which are few: the tap has judged them all on their
// way. An error means that the conn is gone or was never made, and go-redis may have tried to dial again already, with
// the gate closed. The context carries no deadline and is never cancelled, or go-redis would set a read deadline that
// can fire inside a reply; it is the dialler and the tap that end when ctx does.
func (l *Link) listen(ctx context.Context) {
	call := context.WithValue(context.WithoutCancel(ctx), linkKey{}, true)
	sub := l.client.Subscribe(call)
	defer sub.Close()
	// go-redis keeps the names even when this fails, and subscribes to them on every new conn.
	var err error
	if l.marker != "" {
		err = sub.Subscribe(call, l.marker)
	}
	if again := sub.PSubscribe(call, l.wanted...); err == nil {
		err = again
	}
	if err != nil && ctx.Err() == nil {
		l.failed(err)
		l.gate.wait(ctx)
	}
	for ctx.Err() == nil {
		reply, err := receive(call, sub)
		switch {
		case errors.Is(err, errPanic):
			l.cut(stats.CauseError, err)
		case ctx.Err() != nil:
		case err != nil:
			l.failed(err)
			l.gate.wait(ctx)
		default:
			if m, ok := reply.(*redis.Message); ok { // the tap takes them all
				l.cut(stats.CauseError, errUntapped(m.Channel))
			}
		}
	}
}

// errPanic says that go-redis panicked, as it does on replies of a shape that Redis never sends.
var errPanic = errors.New("go-redis cannot read a reply")

// receive is Receive without its panics.
func receive(ctx context.Context, sub *redis.PubSub) (reply any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	return sub.Receive(ctx)
}

// linkKey marks the context of calls made for the link, so that the dialler knows which conns to tap.
type linkKey struct{}

// online begins an epoch on the conn, in which markers are heard or not. Called by the tap on the link's goroutine.
func (l *Link) online(t *tap, markers bool) {
	l.began = time.Now()
	l.told = true
	l.up.Store(true) // first, so that whoever hears of Online may publish
	l.stats.RedisUp.Store(true)
	l.barrier.begin(t)
	l.sink.Online(t.node)
	l.ready.Store(true) // last, so that whoever waited for it finds Redis there
	l.trouble = trouble{}
	l.log.Info("redis link is live", "addr", t.place(), "patterns", len(l.wanted),
		"took", time.Since(l.lost).Round(time.Millisecond))
	l.probe.begin(markers)
}

// offline ends the epoch. Called by the tap on the link's goroutine.
func (l *Link) offline(cause stats.Cause, err error) {
	l.lost = time.Now()
	l.up.Store(false)
	l.stats.RedisUp.Store(false)
	l.stats.RedisEpochs[cause].Add(1)
	l.probe.end()
	l.sink.Offline()
	l.barrier.end() // now that the sink knows
	if cause == stats.CauseShutdown {
		return
	}
	if l.lost.Sub(l.began) >= steadyEpoch {
		l.gate.reset()
	}
	l.log.Warn("redis link is lost: messages published until it is live again do not reach clients, who are told",
		"cause", stats.Causes[cause], "err", l.cfg.Server.redact(err), "after", l.lost.Sub(l.began).Round(time.Millisecond))
}

// failed handles an error of Receive: an attempt that did not become an epoch, mostly. The end of an epoch was handled
// when the tap found it.
func (l *Link) failed(err error) {
	if t := l.current(); t != nil && t.ended == nil && t.subscribing.Load() != 0 {
		t.cut(stats.CauseError, err) // the conn lives, with a reply on it that go-redis cannot read
		return
	}
	if !l.told {
		l.told = true
		l.sink.Offline()
	}
	if errors.Is(err, errGated) {
		return
	}
	if lost, ok := errors.AsType[*lossError](err); ok && lost.epoch {
		return
	}
	l.report(err)
}

// cut ends the conn that is the link now, whatever it is doing; its reader then finds out. The first cause counts.
func (l *Link) cut(cause stats.Cause, err error) {
	l.mu.Lock()
	t := l.tap
	l.mu.Unlock()
	if t != nil {
		t.cut(cause, err)
	}
}

// stop cuts the link for good.
func (l *Link) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.cut(stats.CauseShutdown, context.Canceled)
}

// adopt makes t the link's conn, unless the link is stopping.
func (l *Link) adopt(t *tap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return net.ErrClosed
	}
	l.tap = t
	return nil
}

// Back-off between attempts: full jitter below a ceiling that doubles from minBackoff to maxBackoff, and starts over
// after an epoch that lasted.
const (
	minBackoff  = 100 * time.Millisecond
	maxBackoff  = 2 * time.Second
	steadyEpoch = 5 * time.Second
)

// errGated is what the dialler says while the gate is closed.
var errGated = errors.New("too early to dial again")

// A gate says when the next attempt may begin. It belongs to the link's goroutine.
type gate struct {
	failures int
	opens    time.Time
}

// fail closes the gate for a while.
func (g *gate) fail() {
	ceiling := min(maxBackoff, minBackoff<<min(g.failures, 10))
	g.failures++
	g.opens = time.Now().Add(rand.N(ceiling))
}

// reset forgets the failures so far.
func (g *gate) reset() { g.failures = 0 }

// closed reports whether it is too early.
func (g *gate) closed() bool { return time.Now().Before(g.opens) }

// wait returns when the gate is open or ctx ends.
func (g *gate) wait(ctx context.Context) {
	timer := time.NewTimer(time.Until(g.opens))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
