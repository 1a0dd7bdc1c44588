package counts

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// present is the field that every relay has in its hash as long as the relay
// runs, so that the hash exists if there is no subscription. Its value is how
// many clients the relay had when it last extended its lease. No channel has
// this name.
const present = ""

// keep keeps the hash of this relay in Redis. It returns the command whose reply
// is 1 if the hash did not exist. The two commands are next to each other, so
// that no hash remains without an expiry.
func (w *worker) keep(ctx context.Context, p redis.Pipeliner) *redis.IntCmd {
	key := w.c.key(w.c.relay)
	created := p.HSet(ctx, key, present, strconv.Itoa(w.c.cfg.Connections()))
	p.PExpire(ctx, key, w.c.cfg.lease)
	return created
}

// refresh extends the lease of this relay and looks which others there are.
func (w *worker) refresh(ctx context.Context) error {
	c := w.c
	now := c.cfg.Now()
	if now < w.refreshAt {
		return nil
	}
	var created *redis.IntCmd
	var members *redis.StringSliceCmd
	err := w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
		created = w.keep(ctx, p)
		p.ZAdd(ctx, c.list, redis.Z{Member: c.relay})
		members = p.ZRange(ctx, c.list, 0, -1)
	})
	if err != nil {
		return err
	}
	w.notice(created)
	w.listed = true
	if err := w.look(ctx, w.others(members.Val())); err != nil {
		return err
	}
	w.refreshAt = now + spread(c.cfg.refresh)
	return nil
}

// notice makes everything be written again if Redis has lost the hash of this
// relay.
func (w *worker) notice(created *redis.IntCmd) {
	if created.Val() == 1 && w.exists {
		w.c.cfg.Logger.Warn("redis has lost the numbers of subscriptions; the relays write them again")
		w.rewrite(w.c.cfg.rewrite)
	}
	w.exists = true
}

// look finds out which of other relays run, and removes those from the list that
// do not.
func (w *worker) look(ctx context.Context, relays []string) error {
	var running, gone []string
	for batch := range slices.Chunk(relays, maxRelays) {
		replies := make([]*redis.SliceCmd, len(batch))
		err := w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
			for i, relay := range batch {
				replies[i] = p.HMGet(ctx, w.c.key(relay), present)
			}
		})
		if err != nil {
			return err
		}
		for i, relay := range batch {
			if isGone(replies[i]) {
				gone = append(gone, relay)
			} else {
				running = append(running, relay)
			}
		}
	}
	if len(gone) > 0 {
		err := w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
			for batch := range slices.Chunk(gone, maxRelays) {
				p.ZRem(ctx, w.c.list, batch)
			}
		})
		if err != nil {
			return err
		}
	}
	if !slices.Equal(running, w.relays) || !w.looked || w.link.deaf {
		w.readAll()
	}
	w.relays, w.looked = running, true
	return nil
}

// maxRelays bounds how many relays are looked at in one step.
const maxRelays = 100

// isGone reports whether the hash of a relay does not exist.
func isGone(reply *redis.SliceCmd) bool { return len(reply.Val()) == 0 || reply.Val()[0] == nil }

// leave removes this relay.
func (w *worker) leave(ctx context.Context) error {
	if !w.listed || !w.link.up {
		return nil
	}
	return w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
		p.PExpire(ctx, w.c.key(w.c.relay), 0) // removes it
		p.ZRem(ctx, w.c.list, w.c.relay)
		p.Publish(ctx, w.c.topic, w.c.relay)
	})
}

// spread returns about d, so that relays that started together do not work
// together.
func spread(d time.Duration) time.Duration { return d - rand.N(d/5+1) }
