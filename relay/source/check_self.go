package source

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// checkDelivery publishes a message as the relay publishes those of clients,
// and checks that it arrives at the node to which a link listens: what was
// checked before says only that each half of this is permitted.
func (c *check) checkDelivery(ctx context.Context) {
	const subject = "self-test"
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	channel := c.cfg.Names.Check()
	sub := c.node.Subscribe(ctx, channel)
	defer sub.Close()
	_, err := sub.Receive(ctx) // the confirmation
	began, payload := time.Now(), rand.Text()
	if err == nil {
		err = c.publish(ctx, channel, payload)
	}
	switch {
	case isDenied(replyOf(err)):
		c.ok(subject, "not run: it needs +subscribe, +publish and &"+channel)
		return
	case err != nil:
		c.failure(subject, err)
		return
	}
	for {
		reply, err := sub.Receive(ctx)
		if err != nil {
			c.fail(subject, fmt.Sprintf("a message that was published to %s did not arrive: clients would receive nothing", channel),
				"check that the URL leads to one Redis, and not to several by a proxy or load balancer that distributes connections")
			return
		}
		if message, ok := reply.(*redis.Message); ok && message.Payload == payload {
			c.ok(subject, fmt.Sprintf("a message that was published to %s arrived after %v", channel,
				time.Since(began).Round(10*time.Microsecond)))
			return
		}
	}
}

// publish sends one PUBLISH, in a cluster to the master of the channel's slot.
func (c *check) publish(ctx context.Context, channel, payload string) error {
	cluster, ok := c.client.(router)
	if !ok {
		return c.client.Publish(ctx, channel, payload).Err()
	}
	node, err := cluster.MasterForKey(ctx, channel)
	if err != nil {
		return err
	}
	return node.Publish(ctx, channel, payload).Err()
}
