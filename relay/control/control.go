package control

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// Sessions are the sessions of the relay. All methods may be called
// concurrently, and wait for no client. Each action returns how many sessions it
// concerns.
type Sessions interface {
	Revoke([]access.Revocation)
	ForgetRevoked(before time.Time)
	Disconnect(access.Subject) int
	Refresh(access.Subject) int
	SubscribeFor(who access.Subject, channel string) (int, protocol.Code)
	UnsubscribeFor(who access.Subject, channel string) int
}

// Commands sends commands to Redis, as [source.Link.Do] does.
type Commands interface {
	Do(context.Context, func(context.Context, redis.UniversalClient) error) error
}

// Config configures a [Control].
type Config struct {
	Names    access.Names
	Sessions Sessions
	// Link returns what sends commands to Redis. It is first called by
	// Run.
	Link       func() Commands
	Login      bool          // clients can log in; otherwise the relay does not read revocations
	RevokedAge time.Duration // how long revocations are kept; 0: for ever
	// Answer reports how many sessions of this relay an action concerned that
	// has an id. It must not wait. It may be nil.
	Answer func(id string, count int)
	Stats  *stats.Stats
	Logger *slog.Logger
}

const (
	readEvery = 30 * time.Second // how often the newest entries are read
	readAgain = time.Second      // after an attempt that failed
	trimEvery = time.Hour        // how often old entries are deleted
	// readAllEvery is how often all entries are read. That finds an entry with
	// an old score.
	readAllEvery = 10 * time.Minute
	// readAllTimeout bounds the time to read all entries in the background.
	readAllTimeout = time.Minute
)

// A Control carries out the application's actions. Create it with [New], give
// its [Control.Service] to the link, and call Run once.
type Control struct {
	cfg   Config
	key   string // of the revocations
	queue queue

	// Logs that an application could repeat without end.
	malformed, seconds, future, entries, unreadable rate.Sometimes

	reached string // the score up to which an attempt to read all revocations came; used by the link's goroutine

	mu     sync.Mutex // guards the fields below
	newest int64      // the highest time of a revocation, in milliseconds, or 0
	readAt time.Time  // when the last read began after which all new entries were known
	allAt  time.Time  // when the last read of all entries began; zero: they must be read
}

// errUnreadable reports that Redis does not let the relay read the revocations.
// That was logged.
var errUnreadable = errors.New("revocations cannot be read")

// New returns a Control that does nothing before its service is used.
func New(cfg Config) *Control {
	return &Control{
		cfg: cfg, key: cfg.Names.Public("revoked"), queue: newQueue(),
		malformed: rate.Sometimes{First: 10, Interval: time.Second},
		seconds:   rate.Sometimes{Interval: time.Hour}, future: rate.Sometimes{Interval: time.Hour},
		entries: rate.Sometimes{Interval: time.Hour}, unreadable: rate.Sometimes{Interval: time.Hour},
	}
}

// Service returns the service for the link: it receives control messages, and
// knows all revocations before the first message of an epoch is delivered.
func (c *Control) Service() source.Service {
	s := source.Service{Channel: c.cfg.Names.Public("control"), Receive: c.receive}
	if c.cfg.Login {
		s.Prepare = c.prepare
	}
	return s
}

// prepare reads all revocations. If there are so many that the time is not
// enough, the next attempt goes on from there, and because that may be at another
// server, all of them are read once more in the background. Called on the link's
// goroutine.
func (c *Control) prepare(ctx context.Context, client redis.UniversalClient) error {
	began, from := time.Now(), cmp.Or(c.reached, "-inf")
	err := c.read(ctx, client, []span{{from, "+inf"}}, func(page []redis.Z) {
		c.apply(page)
		if len(page) > 0 {
			c.reached = formatScore(page[len(page)-1].Score)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allAt = time.Time{}
	switch {
	case errors.Is(err, errUnreadable):
		return nil // the relay works without them
	case err != nil:
		return err
	case from == "-inf":
		c.allAt = began
	}
	c.readAt, c.reached = began, ""
	return nil
}

// receive adds a control message to those that wait. Called on the link's
// goroutine.
func (c *Control) receive(payload []byte) {
	if !c.queue.put(payload) {
		c.cfg.Stats.Control[stats.ControlDropped].Add(1)
		c.reject(problemOverflow, len(payload))
	}
}

// Run carries out actions and reads revocations until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	read, trim := time.NewTimer(readEvery), time.NewTimer(jitter(trimEvery))
	defer read.Stop()
	defer trim.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.queue.filled:
		case <-read.C:
		case <-trim.C:
			c.trim(ctx)
			trim.Reset(jitter(trimEvery))
			continue
		}
		messages := c.queue.takeAll()
		took, ok := c.readNewest(ctx)
		for _, payload := range messages {
			c.perform(payload)
		}
		c.readAll(ctx)
		if read.Reset(readEvery); !ok {
			read.Reset(readAgain)
		}
		pause(ctx, min(2*took, readAgain)) // however many messages there are, they share a read
	}
}

// jitter returns d or up to a tenth more, so that relays that started together
// do not do the same at the same time.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10) }

func pause(ctx context.Context, d time.Duration) {
	if d < time.Millisecond {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// readNewest reads the entries that may be new, and returns how long that took.
// Without a link there is nothing to do: the next epoch begins with all of them.
func (c *Control) readNewest(ctx context.Context) (took time.Duration, ok bool) {
	if !c.cfg.Login {
		return 0, true
	}
	began := time.Now()
	err := c.readSpans(ctx, c.newestSpans(began))
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.readAt = began
	}
	return time.Since(began), err == nil || errors.Is(err, errUnreadable)
}

// readAll reads all entries, if that is due.
func (c *Control) readAll(ctx context.Context) {
	began := time.Now()
	if !c.cfg.Login || !c.isAllDue(began) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readAllTimeout)
	defer cancel()
	if err := c.readSpans(ctx, everything); err != nil {
		began = began.Add(readEvery - readAllEvery) // again after readEvery
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allAt = began
}

func (c *Control) isAllDue(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.allAt) >= readAllEvery
}

// readSpans reads the revocations in some spans with a client of the link.
func (c *Control) readSpans(ctx context.Context, spans []span) error {
	var unreadable error // the link would take it for its own
	err := c.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		err := c.read(ctx, client, spans, c.apply)
		if errors.Is(err, errUnreadable) {
			unreadable, err = err, nil
		}
		return err
	})
	if err != nil {
		c.cfg.Logger.Debug("reading the revocations failed", "err", err.Error())
	}
	return cmp.Or(err, unreadable)
}

// newestSpans returns the spans of the entries that may be new. The last read
// counts, because a time in the future would otherwise hide the entries that
// were added while reads failed.
func (c *Control) newestSpans(now time.Time) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := min(c.newest, c.readAt.UnixMilli(), now.UnixMilli()) - overlap.Milliseconds()
	if from <= 0 {
		return everything
	}
	return since(from)
}

// read reads the revocations in some spans. If Redis does not permit that, or
// the key is something else, it returns errUnreadable.
func (c *Control) read(ctx context.Context, client redis.UniversalClient, spans []span, handle func([]redis.Z)) error {
	for _, s := range spans {
		err := readSpan(ctx, client, c.key, s, handle)
		if do := explain(err, c.key, "+zrangebyscore"); do != "" {
			c.unreadable.Do(func() {
				c.cfg.Logger.Error("revocations cannot be read, so logins that the application has ended stay valid",
					"key", c.key, "do", do)
			})
			return errUnreadable
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// explain returns what to do about an error reply that does not go away by
// itself, or nothing.
func explain(err error, key, command string) string {
	if _, isReply := errors.AsType[redis.Error](err); !isReply {
		return ""
	}
	switch {
	case redis.HasErrorPrefix(err, "NOPERM"):
		return "grant " + command + " and ~" + key
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return "delete the key, and add revocations with ZADD"
	}
	return ""
}

// apply makes the core know entries.
func (c *Control) apply(page []redis.Z) {
	list := make([]access.Revocation, 0, len(page))
	newest, tomorrow := int64(0), time.Now().Add(24*time.Hour).UnixMilli()
	for _, entry := range page {
		revoked, seconds, ok := parseRevocation(entry)
		if !ok {
			c.entries.Do(func() {
				c.cfg.Logger.Warn("an entry of the revocations is ignored", "key", c.key,
					"do", `name the entry like "user:42", "session:ID" or "token:JTI"`)
			})
			continue
		}
		if seconds {
			c.seconds.Do(func() {
				c.cfg.Logger.Warn("a revocation has its time in seconds", "key", c.key, "kind", access.SubjectKinds[revoked.Kind],
					"do", "use milliseconds as the score, so that a login in the same second is not ended")
			})
		}
		if revoked.Kind == access.SubjectUser && revoked.Ms > tomorrow && revoked.Ms < forever {
			c.future.Do(func() {
				c.cfg.Logger.Warn("a revocation has a time in the future: until then, its user cannot log in", "key", c.key,
					"do", "use the present time in milliseconds as the score, or +inf to lock a user out")
			})
		}
		newest = max(newest, revoked.Ms)
		list = append(list, revoked)
	}
	c.cfg.Sessions.Revoke(list)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = max(c.newest, newest)
}

// trim deletes the entries that are older than the setting says, and forgets
// them. One relay that may do that is enough.
func (c *Control) trim(ctx context.Context) {
	if !c.cfg.Login || c.cfg.RevokedAge <= 0 {
		return
	}
	end := time.Now().Add(-c.cfg.RevokedAge)
	c.cfg.Sessions.ForgetRevoked(end)
	err := c.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		for _, s := range before(end.UnixMilli()) {
			if err := client.ZRemRangeByScore(ctx, c.key, s.from, s.to).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if do := explain(err, c.key, "+zremrangebyscore"); do != "" {
		c.cfg.Logger.Warn("old revocations cannot be deleted", "key", c.key, "setting", "SIDECAST_REVOKED_AGE", "do", do)
	}
}

// perform carries out the action of a control message.
func (c *Control) perform(payload []byte) {
	a, problem := parseAction(payload)
	count := 0
	if problem == "" {
		count, problem = c.act(a)
	}
	if problem != "" {
		c.cfg.Stats.Control[stats.ControlMalformed].Add(1)
		c.reject(problem, len(payload))
		return
	}
	c.cfg.Stats.Control[a.kind].Add(1)
	if a.id != "" && c.cfg.Answer != nil {
		c.cfg.Answer(a.id, count)
	}
}

func (c *Control) act(a action) (count int, problem string) {
	switch a.kind {
	case stats.ControlDisconnect:
		return c.cfg.Sessions.Disconnect(a.who), ""
	case stats.ControlRefresh:
		return c.cfg.Sessions.Refresh(a.who), ""
	case stats.ControlUnsubscribe:
		return c.cfg.Sessions.UnsubscribeFor(a.who, a.channel), ""
	}
	count, code := c.cfg.Sessions.SubscribeFor(a.who, a.channel)
	if code != protocol.CodeOK {
		return 0, problemRelayed
	}
	return count, ""
}

// reject logs why a control message has no effect.
func (c *Control) reject(problem string, size int) {
	c.malformed.Do(func() {
		c.cfg.Logger.Warn("a control message has no effect", "channel", c.cfg.Names.Public("control"), "problem", problem, "bytes", size)
	})
}
