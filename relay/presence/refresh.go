package presence

import (
	"context"
	"errors"
	"time"
)

// A portion is a part of the holds of one channel in a refresh.
type portion struct {
	channel string
	holds   []*hold
}

// maxKeys bounds how many channels one refresh extends.
const maxKeys = 100

// refresh extends the lease of the relay, and its members.
func (w *worker) refresh(ctx context.Context) error {
	p := w.p
	began := p.cfg.Now()
	if began < w.refreshAt {
		return nil
	}
	var missing []*hold
	var batch []portion
	size := 0
	send := func() error {
		found, err := w.refreshBatch(ctx, batch)
		missing, batch, size = append(missing, found...), nil, 0
		return err
	}
	for _, channel := range w.channelNames() {
		for rest := -1; rest != 0; {
			var some portion
			some, rest = w.portion(channel, rest, maxBatch-size)
			batch = append(batch, some)
			if size += len(some.holds); size == maxBatch || len(batch) == maxKeys {
				if err := send(); err != nil {
					return err
				}
			}
		}
	}
	if err := send(); err != nil { // the lease, if nothing else
		return err
	}
	p.stats.PresenceRefresh.Observe(p.cfg.Now() - began)
	w.refreshAt = began + spread(p.cfg.refresh)
	return w.rejoin(ctx, missing)
}

func (w *worker) channelNames() []string {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, 0, len(p.channels))
	for name := range p.channels {
		names = append(names, name)
	}
	return names
}

// portion returns at most limit holds before the index end of a channel's list,
// or the last ones if end is negative, and the index where they begin. Holds
// that are removed meanwhile are replaced by later ones, so none is omitted.
func (w *worker) portion(channel string, end, limit int) (portion, int) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.channels[channel]
	if ch == nil {
		return portion{}, 0
	}
	if end < 0 || end > len(ch.list) {
		end = len(ch.list)
	}
	begin := max(0, end-limit)
	some := portion{channel: channel}
	for _, h := range ch.list[begin:end] {
		if h.state == holdWritten {
			some.holds = append(some.holds, h)
		}
	}
	return some, begin
}

// refreshBatch extends some members and returns those that Redis does not have.
func (w *worker) refreshBatch(ctx context.Context, batch []portion) (missing []*hold, err error) {
	p := w.p
	c := &call{
		script: refreshScript, keys: []string{p.keys.generation, p.keys.relays},
		args: []any{p.relay, w.generation, p.cfg.lease.Milliseconds()},
	}
	var used []portion
	for _, some := range batch {
		if len(some.holds) == 0 {
			continue
		}
		used = append(used, some)
		c.keys = append(c.keys, p.keys.members(some.channel))
		c.args = append(c.args, len(some.holds))
		for _, h := range some.holds {
			c.args = append(c.args, h.user)
		}
	}
	if err := w.run(ctx, c); err != nil {
		return nil, err
	}
	values, err := w.results(c)
	for i := 0; i+1 < len(values); i += 2 {
		if k, n := int(number(values[i])), int(number(values[i+1])); k < len(used) && n < len(used[k].holds) {
			missing = append(missing, used[k].holds[n])
		}
	}
	return missing, err
}

// rejoin makes users members again that were removed, by another relay that
// thought that this one had ended, or by hand.
func (w *worker) rejoin(ctx context.Context, missing []*hold) error {
	if len(missing) == 0 {
		return nil
	}
	p := w.p
	p.mu.Lock()
	for _, h := range missing {
		if h.state == holdWritten {
			h.state = holdTried
			if h.uses > 0 {
				p.queueLocked(h)
			}
		}
	}
	p.mu.Unlock()
	return w.join(ctx)
}

// reapLimit is how many members of a channel, and how many channels, are looked
// at in one step.
const reapLimit = 100

// reap removes members whose relays have ended. Every relay does it, but only
// when all others have had the time to extend their members in this epoch.
func (w *worker) reap(ctx context.Context) error {
	p := w.p
	now := p.cfg.Now()
	if now < w.reapAt {
		return nil
	}
	w.reapAt = now + spread(p.cfg.reap)
	if !w.settled() {
		w.reapAt = w.epochBegan + p.cfg.lease + spread(p.cfg.reap)
		return nil
	}
	expired, again, err := w.expired(ctx)
	if err != nil {
		return err
	}
	var calls []*call
	for _, channel := range expired {
		calls = append(calls, w.channelCall(reapScript, channel, reapLimit))
	}
	err = w.runEach(ctx, calls...)
	for _, c := range calls {
		if err != nil {
			return err
		}
		var values []any
		if values, err = w.results(c); errors.Is(err, errFailed) {
			err = nil
		} else if len(values) == 1 {
			p.stats.PresenceExpired.Add(int(number(values[0])))
			again = again || number(values[0]) == reapLimit
		}
	}
	if again {
		w.reapAt = now
	}
	return err
}

// expired returns channels in which members have expired, and whether there may
// be more. Most channels that are due have none, because relays extend their
// members: these cost two scripts together.
func (w *worker) expired(ctx context.Context) (channels []string, more bool, err error) {
	p := w.p
	due := &call{
		script: dueScript, keys: []string{p.keys.due}, args: []any{reapLimit, (2 * time.Second).Milliseconds()},
	}
	if err := w.run(ctx, due); err != nil || len(due.reply) == 0 {
		return nil, false, err
	}
	look := &call{script: lookScript, keys: []string{p.keys.due}, args: due.reply}
	for _, channel := range due.reply {
		look.keys = append(look.keys, p.keys.members(text(channel)))
	}
	if err := w.run(ctx, look); err != nil {
		return nil, false, err
	}
	for _, position := range look.reply {
		if i := number(position); i >= 0 && i < int64(len(due.reply)) {
			channels = append(channels, text(due.reply[i]))
		}
	}
	return channels, len(due.reply) == reapLimit, nil
}
