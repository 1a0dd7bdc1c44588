package relaytest

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// NewRedis returns a Redis client for a [Publisher] on the server at addr. It
// never retries, because a retried PUBLISH may publish the message twice, and
// its calls fail after timeout. The caller closes it.
func NewRedis(addr string, timeout time.Duration) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, MaxRetries: -1, ContextTimeoutEnabled: true, DisableIdentity: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// AppendTo returns a PublishFunc that adds an entry to the stream with the
// channel's name, as the backend of a durable channel does, and nudges the
// relays. It trims the stream to about maxLen entries, or never if that is 0. A
// failed nudge is not an error, because the entry is in the stream. client must
// not retry (see [NewRedis]); the caller closes it.
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

// Resolve reads the streams to find out which of the failed calls of [AppendTo]
// were executed nevertheless. It returns the log with those calls as successful
// and without the other failed ones. Payloads must be unique, and no entry of a
// failed call may have been trimmed.
func Resolve(ctx context.Context, client redis.UniversalClient, log []Publication) ([]Publication, error) {
	kept := make(map[string]bool) // payloads; unique in all channels
	read := make(map[string]bool) // channels
	var resolved []Publication
	for _, p := range log {
		if p.Err != nil && !read[p.Channel] {
			read[p.Channel] = true
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
			resolved = append(resolved, p)
		}
	}
	return resolved, nil
}

// PublishTo returns a PublishFunc that publishes with client, which must not
// retry (see [NewRedis]). The caller closes it.
func PublishTo(client redis.UniversalClient) PublishFunc {
	return func(ctx context.Context, channel string, payload []byte) (int64, error) {
		return client.Publish(ctx, channel, payload).Result()
	}
}
