package relaytest

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// NewRedis returns a client fit for a [Publisher] on the server at addr: it never retries, because a PUBLISH sent twice
// would count as two, and it gives up after timeout. The caller closes it.
func NewRedis(addr string, timeout time.Duration) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, MaxRetries: -1, ContextTimeoutEnabled: true, DisableIdentity: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// AppendTo appends to the stream at the channel's name as the backend of a durable channel does, and nudges the relays. It
// trims to about maxLen entries, or never if that is 0. A nudge that failed is no error, because the entry is there. client
// must not retry (see [NewRedis]); the caller closes it.
func AppendTo(client redis.UniversalClient, maxLen int) PublishFunc {
	return func(ctx context.Context, channel string, payload []byte) (int64, error) {
		entry := &redis.XAddArgs{Stream: channel, MaxLen: int64(maxLen), Approx: maxLen > 0, Values: []any{"data", payload}}
		if err := client.XAdd(ctx, entry).Err(); err != nil {
			return 0, err
		}
		receivers, _ := client.Publish(ctx, channel, "").Result()
		return receivers, nil
	}
}

// Settle asks the streams what became of the calls of [AppendTo] whose answers were lost, and returns the log without
// those that came to nothing. Payloads must be unique, and what is asked for not trimmed away yet.
func Settle(ctx context.Context, client redis.UniversalClient, log []Publication) ([]Publication, error) {
	kept := make(map[string]bool) // payloads; unique over all channels
	asked := make(map[string]bool)
	var settled []Publication
	for _, p := range log {
		if p.Err != nil && !asked[p.Channel] {
			asked[p.Channel] = true
			entries, err := client.XRange(ctx, p.Channel, "-", "+").Result()
			if err != nil {
				return nil, fmt.Errorf("reading the stream %q: %w", p.Channel, err)
			}
			for _, entry := range entries {
				data, _ := entry.Values["data"].(string)
				kept[data] = true
			}
		}
		if p.Err == nil || kept[p.Payload] {
			p.Err = nil
			settled = append(settled, p)
		}
	}
	return settled, nil
}

// PublishTo publishes with client, which must not retry (see [NewRedis]) and which the caller closes.
func PublishTo(client redis.UniversalClient) PublishFunc {
	return func(ctx context.Context, channel string, payload []byte) (int64, error) {
		return client.Publish(ctx, channel, payload).Result()
	}
}
