package source

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// checkLogins checks the rights and the entries that the relay needs to know
// which logins the application has ended.
func (c *check) checkLogins(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	key := c.cfg.Names.Public("revoked")
	// Infinity is for users who are locked out.
	later, err := c.client.ZRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{
		Min: "(" + strconv.FormatInt(c.now.Add(maxSkew).UnixMilli(), 10), Max: "(+inf", Count: 1,
	}).Result()
	switch {
	case isDenied(replyOf(err)):
		c.warn("revocations", "Redis refuses to read them: logins that the application has ended stay valid",
			"grant ~"+key+" +zrangebyscore +zremrangebyscore")
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		c.warn("revocations", key+" is not a sorted set: logins that the application has ended stay valid",
			"delete the key, and add revocations with ZADD")
	case err != nil:
		c.failure("revocations", err)
	case len(later) > 0:
		c.warn("revocations", fmt.Sprintf("one is %v ahead of the clock of Redis, and its user cannot log in until then",
			ahead(later[0].Score, c.now)), "set the clocks of the application's servers")
	default:
		c.checkTrials(ctx, "revocations", "the oldest are never deleted", trials(key, "zremrangebyscore KEY x x"))
	}
}

// ahead returns how long after now a score in milliseconds is.
func ahead(score float64, now time.Time) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	ms := min(score-float64(now.UnixMilli()), float64(century.Milliseconds()))
	return time.Duration(math.Round(ms/1000)) * time.Second
}
