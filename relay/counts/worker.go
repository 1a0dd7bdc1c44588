package counts

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// A worker does the work of a [Counts], one pass after the other. The goroutine
// that calls Run owns it.
type worker struct {
	c *Counts

	link     linkState
	channels map[string]*channel // those with subscriptions, and those that Redis may have

	relays []string // others that run
	looked bool     // for them, in this epoch
	exists bool     // the hash of this relay is in Redis
	listed bool     // this relay is, or was

	dirty   []*channel            // to be written
	news    []string              // names to be published
	newsAll bool                  // they are too many, or Redis has lost some
	stale   map[*channel]struct{} // to be read
	due     map[*channel]struct{} // whose clients may have to be told

	settleUntil        time.Duration // others may be writing their numbers again
	refreshAt, retryAt time.Duration
	trouble            error // the first one in this pass that is no reason to end it
	report             reporter
}

// A channel is one that has subscriptions at this relay, or may have some in
// Redis.
type channel struct {
	name          string
	subscriptions int
	written       int  // in Redis, unless it is dirty
	dirty         bool // it is in worker.dirty
	sent          bool // Redis may have it

	watch *watch // nil if no client is told
}

// A watch is the state of a channel with clients that are told its number.
type watch struct {
	others int           // subscriptions at other relays
	known  bool          // others was read at least once
	told   int           // to the clients
	fresh  bool          // a client has joined since
	next   time.Duration // the clients are told nothing before
}

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// pass does everything that is due, and returns when there is more to do.
func (w *worker) pass(ctx context.Context) (next time.Duration) {
	c := w.c
	w.readInbox()
	w.merge(c.changes.take())
	now := c.cfg.Now()
	if w.link.up && now >= w.retryAt {
		w.trouble = nil
		if err := cmp.Or(w.work(ctx), w.trouble); err != nil {
			w.report.failed(c.cfg.Logger, now, err)
			c.stats.CountsErrors.Add(1)
			w.retryAt = now + c.cfg.retry
		} else {
			w.report.worked()
		}
	}
	return min(w.tell(), w.nextWork())
}

// work runs the tasks that need Redis, up to the first error. The one that
// extends the lease is the first, so that nothing can delay it for too long.
func (w *worker) work(ctx context.Context) error {
	for _, do := range []func(context.Context) error{w.refresh, w.write, w.publish, w.read} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// nextWork returns when something is due that needs Redis.
func (w *worker) nextWork() time.Duration {
	if !w.link.up {
		return never
	}
	next := w.refreshAt
	if len(w.dirty) > 0 {
		next = 0
	}
	if len(w.stale) > 0 {
		next = min(next, w.settleUntil)
	}
	return max(next, w.retryAt)
}

// readInbox applies the reports of the link.
func (w *worker) readInbox() {
	state, news := w.c.inbox.take()
	begins := state.up && state.epoch != w.link.epoch
	if w.link = state; begins {
		w.begin()
	}
	if state.missed {
		w.readAll()
	}
	for _, message := range news {
		w.hear(message)
	}
}

// begin begins the work of a new epoch: Redis may have lost any of the data.
func (w *worker) begin() {
	w.looked, w.retryAt = false, 0
	settle := w.c.cfg.settle
	if w.link.epoch == 1 {
		settle = 0 // nothing has happened to the others
	}
	w.rewrite(settle)
}

// rewrite makes everything be written again, and then read.
func (w *worker) rewrite(settle time.Duration) {
	now := w.c.cfg.Now()
	w.exists, w.newsAll, w.news = false, true, nil
	w.settleUntil, w.refreshAt = now+settle, now
	w.dirty = w.dirty[:0]
	for _, ch := range w.channels {
		ch.dirty = true
		w.dirty = append(w.dirty, ch)
	}
	w.readAll()
}

// readAll makes the numbers of all channels be read whose clients are told.
func (w *worker) readAll() {
	for _, ch := range w.channels {
		if ch.watch != nil {
			w.stale[ch] = struct{}{}
		}
	}
}

// merge applies what the hub has reported. It forgets channels that Redis has
// never had: while it does not answer, clients may go from one to the next.
func (w *worker) merge(list map[string]*change) {
	forgot := false
	for name, change := range list {
		ch := w.channels[name]
		if ch == nil {
			ch = &channel{name: name}
			w.channels[name] = ch
		}
		ch.subscriptions = change.subscriptions
		w.setWatch(ch, change)
		switch {
		case ch.subscriptions == 0 && !ch.sent:
			delete(w.channels, name)
			ch.dirty, forgot = false, true
		case ch.subscriptions != ch.written && !ch.dirty:
			ch.dirty = true
			w.dirty = append(w.dirty, ch)
		}
	}
	if forgot {
		w.dirty = slices.DeleteFunc(w.dirty, func(ch *channel) bool { return !ch.dirty })
	}
}

// setWatch lets the clients of a channel be told its number if there are some.
func (w *worker) setWatch(ch *channel, change *change) {
	switch {
	case change.watching == 0:
		ch.watch = nil
		delete(w.stale, ch)
		delete(w.due, ch)
		return
	case ch.watch == nil:
		ch.watch = new(watch)
		w.stale[ch] = struct{}{}
	}
	ch.watch.fresh = ch.watch.fresh || change.joined
	w.due[ch] = struct{}{}
}

// do runs commands.
func (w *worker) do(ctx context.Context, commands func(context.Context, redis.Pipeliner)) error {
	return w.c.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			commands(ctx, p)
			return nil
		})
		return err
	})
}

// others returns the relays of a list except this one, in order.
func (w *worker) others(list []string) []string {
	list = slices.DeleteFunc(list, func(relay string) bool { return relay == w.c.relay })
	slices.Sort(list)
	return list
}
