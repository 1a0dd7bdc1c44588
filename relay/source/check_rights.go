package source

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

const subscriptionRefused = "Redis refuses the subscription"

// checkPattern checks whether the relay may subscribe to a pattern.
func (c *check) checkPattern(ctx context.Context, pattern string) {
	subject := "pattern " + pattern
	switch err := c.subscribe(ctx, "psubscribe", pattern); {
	case err == nil:
		c.ok(subject, "the relay may subscribe to it")
	case !isDenied(err.Error()):
		c.failure(subject, err)
	case strings.Contains(err.Error(), "command"):
		c.fail(subject, subscriptionRefused, "grant the command: ACL SETUSER <user> +psubscribe")
	default:
		c.fail(subject, subscriptionRefused, grantPattern(pattern))
	}
}

func (c *check) subscribe(ctx context.Context, command, name string) error {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	return trySubscribe(ctx, c.node, command, name)
}

// trySubscribe subscribes to one name on a separate connection and returns
// Redis's refusal. command is subscribe or psubscribe. ctx must have a
// deadline, at which the attempt ends.
func trySubscribe(ctx context.Context, client redis.UniversalClient, command, name string) error {
	sub := client.Subscribe(ctx)
	defer sub.Close()
	subscribe := sub.Subscribe
	if command == "psubscribe" {
		subscribe = sub.PSubscribe
	}
	if err := subscribe(ctx, name); err != nil {
		return err
	}
	_, err := sub.Receive(ctx)
	return err
}

// checkStreams checks whether the relay may read the streams of a pattern, and
// add to them, with a stream that does not exist.
func (c *check) checkStreams(ctx context.Context, pattern access.Pattern) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	redisPattern := c.cfg.Names.RedisPattern(pattern)
	subject := "streams " + redisPattern
	channel, unused := exampleName(pattern)
	if !pattern.Match(channel) || !access.ValidChannel(channel) {
		c.ok(subject, "not checked: the check cannot construct a channel name that matches the pattern")
		return
	}
	streams := newStreams(c.client, c.cfg)
	switch _, err := streams.Read(ctx, channel, stream.ID{}, 1); {
	case err == nil:
	case isDenied(replyOf(err)):
		c.fail(subject, "Redis does not let the relay read them", adviseStreams(err, grantStreams(redisPattern)))
		return
	default:
		c.failure(subject, err)
		return
	}
	if !unused {
		c.ok(subject, "the relay may read them")
		return
	}
	switch err := streams.tryAppend(ctx, channel); {
	case err == nil:
		c.ok(subject, "the relay may read them and add to them")
	case isDenied(replyOf(err)) && c.cfg.Features.Appends:
		c.warn(subject, "the relay may only read them: the application cannot publish to them over HTTP", "grant +xadd and %RW~"+redisPattern)
	case isDenied(replyOf(err)):
		c.ok(subject, "the relay may only read them: browsers cannot publish to them without +xadd and %RW~"+redisPattern)
	case isWritesRefused(err):
		problem, do := explain(err)
		c.warn(subject, "the relay may read them, but "+problem, do)
	default:
		c.failure(subject, err)
	}
}

// checkRedirects checks whether the relay can use a stream while a cluster
// moves it.
func (c *check) checkRedirects(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	if err := c.node.Do(ctx, "ASKING").Err(); isDenied(replyOf(err)) {
		c.warn("moving streams", "clients cannot use a durable channel while its slot moves to another node", grantAsking)
	}
}

// checkMarkers checks whether the relay may subscribe to markers and publish
// them, and looks for other relays.
func (c *check) checkMarkers(ctx context.Context) {
	channel := c.cfg.Names.Marker()
	// Publish first, because Redis does not forget the check's own subscription
	// at once.
	subscribers, publishErr := c.publishMarker(ctx, channel)
	alone := subscribers == 0
	if publishErr != nil {
		alone = c.hasNoSubscribers(ctx, channel)
	}
	err := c.subscribe(ctx, "subscribe", channel)
	switch {
	case err == nil:
		c.ok("receiving markers", "allowed; relays publish these short messages to notice if Redis stops delivering, "+
			"and so that clients can resume at another relay")
	case isDenied(err.Error()):
		c.warn("receiving markers", subscriptionRefused+markersDenied, "grant +subscribe and &"+channel)
		return
	default:
		c.failure("receiving markers", err)
		return
	}
	switch {
	case publishErr == nil:
		c.ok("publishing markers", "allowed")
	case isDenied(publishErr.Error()):
		c.warn("publishing markers", "Redis refuses it"+markersDenied, "grant +publish and &"+channel)
	default:
		c.failure("publishing markers", publishErr)
		return
	}
	if alone {
		c.ok("other relays", noRelays)
		return
	}
	c.checkRelays(ctx, channel)
}

const markersDenied = ": the relay does not notice if Redis stops delivering"

// publishMarker publishes an empty marker, which relays ignore, and returns the
// number of subscribers that received it.
func (c *check) publishMarker(ctx context.Context, channel string) (subscribers int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	return c.node.Publish(ctx, channel, "").Result()
}

// hasNoSubscribers reports whether Redis answers that the channel has no
// subscribers.
func (c *check) hasNoSubscribers(ctx context.Context, channel string) bool {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	subscribers, err := c.node.PubSubNumSub(ctx, channel).Result()
	return err == nil && subscribers[channel] == 0
}

const noRelays = "none with this key prefix"

// checkRelays counts the other relays with the same key prefix.
func (c *check) checkRelays(ctx context.Context, channel string) {
	limited, cancel := context.WithTimeout(ctx, checkListen)
	defer cancel()
	same, foreign := c.countRelays(limited, channel)
	if foreign > 0 {
		c.warn("other relays", fmt.Sprintf("%d with different patterns or prefixes and the same key prefix", foreign),
			"give each application its own SIDECAST_KEY_PREFIX, and all replicas of one application the same settings")
	}
	switch {
	case same > 0:
		c.ok("other relays", fmt.Sprintf("%d with the same settings", same))
	case foreign == 0:
		c.ok("other relays", noRelays)
	}
}

// countRelays counts the relays that publish markers until ctx ends.
func (c *check) countRelays(ctx context.Context, channel string) (same, foreign int) {
	ours := settingsHash(c.cfg.Names, c.cfg.Patterns, c.cfg.Durable...)
	sub := c.node.Subscribe(ctx, channel)
	defer sub.Close()
	seen := make(map[[8]byte]bool)
	for {
		reply, err := sub.Receive(ctx) // fails at the deadline
		if err != nil {
			return same, foreign
		}
		message, _ := reply.(*redis.Message)
		if message == nil {
			continue
		}
		m, ok := parseMarker([]byte(message.Payload))
		switch {
		case !ok || seen[m.run]:
		case m.settings == ours:
			same++
		default:
			foreign++
		}
		seen[m.run] = seen[m.run] || ok
	}
}
