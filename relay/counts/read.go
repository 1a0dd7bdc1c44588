package counts

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// maxReads bounds the numbers that are read at once.
const maxReads = 16 * maxFields

// read reads the other relays' numbers of the channels whose clients are told.
func (w *worker) read(ctx context.Context) error {
	if !w.looked || w.c.cfg.Now() < w.settleUntil {
		return nil
	}
	size := maxFields
	if n := len(w.relays); n > 0 {
		size = max(1, min(size, maxReads/n))
	}
	for range maxBatches {
		batch := w.nextReads(size)
		if len(batch) == 0 {
			break
		}
		sums, complete, err := w.readBatch(ctx, batch)
		if err != nil {
			return err
		}
		if !complete { // this relay looks who has ended, and whether Redis has lost its own numbers, too
			w.refreshAt = 0
			break
		}
		for i, ch := range batch {
			ch.watch.others, ch.watch.known = sums[i], true
			delete(w.stale, ch)
			w.due[ch] = struct{}{}
		}
	}
	return nil
}

// nextReads returns some channels to be read.
func (w *worker) nextReads(size int) (batch []*channel) {
	bytes := 0
	for ch := range w.stale {
		if bytes += len(ch.name); len(batch) == size || len(batch) > 0 && bytes > maxBytes {
			break
		}
		batch = append(batch, ch)
	}
	return batch
}

// readBatch returns the sums of the other relays' numbers of channels.
// They are not complete if a relay has ended.
func (w *worker) readBatch(ctx context.Context, batch []*channel) (sums []int, complete bool, err error) {
	sums = make([]int, len(batch))
	if len(w.relays) == 0 {
		return sums, true, nil
	}
	fields := []string{present}
	for _, ch := range batch {
		fields = append(fields, ch.name)
	}
	replies := make([]*redis.SliceCmd, len(w.relays))
	err = w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for i, relay := range w.relays {
			replies[i] = p.HMGet(ctx, w.c.key(relay), fields...)
		}
	})
	if err != nil {
		return nil, false, err
	}
	for _, reply := range replies {
		if isGone(reply) {
			return nil, false, nil
		}
		for i, value := range reply.Val()[1:] {
			sums[i] += number(value)
		}
	}
	return sums, true, nil
}

// number returns a value of a hash as a number, or 0 if it is not one.
func number(value any) int {
	text, _ := value.(string)
	n, _ := strconv.Atoi(text)
	return max(n, 0)
}
