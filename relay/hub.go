package relay

import (
	"context"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// HubConfig is what a [Hub] needs. It must not be changed after [NewHub].
type HubConfig struct {
	Access    *access.Rules
	Budget    *outbox.Budget
	Protocols []protocol.Protocol // one of each ID
	Stats     *stats.Stats        // nil: counted for nobody
	Logger    *slog.Logger
	Shards    int // 0: one for each processor

	// Publish sends what a client publishes to Redis and returns how many subscribers Redis counted. It waits for Redis for
	// about a second at most. It is called concurrently. Nil answers `unavailable`.
	Publish func(ctx context.Context, channel string, payload []byte) (receivers int64, err error)

	// Streams reads and writes the streams of durable channels. It is called when there is work for them, later than NewHub.
	// Nil answers `unavailable` for all of them.
	Streams func() stream.Store

	// Verify returns whom a token names that a client sends over its connection: [CodeOK] with an Identity,
	// [CodeUnauthorized], or [CodeUnavailable] where that cannot be found out now. It is called concurrently. Nil where
	// there are no tokens.
	Verify func(ctx context.Context, token string) (*access.Identity, protocol.Code)

	// CatchUp waits until everything that Redis had published before the call was taken in. An error says that the link to
	// Redis is lost, or became another one, meanwhile. It is called concurrently. Nil where that is so at all times.
	CatchUp func(ctx context.Context) error

	HistoryBytes int           // how much is kept for clients that come back; 0 for nothing
	HistoryAge   time.Duration // and for how long

	WrapPublished bool // what clients publish reaches Redis as JSON that says who sent it, not bare

	MaxChannels  int           // per session
	MaxPayload   int           // bytes that a client may publish at once
	CommandRate  float64       // commands a second and session
	CommandBurst int           // commands at once
	PingInterval time.Duration // +-10 %
	PongTimeout  time.Duration
}

// A Hub knows who listens to what and hands messages out. Messages come in by [Hub.Publish] and [Hub.Flush] from one
// goroutine, the source's; clients join with [Hub.Join], concurrently. Its work is split over shards: each session
// belongs to one, and each has a goroutine that writes to its sessions, so that per session everything has one order.
type Hub struct {
	cfg     HubConfig
	shards  []*shard
	started time.Time
	seed    maphash.Seed
	nextShard    atomic.Uint32 // shard of the next session

	readers *stream.Readers // nil where there are no streams

	draining atomic.Uint32 // the code that refuses newcomers; 0 while everybody is welcome

	// flushed is the number of the last thing that came in and is on its way to every shard that it concerns.
	flushed atomic.Uint64

	// mu guards everything below. It may be taken by who holds a shard's mu, and not the other way round.
	mu       sync.Mutex
	history  *history.History[fanout]
	batch batch
	offline  bool
	// streamSeq is the sequence number of the last item on any durable channel.
	streamSeq stream.Seq
	// streamReaders are those of the durable channels that have subscribers, by channel.
	streamReaders map[string]*stream.Reader
	online          chan struct{} // closed when Redis is back; nil while it is there
}

// NewHub returns a hub that is offline until the source says otherwise. It does nothing before [Hub.Run].
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
	h := &Hub{cfg: cfg, started: time.Now(), seed: maphash.MakeSeed(), offline: true, online: make(chan struct{}), streamReaders: make(map[string]*stream.Reader)}
	h.history = history.New[fanout](cfg.HistoryBytes, cfg.HistoryAge)
	if cfg.Streams != nil {
		h.readers = stream.NewReaders(stream.Config{
			Store: sync.OnceValue(cfg.Streams), Now: h.now, Stats: cfg.Stats, Logger: cfg.Logger,
		})
	}
	for i := range cfg.Shards {
		h.shards = append(h.shards, newShard(h, i))
	}
	return h
}

// Run hands messages out and keeps connections alive until ctx ends. Sessions should have been closed before; what is
// still in the mailboxes then is not delivered.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range h.shards {
		wg.Go(func() { s.run(ctx) })
	}
	wg.Go(func() { h.sweep(ctx) })
	if h.readers != nil {
		wg.Go(func() { h.readers.Run(ctx) })
	}
	wg.Wait()
	return nil
}

// now is the time since the hub began: a monotonic stamp of 8 bytes.
func (h *Hub) now() int64 { return int64(time.Since(h.started)) }

// Marker takes in a marker: a place in everything that comes in, which other relays know too. id has 8 bytes and is only
// valid during the call.
func (h *Hub) Marker(id []byte) {
	h.dispatch()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.Seq++
	if h.history.On() {
		h.history.Mark(history.MarkerID(id))
	}
}

// Offline takes in that the link to Redis is lost: every session is told.
func (h *Hub) Offline() {
	h.dispatch()
	h.mu.Lock()
	h.offline = true
	if h.online == nil {
		h.online = make(chan struct{})
	}
	h.history.Seq++
	h.history.Break()
	it := item{kind: itemOffline, seq: h.history.Seq}
	h.mu.Unlock()
	if h.readers != nil {
		h.readers.Offline()
	}
	h.encodeEvent(&it, protocol.Event{Type: protocol.EventOffline})
	h.enqueueForAll(it)
}

// Online takes in that a new link begins, whose messages come next: whatever was published since the last one is lost, so
// every session that exists gets one gap, which is about its live channels: durable ones are read again. node tells the
// Redis server from others.
func (h *Hub) Online(node uint32) {
	h.dispatch()
	h.mu.Lock()
	h.offline = false
	if h.online != nil {
		close(h.online)
		h.online = nil
	}
	h.history.Seq++
	h.history.Begin(node)
	it := item{kind: itemOnline, seq: h.history.Seq, reason: protocol.GapRedis}
	h.mu.Unlock()
	if h.readers != nil {
		h.readers.Online()
	}
	h.encodeEvent(&it, protocol.Event{Type: protocol.EventGap, Reason: protocol.GapRedis})
	h.enqueueForAll(it)
}

// isDurable reports whether a channel is a stream.
func (h *Hub) isDurable(channel string) bool { return h.cfg.Access.Durable.Match(channel) }

// Nudge takes in that somebody published to a durable channel; loaded says that it was not nothing. channel is only valid
// during the call. It may be called concurrently, as Event.
func (h *Hub) Nudge(channel []byte, loaded bool) {
	if d := h.streamReader(channel); d != nil {
		d.Nudge(loaded)
	}
}

// Event takes in that the stream of a durable channel has changed.
func (h *Hub) Event(channel []byte) {
	if d := h.streamReader(channel); d != nil {
		d.Schedule()
	}
}

// durable returns the reader of a channel that has subscribers, or nil.
func (h *Hub) streamReader(channel []byte) *stream.Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streamReaders[string(channel)]
}

// state returns whether Redis is away, and the number of the last thing that came in.
func (h *Hub) state() (offline bool, seq uint64) {
	h.lockSequenced()
	defer h.mu.Unlock()
	return h.offline, h.history.Seq
}

// encode fills in the frame of every protocol.
func (h *Hub) encodeEvent(it *item, event protocol.Event) {
	for _, p := range h.cfg.Protocols {
		it.frames[p.ID()] = p.Event(event)
	}
}

func (h *Hub) enqueueForAll(it item) {
	for _, s := range h.shards {
		s.collect(&it, inlineDeliveries) // never inline: the source does not write to all sessions itself
	}
	h.Flush()
}

// HistoryBytes returns how much is kept for clients that come back.
func (h *Hub) HistoryBytes() int64 {
	h.lockSequenced()
	n := int64(h.history.Bytes())
	h.mu.Unlock()
	if h.readers != nil {
		n += h.readers.Bytes()
	}
	return n
}

// Flush hands out everything that was published since the last Flush. The source calls it when it has to wait for more.
// It waits only where a shard's mailbox is full, and never for a client.
func (h *Hub) Flush() {
	h.dispatch()
	for _, s := range h.shards {
		s.flush()
	}
	h.flushed.Store(h.history.Seq) // all is taken in, and only this goroutine brings more
}

func (h *Hub) hash(payload []byte) uint64 { return maphash.Bytes(h.seed, payload) | 1 }
