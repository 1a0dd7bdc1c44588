package relaytest

import (
	"context"
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

// PublishTo publishes with client, which must not retry (see [NewRedis]) and which the caller closes.
func PublishTo(client redis.UniversalClient) PublishFunc {
	return func(ctx context.Context, channel string, payload []byte) (int64, error) {
		return client.Publish(ctx, channel, payload).Result()
	}
}
