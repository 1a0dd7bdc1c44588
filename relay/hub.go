package relay

import (
	"context"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// HubConfig is what a [Hub] needs. It must not be changed after [NewHub].
type HubConfig struct {
	Access    *Access
	Budget    *Budget
	Protocols []Protocol // one of each ID
	Stats     *Stats     // nil: counted for nobody
	Logger    *slog.Logger
	Shards    int // 0: one for each processor

	// Publish sends what a client publishes to Redis and returns how many subscribers Redis counted. It waits for Redis for
	// about a second at most. It is called concurrently. Nil answers `unavailable`.
	Publish func(ctx context.Context, channel string, payload []byte) (receivers int64, err error)

	// Verify returns whom a token names that a client sends over its connection: [CodeOK] with an Identity,
	// [CodeUnauthorized], or [CodeUnavailable] where that cannot be found out now. It is called concurrently. Nil where
	// there are no tokens.
	Verify func(ctx context.Context, token string) (*Identity, Code)

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
	next    atomic.Uint32 // shard of the next session

	draining atomic.Uint32 // the code that refuses newcomers; 0 while everybody is welcome

	mu       sync.RWMutex
	channels map[string]*channel
	offline  bool

	// seq numbers everything that comes in. The source's goroutine writes it with mu read-locked.
	seq uint64
}

// NewHub returns a hub that is offline until the source says otherwise. It does nothing before [Hub.Run].
func NewHub(cfg HubConfig) *Hub {
	if cfg.Stats == nil {
		cfg.Stats = new(Stats)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Shards <= 0 {
		cfg.Shards = runtime.GOMAXPROCS(0)
	}
	h := &Hub{cfg: cfg, started: time.Now(), seed: maphash.MakeSeed(), channels: make(map[string]*channel), offline: true}
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
	wg.Wait()
	return nil
}

// now is the time since the hub began: a monotonic stamp of 8 bytes.
func (h *Hub) now() int64 { return int64(time.Since(h.started)) }

// Publish takes in one message. channel and payload are only valid during the call; where nobody listens to channel,
// nothing is copied. The source calls it, and [Hub.Flush] when it has nothing more at once.
func (h *Hub) Publish(name, payload []byte) {
	h.mu.RLock()
	h.seq++
	ch := h.channels[string(name)]
	if ch == nil {
		h.mu.RUnlock()
		return
	}
	it := item{kind: itemMessage, seq: h.seq, channel: ch}
	wanted, echoes := ch.protocols, ch.echoes
	h.mu.RUnlock()

	for id, n := range wanted {
		if n > 0 {
			it.frames[id] = h.cfg.Protocols[id].Message(ch.name, payload)
		}
	}
	if echoes > 0 {
		it.hash = h.hash(payload)
	}
	for i := range h.shards {
		if n := ch.rosters[i].count.Load(); n > 0 {
			h.shards[i].collect(it, int(n))
		}
	}
}

// Oversize takes in that a message on the channel was too large to be relayed: its listeners get a gap in its place.
func (h *Hub) Oversize(name []byte) {
	h.mu.RLock()
	h.seq++
	seq, ch := h.seq, h.channels[string(name)]
	h.mu.RUnlock()
	if ch == nil {
		return
	}
	it := item{kind: itemGap, seq: seq, channel: ch, reason: GapTooLarge}
	h.encode(&it, Event{Type: EventGap, Channel: ch.name, Reason: GapTooLarge})
	for i := range h.shards {
		if n := ch.rosters[i].count.Load(); n > 0 {
			h.shards[i].collect(it, int(n))
		}
	}
}

// Marker takes in a marker. The link uses them to prove that it delivers; the hub has no use for them.
func (h *Hub) Marker([]byte) {}

// Offline takes in that the link to Redis is lost: every session is told.
func (h *Hub) Offline() {
	it := h.forAll(itemOffline, true)
	h.encode(&it, Event{Type: EventOffline})
	h.toAll(it)
}

// Online takes in that a new link begins, whose messages come next: whatever was published since the last one is lost, so
// every session that exists gets one gap. node tells the Redis server from others.
func (h *Hub) Online(node uint32) {
	it := h.forAll(itemOnline, false)
	it.reason = GapRedis
	h.encode(&it, Event{Type: EventGap, Reason: GapRedis})
	h.toAll(it)
}

func (h *Hub) forAll(kind itemKind, offline bool) item {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	h.offline = offline
	return item{kind: kind, seq: h.seq}
}

// encode fills in the frame of every protocol.
func (h *Hub) encode(it *item, event Event) {
	for _, p := range h.cfg.Protocols {
		it.frames[p.ID()] = p.Event(event)
	}
}

func (h *Hub) toAll(it item) {
	for _, s := range h.shards {
		s.collect(it, inlineDeliveries) // never inline: the source does not write to all sessions itself
	}
	h.Flush()
}

// Flush hands out everything that was published since the last Flush. The source calls it when it has to wait for more.
// It waits only where a shard's mailbox is full, and never for a client.
func (h *Hub) Flush() {
	for _, s := range h.shards {
		s.flush()
	}
}

func (h *Hub) hash(payload []byte) uint64 { return maphash.Bytes(h.seed, payload) | 1 }

// subscribe makes sub known to the fan-out. The frame goes out in the same step, before any message of the channel.
func (h *Hub) subscribe(s *Session, name string, echo bool, answer []byte) *Subscription {
	h.mu.Lock()
	ch := h.channels[name]
	if ch == nil {
		ch = &channel{name: name, rosters: make([]roster, len(h.shards))}
		h.channels[name] = ch
		h.cfg.Stats.Channels.Add(1)
	}
	ch.refs++
	ch.protocols[s.protocol.ID()]++
	if !echo {
		ch.echoes++
	}
	roster := &ch.rosters[s.shard.index]
	roster.count.Add(1)
	sub := &Subscription{session: s, channel: ch, start: h.seq, silent: !echo}
	h.mu.Unlock()

	s.shard.mu.Lock()
	if answer != nil {
		s.outbox.Send(answer)
	}
	roster.join(sub)
	s.shard.mu.Unlock()
	h.cfg.Stats.Subscriptions.Add(1)
	return sub
}

// unsubscribe takes sub away from the fan-out. Nothing of its channel follows answer.
func (h *Hub) unsubscribe(sub *Subscription, answer []byte) {
	s, ch := sub.session, sub.channel
	roster := &ch.rosters[s.shard.index]
	s.shard.mu.Lock()
	roster.leave(sub)
	if answer != nil {
		s.outbox.Send(answer)
	}
	s.shard.mu.Unlock()

	h.mu.Lock()
	defer h.mu.Unlock()
	roster.count.Add(-1)
	ch.protocols[s.protocol.ID()]--
	if sub.silent {
		ch.echoes--
	}
	if ch.refs--; ch.refs == 0 {
		delete(h.channels, ch.name)
		h.cfg.Stats.Channels.Add(-1)
	}
	h.cfg.Stats.Subscriptions.Add(-1)
}

// quieten makes the messages of sub's channel carry what its session needs to know its own by.
func (h *Hub) quieten(sub *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !sub.silent {
		sub.silent = true
		sub.channel.echoes++
	}
}
