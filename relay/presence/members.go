package presence

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Members returns the users who are members of a channel now, at any relay.
func (p *Presence) Members(ctx context.Context, channel string) (users []string, err error) {
	err = p.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		now, err := client.Time(ctx).Result()
		if err != nil {
			return err
		}
		users, err = client.ZRangeByScore(ctx, p.keys.members(channel),
			&redis.ZRangeBy{Min: strconv.FormatInt(now.Unix(), 10), Max: "+inf"}).Result()
		return err
	})
	return users, err
}
