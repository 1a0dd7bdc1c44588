package relay

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/pagecache"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// HubConfig configures a [Hub]. It must not be changed after [NewHub].
type HubConfig struct {
	Access    *access.Rules
	Budget    *outbox.Budget
	Protocols []protocol.Protocol // one of each ID
	Stats     *stats.Stats        // nil counts nothing
	Logger    *slog.Logger        // nil discards
	Shards    int                 // 0: one for each processor

	// Publish sends a client's message to Redis and returns how many
	// subscribers Redis counted. It waits for Redis for about a second at most
	// and is called concurrently. If it is nil, clients get `unavailable`.
	Publish func(ctx context.Context, channel string, payload []byte) (receivers int64, err error)

	// Streams returns the store for the streams of durable channels. It is
	// called after NewHub. If it is nil, clients get `unavailable`.
	Streams func() stream.Store

	// Verify returns the identity of a token that a client sent over its
	// connection, with [protocol.CodeOK]; or [protocol.CodeUnauthorized]; or
	// [protocol.CodeUnavailable] if the token cannot be verified now. It is
	// called concurrently. It is nil if there are no tokens.
	Verify func(ctx context.Context, token string) (*access.Identity, protocol.Code)

	// Presence knows the members of channels. If it is nil, channels have no
	// members.
	Presence Presence

	// Reporter gets reports about clients for the application. If it is nil,
	// there are no reports.
	Reporter Reporter

	// Unheard finds the messages that no client receives. If it is nil, the
	// application does not want to know of them.
	Unheard Unheard

	// BlackBox records what happens. It may be nil.
	BlackBox *blackbox.Box

	// Counts knows how many subscriptions each channel has. If it is nil, no
	// client is told.
	Counts Counts

	// Relays returns how many relays, this one included, serve the clients of
	// the application. It is called concurrently. If it is nil, there is one.
	Relays func() int

	// CatchUp waits until the hub has received everything that Redis published
	// before the call. The error says that the link to Redis was lost or
	// replaced before that. It is called concurrently. If it is nil, the hub is
	// always up to date.
	CatchUp func(ctx context.Context) error

	PageCacheBytes int // of pages that clients who resume share; 0: 64 MiB

	HistoryBytes int           // for clients that return; 0 keeps nothing
	HistoryAge   time.Duration // how long messages are kept

	// Last returns how many of the newest messages of a channel a client gets
	// that cannot say so or does not. Nil: zero.
	Last func(channel string) int

	// Envelopes says that messages have the form of [protocol.Envelope]: the
	// session that one names as its socket does not receive it, and what clients
	// publish gets that form.
	Envelopes bool

	// WrapPublished makes what clients publish reach Redis as JSON that says
	// who sent it, instead of the bare payload.
	WrapPublished bool

	MaxChannels  int           // per session
	MaxPayload   int           // bytes of one message that a client publishes
	CommandRate  float64       // commands per second and session
	CommandBurst int           // commands at once
	PingInterval time.Duration // +-10 %
	PongTimeout  time.Duration
}

// A Hub knows which session subscribes to which channel and delivers messages.
// Messages arrive by [Hub.Publish] and [Hub.Flush] from one goroutine, the
// source's; clients join with [Hub.Join], concurrently. The work is split over
// shards: each session belongs to one, and each shard has a goroutine that
// writes to its sessions, so that everything has one order per session.
type Hub struct {
	cfg         HubConfig
	shards      []*shard
	started     time.Time
	seed        maphash.Seed
	nextShard   atomic.Uint32 // shard of the next session
	commandRate commandRate   // of each session
	pusherRate  commandRate   // of each session that speaks the Pusher protocol
	sessions    atomic.Int64  // how many there are

	readers  *stream.Readers // nil if there are no streams
	resumer  *resumer
	messages messagePages

	draining atomic.Uint32 // the close code for new clients; 0 unless the hub drains

	refusals refusalLog

	revoked   revocations
	refreshed refreshes
	users     userIndex
	sockets   socketIndex
	actions   actions

	// flushed is the sequence number of the last item that is on its way to
	// every shard that it concerns.
	flushed atomic.Uint64

	boxFailed bool // the black box does not use its file any more, and that was logged; only the sweep uses it

	ledger
}

const (
	defaultPageCacheBytes = 64 << 20
	// pageCacheAge is how long a page is kept that no client uses.
	pageCacheAge = time.Minute
)

// NewHub returns a hub that is offline until the source calls [Hub.Online]. It
// does nothing before [Hub.Run].
func NewHub(cfg HubConfig) *Hub {
	if cfg.Stats == nil {
		cfg.Stats = new(stats.Stats)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Shards <= 0 {
		cfg.Shards = runtime.GOMAXPROCS(0)
	}
	h := &Hub{
		cfg: cfg, started: time.Now(), seed: maphash.MakeSeed(), revoked: newRevocations(), refreshed: newRefreshes(),
		commandRate: newCommandRate(cfg.CommandRate, cfg.CommandBurst),
		// pusher-js subscribes to each channel with a command of its own, to all
		// of them at once when it connects, and does not repeat one that is refused.
		pusherRate: newCommandRate(cfg.CommandRate, cfg.CommandBurst+cfg.MaxChannels),
		ledger: ledger{
			offline: true, history: history.New[fanout](cfg.HistoryBytes, cfg.HistoryAge),
			streamReaders: make(map[string]*stream.Reader), unheard: cfg.Unheard, box: cfg.BlackBox,
		},
	}
	h.pusherRate.refusals = maxPusherRefusals
	cache := pagecache.New(cmp.Or(cfg.PageCacheBytes, defaultPageCacheBytes), pageCacheAge, h.now)
	if cfg.Streams != nil {
		h.readers = stream.NewReaders(stream.Config{
			Store: sync.OnceValue(cfg.Streams), Cache: cache, Now: h.now, Stats: cfg.Stats, Logger: cfg.Logger,
			Spurious: h.recordSpurious,
		})
	}
	h.actions.done.L = &h.actions.mu
	h.resumer = newResumer(h)
	h.messages = messagePages{cache: cache, index: make(map[messageKey]*messagePage)}
	for i := range cfg.Shards {
		h.shards = append(h.shards, newShard(h, i))
	}
	return h
}

// Run delivers messages and keeps connections alive until ctx ends. Close the
// sessions before: items that are still in the mailboxes then are not
// delivered.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range h.shards {
		wg.Go(func() { s.run(ctx) })
	}
	wg.Go(func() { h.sweep(ctx) })
	wg.Go(func() { h.resumer.run(ctx) })
	if h.readers != nil {
		wg.Go(func() { h.readers.Run(ctx) })
	}
	wg.Wait()
	return nil
}

// now returns the time since the hub was created: a monotonic stamp of 8 bytes.
func (h *Hub) now() int64 { return int64(time.Since(h.started)) }

// hash identifies a payload for [echoes]. It is never 0.
func (h *Hub) hash(payload []byte) uint64 { return maphash.Bytes(h.seed, payload) | 1 }

// Marker receives a marker: a place in the order of all messages that other
// relays know too. id has 8 bytes and is only valid during the call. Only the
// source calls it.
func (h *Hub) Marker(id []byte) {
	h.dispatch()
	h.enter()
	defer h.leave()
	h.history.Seq++
	if h.history.On() {
		h.history.Mark(history.MarkerID(id))
	}
}

// Offline reports that the link to Redis is lost. Every session is notified.
// Only the source calls it.
func (h *Hub) Offline() {
	h.dispatch()
	h.enter()
	h.offline = true
	h.history.Seq++
	h.history.Break()
	it := item{kind: itemOffline, seq: uint64(h.history.Seq)}
	h.cfg.BlackBox.Link(false, it.seq)
	h.leave()
	if h.readers != nil {
		h.readers.Offline()
	}
	h.encodeEvent(&it, protocol.Event{Type: protocol.EventOffline})
	h.enqueueForAll(it)
}

// Online reports that a new link begins; its messages follow. Messages
// published since the last link are lost, so every existing session gets one
// gap, which concerns its live channels: streams are read again. node
// identifies the Redis server. Only the source calls it.
func (h *Hub) Online(node uint32) {
	it := h.breakHistory(node)
	if h.readers != nil {
		h.readers.Online()
	}
	h.resumer.linkUp()
	h.enqueueForAll(it)
}

// Gap reports that messages that were published before may be missing, although
// the link goes on. Every existing session gets one gap, and no client resumes
// from a position before it. Only the source calls it.
func (h *Hub) Gap(node uint32) { h.enqueueForAll(h.breakHistory(node)) }

// breakHistory ends all positions before now, and returns the gap that notifies
// the sessions.
func (h *Hub) breakHistory(node uint32) item {
	h.dispatch()
	h.enter()
	wasOffline := h.offline
	h.offline = false
	h.history.Seq++
	h.history.Begin(node)
	it := item{kind: itemOnline, seq: uint64(h.history.Seq), reason: protocol.GapRedis}
	if wasOffline {
		h.cfg.BlackBox.Link(true, it.seq)
	}
	h.cfg.BlackBox.Gap(blackbox.Gap{Seq: it.seq, Reason: it.reason.String()})
	h.leave()
	h.encodeEvent(&it, protocol.Event{Type: protocol.EventGap, Reason: protocol.GapRedis, Spread: h.spread()})
	return it
}

// state returns whether Redis is unavailable, and the sequence number of the
// last item.
func (h *Hub) state() (offline bool, seq history.Seq) {
	h.enter()
	defer h.leave()
	return h.offline, h.history.Seq
}

// HistoryBytes returns how many bytes of live channels are kept for clients that
// return.
func (h *Hub) HistoryBytes() int64 {
	h.enter()
	defer h.leave()
	return int64(h.history.Bytes())
}

// PageCache returns how many bytes are in the page cache, and how often a page
// was found in it and not found.
func (h *Hub) PageCache() (bytes int64, hits, misses uint64) { return h.messages.cache.Stats() }

// Sessions returns how many sessions there are.
func (h *Hub) Sessions() int { return int(h.sessions.Load()) }

const (
	// spreadPerSession is how many milliseconds each client adds to the time
	// over which all of them load their state again: about 170 loads per second.
	spreadPerSession = 6
	// maxSpread bounds that time, in milliseconds.
	maxSpread = 60_000
)

// spread returns over how many milliseconds clients that missed messages, of
// all relays, are to spread the load on the application.
func (h *Hub) spread() int {
	relays := 1
	if h.cfg.Relays != nil {
		relays = h.cfg.Relays()
	}
	return min(spreadPerSession*h.Sessions()*relays, maxSpread)
}
