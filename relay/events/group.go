package events

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// The group and its only consumer, which is all relays. Redis gives each entry
// to one caller, whatever the caller's name is, and a name for each relay would
// remain in Redis after that relay has ended.
const (
	groupName    = "sidecast:webhooks"
	consumerName = "relays"
)

// ackTimeout is how long the relay waits for Redis to record that the
// application has accepted events, after ctx has ended.
const ackTimeout = 2 * time.Second

// next returns events to post: those that another relay took and did not post,
// or else new ones.
func (w *Webhooks) next(ctx context.Context) (batch []Event, err error) {
	_, err = w.cfg.Redis.try(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		if !w.group {
			if err := w.createGroup(ctx, client, "$"); err != nil {
				return err
			}
		}
		if time.Since(w.claimed) > claimInterval {
			batch, err = w.claim(ctx, client)
			if err != nil || len(batch) > 0 {
				return err
			}
			w.claimed = time.Now().Add(jitter(claimInterval) - claimInterval)
		}
		batch, err = w.read(ctx, client)
		return err
	})
	if isReply(err, "NOGROUP") {
		// Redis has lost its data since, so everything in the stream is new.
		_, err = w.cfg.Redis.try(ctx, func(ctx context.Context, client redis.UniversalClient) error {
			return w.createGroup(ctx, client, "0")
		})
	}
	if err != nil && isReply(err, "") {
		w.warn.Do(func() {
			w.cfg.Logger.Warn("events cannot be read from redis", "stream", w.cfg.Stream, "err", err,
				"do", advice(err, "grant +xgroup +xreadgroup +xautoclaim +xclaim +xack +xrange and the key ~"+w.cfg.Stream))
		})
	}
	return batch, err
}

// createGroup creates the group, which begins with the entries after start, if
// it does not exist.
func (w *Webhooks) createGroup(ctx context.Context, client redis.UniversalClient, start string) error {
	err := client.XGroupCreateMkStream(ctx, w.cfg.Stream, groupName, start).Err()
	if err != nil && !isReply(err, "BUSYGROUP") {
		return err
	}
	w.group = true
	return nil
}

// read takes new entries.
func (w *Webhooks) read(ctx context.Context, client redis.UniversalClient) ([]Event, error) {
	streams, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: groupName, Consumer: consumerName, Streams: []string{w.cfg.Stream, ">"}, Count: batchEvents, Block: -1,
	}).Result()
	if err == redis.Nil || len(streams) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(streams[0].Messages) < batchEvents {
		w.pause = 0 // the relay has caught up
	}
	return parse(streams[0].Messages), nil
}

// claim takes over entries that a relay took some time ago and did not
// acknowledge. It asks for their ids first, because Redis 6.2 does not say which
// of them are no longer in the stream.
func (w *Webhooks) claim(ctx context.Context, client redis.UniversalClient) ([]Event, error) {
	ids, lost, err := w.claimIDs(ctx, client)
	if err != nil || len(ids)+len(lost) == 0 {
		return nil, err
	}
	found := make([]*redis.XMessageSliceCmd, len(ids))
	if _, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			found[i] = p.XRange(ctx, w.cfg.Stream, id, id)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var messages []redis.XMessage
	for i, id := range ids {
		if entries := found[i].Val(); len(entries) > 0 {
			messages = append(messages, entries[0])
		} else {
			lost = append(lost, id)
		}
	}
	return parse(messages), w.forget(ctx, client, lost)
}

// claimIDs takes over entries and returns their ids. Since version 7, Redis also
// returns the ids of those that are no longer in the stream, which go-redis does
// not.
func (w *Webhooks) claimIDs(ctx context.Context, client redis.UniversalClient) (ids, lost []string, err error) {
	answer, err := client.Do(ctx, "XAUTOCLAIM", w.cfg.Stream, groupName, consumerName, claimAfter.Milliseconds(), "0",
		"COUNT", batchEvents, "JUSTID").Slice()
	if err != nil {
		return nil, nil, err
	}
	for i, list := range []*[]string{&ids, &lost} {
		if len(answer) <= i+1 {
			break
		}
		items, _ := answer[i+1].([]any)
		for _, item := range items {
			if id, ok := item.(string); ok {
				*list = append(*list, id)
			}
		}
	}
	return ids, lost, nil
}

// forget gives up entries that are no longer in the stream.
func (w *Webhooks) forget(ctx context.Context, client redis.UniversalClient, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	w.cfg.Stats.WebhookLost.Add(len(ids))
	w.cfg.Logger.Warn("events were trimmed from the stream before the application accepted them", "events", len(ids))
	return client.XAck(ctx, w.cfg.Stream, groupName, ids...).Err()
}

// keep tells the other relays that this one still has the batch. If that fails,
// another relay may post it too.
func (w *Webhooks) keep(ctx context.Context, batch []Event) { w.setIdle(ctx, batch, 0) }

// release lets another relay take over the batch now.
func (w *Webhooks) release(ctx context.Context, batch []Event) { w.setIdle(ctx, batch, claimAfter) }

// setIdle sets for how long a batch appears to have been pending.
func (w *Webhooks) setIdle(ctx context.Context, batch []Event, idle time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	args := []any{"XCLAIM", w.cfg.Stream, groupName, consumerName, 0}
	for _, e := range batch {
		args = append(args, e.Entry)
	}
	args = append(args, "IDLE", idle.Milliseconds(), "JUSTID")
	_, err := w.cfg.Redis.try(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		return client.Do(ctx, args...).Err()
	})
	if err != nil {
		w.cfg.Logger.Debug("pending events could not be claimed", "err", err)
	}
}

// acknowledge records that the application has accepted the batch. It tries
// until it succeeds, because the events would be posted again otherwise; after
// the end of ctx it tries once.
func (w *Webhooks) acknowledge(ctx context.Context, batch []Event) {
	ids := make([]string, len(batch))
	for i, e := range batch {
		ids[i] = e.Entry
	}
	for {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
		_, err := w.cfg.Redis.try(call, func(ctx context.Context, client redis.UniversalClient) error {
			return client.XAck(ctx, w.cfg.Stream, groupName, ids...).Err()
		})
		cancel()
		if err == nil || isRefusal(err) || ctx.Err() != nil {
			return
		}
		sleep(ctx, retryAfter)
	}
}
