package counts

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// maxFields and maxBytes bound one command, during which Redis serves no other
// client, and one message. maxBatches bounds one task of a pass, so that the
// lease is never extended too late.
const (
	maxFields  = 500
	maxBytes   = 64 << 10
	maxBatches = 20
)

// write writes the numbers that have changed.
func (w *worker) write(ctx context.Context) error {
	for range maxBatches {
		if len(w.dirty) == 0 {
			w.dirty = nil
			return nil
		}
		batch := w.dirty[:fitting(len(w.dirty), func(i int) int { return len(w.dirty[i].name) })]
		created, err := w.writeBatch(ctx, batch)
		if err != nil {
			return err
		}
		w.dirty = w.dirty[len(batch):]
		for _, ch := range batch {
			w.setWritten(ch)
		}
		w.notice(created)
	}
	return nil
}

// writeBatch writes some numbers.
func (w *worker) writeBatch(ctx context.Context, batch []*channel) (created *redis.IntCmd, err error) {
	var values []any
	var ended []string
	for _, ch := range batch {
		if ch.subscriptions > 0 {
			ch.sent = true
			values = append(values, ch.name, strconv.Itoa(ch.subscriptions))
		} else {
			ended = append(ended, ch.name)
		}
	}
	key := w.c.key(w.c.relay)
	err = w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
		created = w.keep(ctx, p)
		if len(values) > 0 {
			p.HSet(ctx, key, values...)
		}
		if len(ended) > 0 {
			p.HDel(ctx, key, ended...)
		}
	})
	return created, err
}

// setWritten records that Redis has the number of a channel.
func (w *worker) setWritten(ch *channel) {
	ch.written, ch.dirty = ch.subscriptions, false
	w.c.stats.CountsWrites.Add(1)
	if ch.subscriptions == 0 {
		delete(w.channels, ch.name)
	}
	w.announce(ch.name)
}

// fitting returns how many of the first n texts, at least one, are within the
// bounds of a command. length returns the length of each.
func fitting(n int, length func(i int) int) int {
	k, size := 0, 0
	for k < min(n, maxFields) && (k == 0 || size+length(k) <= maxBytes) {
		size += length(k) + 1
		k++
	}
	return k
}
