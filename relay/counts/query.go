package counts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

const (
	// maxChannels bounds what Channels returns.
	maxChannels = 100_000
	// scanCount is about how many fields one HSCAN returns.
	scanCount = 1000
	// queryTimeout bounds one call of Channels or Subscriptions.
	queryTimeout = 5 * time.Second
)

// ErrTooMany reports that more channels have subscriptions than can be listed.
var ErrTooMany = fmt.Errorf("more than %d channels have subscriptions", maxChannels)

// Channels returns the channels whose names begin with prefix, and how many
// subscriptions each has.
func (c *Counts) Channels(ctx context.Context, prefix string) (map[string]int, error) {
	sums := make(map[string]int)
	err := c.query(ctx, func(ctx context.Context, client redis.UniversalClient, relays []string) error {
		for _, relay := range relays {
			if err := addNumbers(ctx, client, c.key(relay), prefix, sums); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sums, nil
}

// addNumbers adds the numbers of one relay. Redis may return a field twice.
func addNumbers(ctx context.Context, client redis.UniversalClient, key, prefix string, sums map[string]int) error {
	own := make(map[string]int)
	pattern := access.EscapePattern(prefix) + "*"
	for cursor := uint64(0); ; {
		pairs, next, err := client.HScan(ctx, key, cursor, pattern, scanCount).Result()
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			if n := number(pairs[i+1]); n > 0 && pairs[i] != present {
				own[pairs[i]] = n
			}
		}
		if len(own) > maxChannels {
			return ErrTooMany
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	for name, n := range own {
		sums[name] += n
	}
	if len(sums) > maxChannels {
		return ErrTooMany
	}
	return nil
}

// Subscriptions returns how many subscriptions a channel has.
func (c *Counts) Subscriptions(ctx context.Context, channel string) (sum int, err error) {
	err = c.query(ctx, func(ctx context.Context, client redis.UniversalClient, relays []string) error {
		replies := make([]*redis.SliceCmd, len(relays))
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, relay := range relays {
				replies[i] = p.HMGet(ctx, c.key(relay), channel)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, reply := range replies {
			if values := reply.Val(); len(values) == 1 {
				sum += number(values[0])
			}
		}
		return nil
	})
	return sum, err
}

// Connections returns how many clients all relays have.
func (c *Counts) Connections(ctx context.Context) (int, error) { return c.Subscriptions(ctx, present) }

// query runs commands about the numbers of all relays.
func (c *Counts) query(ctx context.Context, f func(context.Context, redis.UniversalClient, []string) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var tooMany error
	err := c.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		relays, err := client.ZRange(ctx, c.list, 0, -1).Result()
		if err == nil {
			err = f(ctx, client, relays)
		}
		if errors.Is(err, ErrTooMany) { // Redis has not failed
			tooMany, err = err, nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the numbers of subscriptions: %w", err)
	}
	return tooMany
}
