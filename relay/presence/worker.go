package presence

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// A worker does the work of a [Presence], one pass after the other. The
// goroutine that calls Run owns it.
type worker struct {
	p *Presence

	up         bool
	epochs     int           // that have begun
	epochBegan time.Duration // the current one, or the data after Redis has lost it

	begun      bool   // Redis knows this relay in this epoch
	generation string // of the data that the relay knows; empty before the first epoch
	horizon    int64  // in this epoch, relays with later leases may still run, in unix ms
	// settleUntil is until when other relays may write their members again, so
	// that arrivals and departures are not certain. A user who is a member
	// already does not arrive: if the hold waited, too, the user's last relay
	// might end its own first.
	settleUntil time.Duration
	joinAt      time.Duration // while others may: when arrivals are tried again

	refreshAt, reapAt, retryAt time.Duration
	pending                    []*hold // holds whose grace is over
	more                       bool    // the pass has left something for the next one
	trouble                    error   // the first one in this pass with a part of the channels
	report                     reporter
}

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// pass does everything that is due, and returns when there is more to do.
func (w *worker) pass(ctx context.Context) (next time.Duration) {
	w.readInbox()
	now := w.p.cfg.Now()
	if !w.up {
		return never
	}
	if now < w.retryAt {
		return w.retryAt
	}
	for range 3 { // Redis may lose its data, and the lease may end, at any time
		w.more, w.trouble = false, nil
		err := cmp.Or(w.work(ctx), w.trouble)
		if err == nil {
			w.report.worked()
			return w.next()
		}
		if !errors.Is(err, errGeneration) && !errors.Is(err, errLapsed) {
			w.report.failed(w.p.cfg.Logger, now, err)
			w.p.stats.PresenceErrors.Add(1)
			break
		}
		w.begun = false
	}
	w.retryAt = now + w.p.cfg.retry
	return w.retryAt
}

// work runs the tasks that are due, up to the first error that concerns
// everything. The tasks that extend the lease are the first, so that nothing can
// delay them for too long.
func (w *worker) work(ctx context.Context) error {
	for _, do := range []func(context.Context) error{w.begin, w.refresh, w.join, w.leave, w.load, w.reap} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	w.notifyCounts()
	return nil
}

// next returns when something is due. The lists that wait for Redis to settle
// are tried again soon.
func (w *worker) next() time.Duration {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.more {
		return p.cfg.Now()
	}
	next := min(w.refreshAt, w.reapAt)
	if len(p.leaves.list) > 0 {
		next = min(next, p.leaves.list[0].end)
	}
	if len(w.pending) > 0 || len(p.joins) > 0 {
		next = min(next, p.cfg.Now()+p.cfg.retry)
	}
	for _, c := range p.busy {
		if c.loadAt != 0 {
			next = min(next, c.loadAt)
		}
		if c.countAt != 0 {
			next = min(next, c.countAt)
		}
	}
	return next
}

// run runs scripts, in order.
func (w *worker) run(ctx context.Context, calls ...*call) error {
	if len(calls) == 0 {
		return nil
	}
	return w.p.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error { return run(ctx, client, calls) })
}

// runEach runs scripts for several channels. An error that Redis answers for
// some of them, such as a key of another type, is no reason to give up the
// others: the pass reports it.
func (w *worker) runEach(ctx context.Context, calls ...*call) error {
	err := w.run(ctx, calls...)
	if err != nil && allAnswered(calls) {
		w.trouble, err = cmp.Or(w.trouble, err), nil
	}
	return err
}

// newRedis is how long a relay that has just started may wait for a Redis
// without data and believe that it never had any.
const newRedis = 2 * time.Second

// begin makes this relay known in a new epoch, and finds out whether Redis has
// lost its data, or the relay its members.
func (w *worker) begin(ctx context.Context) error {
	if w.begun {
		return nil
	}
	p := w.p
	p.mu.Lock()
	seen := p.seen
	p.mu.Unlock()
	settle := p.cfg.settle
	if w.generation == "" && w.epochBegan-p.started < newRedis {
		settle = 0
	}
	c := &call{
		script: beginScript, keys: []string{p.keys.generation, p.keys.version, p.keys.relays},
		args: []any{p.relay, rand.Text()[:12], w.generation, seen, p.cfg.lease.Milliseconds(), settle.Milliseconds()},
	}
	if err := w.run(ctx, c); err != nil {
		return err
	}
	if len(c.reply) != 5 {
		return errors.New("the script that begins an epoch returned something else")
	}
	generation, lapsed := text(c.reply[0]), number(c.reply[2]) != 0
	// Another relay that still runs had a lease then, too.
	w.horizon = max(0, number(c.reply[3])-p.cfg.lease.Milliseconds())
	switch was := w.generation; {
	case was != "" && was != generation:
		p.cfg.Logger.Warn("redis has lost the members of the presence channels; the relays write them again")
		w.epochBegan = p.cfg.Now() // nobody has left until their relays had the time to return
		w.lose(p.cfg.lease)
		w.rewrite(true)
	case lapsed:
		// If Redis's clock was set forward, the other relays' leases have ended,
		// too.
		w.epochBegan = p.cfg.Now()
		w.rewrite(false)
	}
	p.mu.Lock()
	p.seen = number(c.reply[1]) // after a loss of data, versions may be lower
	p.mu.Unlock()
	if number(c.reply[4]) != 0 {
		w.settleUntil = p.cfg.Now() + p.cfg.settle
	}
	w.generation, w.begun = generation, true
	w.refreshAt = p.cfg.Now() // whatever else is late
	return nil
}

// rewrite makes all holds be written again: as those of users that are members
// already, if Redis has lost its data.
func (w *worker) rewrite(claim bool) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ch := range p.channels {
		for _, h := range ch.list {
			h.claim = h.claim || claim && h.state == holdWritten
			switch {
			case h.claim:
				h.state = holdNew
			case h.state == holdWritten:
				h.state = holdTried
			}
			if h.claim || h.uses > 0 {
				p.queueLocked(h)
			}
		}
	}
}

// spread returns about d, so that relays that started together do not work
// together.
func spread(d time.Duration) time.Duration {
	return d - d/10 + mathrand.N(d/5+1)
}

// maxBatch and maxBatchBytes bound one run of a script, during which Redis
// serves no other client.
const (
	maxBatch      = 500
	maxBatchBytes = 64 << 10
)

// maxHolds and maxLoads bound one pass, so that a refresh is never late.
const (
	maxHolds = 5000
	maxLoads = 200
)

// batches splits a list of holds of one channel.
func batches(list []*hold) (all [][]*hold) {
	for len(list) > 0 {
		n, size := 0, 0
		for n < min(len(list), maxBatch) && (n == 0 || size < maxBatchBytes) {
			size += len(list[n].user) + len(list[n].info)
			n++
		}
		all = append(all, list[:n])
		list = list[n:]
	}
	return all
}

// byChannel groups holds.
func byChannel(list []*hold) map[string][]*hold {
	groups := make(map[string][]*hold)
	for _, h := range list {
		groups[h.channel.name] = append(groups[h.channel.name], h)
	}
	return groups
}

// channelCall returns a run of a script that begins with channel.lua.
func (w *worker) channelCall(script *redis.Script, channel string, args ...any) *call {
	p := w.p
	horizon := w.horizon
	if w.settled() {
		horizon = math.MaxInt64
	}
	common := []any{p.relay, w.generation, p.cfg.lease.Milliseconds(), channel, p.keys.topic, horizon, p.wanted()}
	return &call{script: script, keys: p.keys.channel(channel), args: append(common, args...)}
}

// settled reports whether all relays have had the time to extend their members
// in this epoch, or to write them again: who is not a member then has left.
func (w *worker) settled() bool { return w.p.cfg.Now() >= w.epochBegan+w.p.cfg.lease }

// results returns the values of a reply after its status.
func (w *worker) results(c *call) ([]any, error) {
	values, refusal, err := c.result()
	if refusal != "" {
		w.report.refused(w.p.cfg.Logger, w.p.cfg.Now(), refusal)
		w.p.stats.PresenceErrors.Add(1)
	}
	return values, err
}

// release lets the holds of this relay end after the grace.
func (w *worker) release(ctx context.Context) error {
	p := w.p
	if !w.begun || !w.up {
		return nil
	}
	p.mu.Lock()
	var list []*hold
	for _, ch := range p.channels {
		for _, h := range ch.list {
			if h.state != holdNew {
				list = append(list, h)
			}
		}
	}
	p.mu.Unlock()
	var calls []*call
	for channel, group := range byChannel(list) {
		for _, batch := range batches(group) {
			c := w.channelCall(leaveScript, channel, p.cfg.grace.Milliseconds())
			for _, h := range batch {
				c.args = append(c.args, h.user)
			}
			calls = append(calls, c)
		}
	}
	return w.run(ctx, calls...)
}
