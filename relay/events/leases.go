package events

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// leaseTime is how long a lease lasts if its relay does not renew it.
	leaseTime = 30 * time.Second
	// leaseRenewal is the time between two renewals.
	leaseRenewal = 10 * time.Second
	// leaseGrace is how long a lease lasts after the last subscriber has left:
	// a page that is loaded again is not a departure.
	leaseGrace = 5 * time.Second
	// leaseTick is the time between two looks for leases to renew.
	leaseTick = time.Second
	// leasePause is how long changes wait for others to be written with them.
	leasePause = 20 * time.Millisecond
	// leaseBatch and leaseBatchBytes bound the leases of one script.
	leaseBatch, leaseBatchBytes = 500, 64 << 10
	// leaseMemory is how long Redis keeps leases that have ended, because
	// messages are judged later, see oldestNote.
	leaseMemory = oldestNote + time.Minute
)

// A lease says that a channel has a subscriber at this relay.
type lease struct {
	since   time.Time
	left    time.Time // when the last subscriber left; zero if there is one
	dirty   bool      // it is in Unheard.dirty, to be written
	stale   bool      // it is in Unheard.stale, to be written
	written bool      // Redis has it as it is
}

// A renewal is the next one of a lease.
type renewal struct {
	channel string
	at      time.Time
}

// Listen reports that the channel has a subscriber at this relay. It does not
// wait.
func (u *Unheard) Listen(channel string) {
	if !u.cfg.Patterns.Match(channel) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	held := u.leases[channel]
	switch {
	case held == nil:
		held = &lease{since: now}
		u.leases[channel] = held
		u.renewals = append(u.renewals, renewal{channel, now.Add(leaseRenewal)})
	case held.ended(now) && held.written: // otherwise Redis would never know the one that ended
		held.since = now
	}
	held.left = time.Time{}
	u.change(channel, held)
}

// Leave reports that the last subscriber of the channel has left. It does not
// wait.
func (u *Unheard) Leave(channel string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	held := u.leases[channel]
	if held == nil {
		return
	}
	held.left = time.Now()
	u.change(channel, held)
}

// change makes a lease be written. u is locked.
func (u *Unheard) change(channel string, held *lease) {
	held.written = false
	if !held.dirty {
		held.dirty = true
		u.dirty = append(u.dirty, channel)
	}
	signal(u.changed)
}

// ended reports whether the lease is over, so that the next one has a new
// beginning.
func (l *lease) ended(now time.Time) bool { return !l.left.IsZero() && now.Sub(l.left) >= leaseGrace }

// over reports whether no judgement needs the lease from this relay any more.
func (l *lease) over(now time.Time) bool {
	return l.ended(now) && (l.written || now.Sub(l.left) >= leaseGrace+oldestNote)
}

// lasts returns for how long the lease is valid from now on; it is negative if
// the lease has ended.
func (l *lease) lasts(now time.Time) time.Duration {
	if l.left.IsZero() {
		return leaseTime
	}
	return leaseGrace - now.Sub(l.left)
}

// writeLeases writes the leases that have changed, and renews the others, until
// ctx ends. Then it writes the last changes.
func (u *Unheard) writeLeases(ctx context.Context) {
	tick := time.NewTicker(leaseTick)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-u.changed:
			sleep(ctx, leasePause)
		case <-tick.C:
		}
		for u.renew(time.Now()) {
		}
		if !u.writeChanges(ctx) {
			sleep(ctx, retryAfter)
			signal(u.changed)
		}
	}
	u.leaveAll()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	u.writeChanges(last)
}

// renew makes some of the leases be written again whose time has come, and
// forgets those that are over. It reports whether there may be more: messages
// must not wait while many leases are renewed.
func (u *Unheard) renew(now time.Time) (more bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for range leaseBatch {
		if len(u.renewals) == 0 || u.renewAll == 0 && u.renewals[0].at.After(now) {
			return false
		}
		channel := u.renewals[0].channel
		u.renewals = u.renewals[1:]
		held := u.leases[channel]
		if u.renewAll > 0 {
			u.renewAll--
			held.written = false
		}
		if held.over(now) {
			delete(u.leases, channel)
			continue
		}
		u.renewals = append(u.renewals, renewal{channel, now.Add(leaseRenewal)})
		if !held.stale && (held.left.IsZero() || !held.written) {
			held.stale = true
			u.stale = append(u.stale, channel)
		}
	}
	return true
}

// leaveAll ends all leases, because the relay stops.
func (u *Unheard) leaveAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for channel, held := range u.leases {
		if held.left.IsZero() {
			held.left = time.Now()
			u.change(channel, held)
		}
	}
}

// leaseScript writes leases. Redis's clock is the only one that all relays
// share. Each lease is a field, named after the relay, with the times from and
// until which it is valid, and the lease before it has another field. What was
// judged of a stream while its channel had no listener does not count after that.
var leaseScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #KEYS / 2 do
  local leases, judged = KEYS[2 * i - 1], KEYS[2 * i]
  local since, until_ = now - ARGV[2 * i + 1], now + ARGV[2 * i + 2]
  local before = redis.call('HGET', leases, ARGV[1])
  if before and tonumber(string.match(before, '%d+$')) < since then
    redis.call('HSET', leases, ARGV[1] .. ':before', before)
  end
  redis.call('HSET', leases, ARGV[1], string.format('%.0f %.0f', since, until_))
  redis.call('PEXPIRE', leases, ARGV[2])
  if redis.call('HLEN', leases) > 8 then
    local all = redis.call('HGETALL', leases)
    for k = 1, #all, 2 do
      if tonumber(string.match(all[k + 1], '%d+$')) < now - ARGV[2] then
        redis.call('HDEL', leases, all[k])
      end
    end
  end
  if redis.call('EXISTS', judged) == 1 then
    redis.call('HSET', judged, 'stale', '1')
  end
end
return now
`)

// leaseArgs are the arguments of leaseScript.
type leaseArgs struct {
	channels []string
	keys     []string
	args     []any
}

// writeChanges writes all leases that have changed. It reports false if Redis
// is not there or ctx ends; then they remain to be written.
func (u *Unheard) writeChanges(ctx context.Context) bool {
	for ctx.Err() == nil {
		batch := u.nextLeases()
		if len(batch.channels) == 0 {
			return true
		}
		began := time.Now()
		ran, err := u.cfg.Redis.try(context.WithoutCancel(ctx), func(ctx context.Context, client redis.UniversalClient) error {
			return leaseScript.Run(ctx, client, batch.keys, batch.args...).Err()
		})
		if err == nil {
			u.setWritten(batch.channels, time.Since(began) > judgeSlack/2)
			continue
		}
		if ran {
			u.warnOf(err)
		}
		if !ran || !isRefusal(err) {
			u.requeue(batch.channels)
			return false
		}
	}
	return false
}

// nextLeases returns the next leases to write. Those that have changed do not
// wait for renewals.
func (u *Unheard) nextLeases() (batch leaseArgs) {
	u.mu.Lock()
	defer u.mu.Unlock()
	batch.args = []any{u.relay, leaseMemory.Milliseconds()}
	now, size := time.Now(), 0
	for _, list := range []*[]string{&u.dirty, &u.stale} {
		taken := 0
		for _, channel := range *list {
			if len(batch.channels) == leaseBatch || size > leaseBatchBytes {
				break
			}
			taken++
			held := u.leases[channel]
			if held == nil || !held.dirty && !held.stale {
				continue // it was written, or forgotten
			}
			if held.dirty, held.stale = false, false; held.over(now) {
				continue
			}
			size += 2 * len(channel)
			batch.channels = append(batch.channels, channel)
			batch.keys = append(batch.keys, u.key("listeners", channel), u.key("judged", channel))
			batch.args = append(batch.args, now.Sub(held.since).Milliseconds(), held.lasts(now).Milliseconds())
		}
		if *list = (*list)[taken:]; len(*list) == 0 {
			*list = nil
		}
	}
	return batch
}

// setWritten records that leases were written, unless they have changed since.
// If that was slow, new ones may begin too late in Redis, so they are written
// again.
func (u *Unheard) setWritten(channels []string, slow bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, channel := range channels {
		held := u.leases[channel]
		switch {
		case held == nil:
		case slow && time.Since(held.since) < leaseRenewal:
			u.change(channel, held)
		case !held.dirty && !held.stale:
			held.written = true
		}
	}
}

// requeue makes leases be written again.
func (u *Unheard) requeue(channels []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, channel := range channels {
		if held := u.leases[channel]; held != nil {
			u.change(channel, held)
		}
	}
}

// key returns the name of a key of the relays about a channel.
func (u *Unheard) key(kind, channel string) string { return u.cfg.Names.Internal(kind + ":" + channel) }

// warnOf logs an answer of Redis that prevents the reports.
func (u *Unheard) warnOf(err error) {
	u.warn.Do(func() {
		u.cfg.Logger.Warn("redis refuses to find messages without a listener", "setting", "SIDECAST_UNHEARD", "err", err,
			"do", advice(err, "grant +evalsha +eval +time +hset +hget +hmget +hvals +hlen +hgetall +hdel +exists +pexpire +set +get +xadd +xrange and the keys ~"+
				u.cfg.Names.Internal("*")+" ~"+u.cfg.Stream))
	})
}
