package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// stream looks whether the streams of a pattern may be read, and added to, by asking for one that nobody has made.
func (c *check) stream(ctx context.Context, pattern access.Pattern) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	subject := "streams " + c.cfg.Names.RedisPattern(pattern)
	channel, unused := example(pattern)
	if !pattern.Match(channel) || !access.ValidChannel(channel) {
		c.ok(subject, "not tried: no name is known that matches")
		return
	}
	streams := NewStreams(c.client, c.cfg)
	switch _, err := streams.Read(ctx, channel, stream.ID{}, 1); {
	case err == nil:
	case errors.Is(err, stream.ErrNoStream):
		c.fail(subject, "may not be read", fmt.Sprintf("grant %%R~%s and +xrange +xrevrange +xinfo +multi +exec",
			c.cfg.Names.RedisPattern(pattern)))
		return
	default:
		c.broken(subject, err)
		return
	}
	if !unused {
		c.ok(subject, "may be read")
		return
	}
	// With NOMKSTREAM nothing is added to what does not exist.
	err := c.client.Do(ctx, "XADD", c.cfg.Names.Redis(channel), "NOMKSTREAM", "*", stream.PayloadField, "").Err()
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		c.ok(subject, "may be read and added to")
	case isRefusal(err):
		c.ok(subject, "read only: browsers cannot publish to them without +xadd and %RW~"+c.cfg.Names.RedisPattern(pattern))
	default:
		c.broken(subject, err)
	}
}

// example returns a name that a simple pattern matches, and whether it is one that nobody uses.
func example(pattern access.Pattern) (name string, unused bool) {
	if !strings.Contains(pattern.String(), "*") {
		return pattern.String(), false
	}
	name = fmt.Sprintf("sidecast-check-%016x", rand.Uint64())
	return strings.NewReplacer("*", name, "?", "x").Replace(pattern.String()), true
}
