package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const selfTest = "self-test"

// A testMessage is a message that the check publishes to itself at one node.
type testMessage struct {
	addr      string // of the node
	payload   string
	receivers int64 // subscribers at this node
	err       error // of PUBLISH
}

// checkDelivery publishes a message as the relay publishes those of clients, in
// a cluster one at each master, and checks that it arrives at the node to which
// a link listens: the earlier checks show only that each half of this is
// permitted.
func (c *check) checkDelivery(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*checkStep)
	defer cancel()
	channel := c.cfg.Names.Check()
	others, _ := c.node.Publish(ctx, channel, "").Result() // how many others receive this channel
	sub := c.node.Subscribe(ctx, channel)
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil { // otherwise this is the confirmation
		c.untested("subscribe", c.addr, err)
		return
	}
	began := time.Now()
	sent, err := c.publishTests(ctx)
	switch failed := slices.IndexFunc(sent, func(m testMessage) bool { return m.err != nil }); {
	case err != nil:
		c.failure(selfTest, err)
		return
	case failed >= 0:
		c.untested("publish", sent[failed].addr, sent[failed].err)
		return
	}
	lost := awaitTests(ctx, sub, sent)
	if len(lost) == 0 {
		c.ok(selfTest, fmt.Sprintf("%s arrived after %v", published(channel, len(sent)), time.Since(began).Round(10*time.Microsecond)))
		return
	}
	cause, do := c.explainLoss(ctx, sent, lost, others)
	c.fail(selfTest, fmt.Sprintf("a message that was published to %s did not arrive, and would not reach clients: %s", channel, cause), do)
}

// published says on which channel and to how many nodes messages were
// published.
func published(channel string, nodes int) string {
	if nodes == 1 {
		return "a message that was published to " + channel
	}
	return fmt.Sprintf("a message that was published to %s at each of %d masters", channel, nodes)
}

// untested reports why the check could not send itself a message. command is
// subscribe or publish.
func (c *check) untested(command, addr string, err error) {
	channel := c.cfg.Names.Check()
	switch reply := replyOf(err); {
	case !isDenied(reply):
		c.failure(selfTest, err)
	case strings.Contains(reply, "to run the"):
		c.warn(selfTest, fmt.Sprintf("not run, so it is not known whether messages arrive: at %s, Redis refuses the command %s", addr, command),
			"grant +"+command)
	default:
		c.warn(selfTest, fmt.Sprintf("not run, so it is not known whether messages arrive: at %s, Redis refuses the channel %s", addr, channel),
			"grant &"+channel)
	}
}

// publishTests publishes a message, in a cluster at each master. It skips masters
// that cannot be reached, which checkMasters reports.
func (c *check) publishTests(ctx context.Context) (sent []testMessage, err error) {
	channel, token := c.cfg.Names.Check(), rand.Text()
	cluster, ok := c.client.(masters)
	if !ok {
		m := testMessage{addr: c.addr, payload: token}
		m.receivers, m.err = c.client.Publish(ctx, channel, m.payload).Result()
		return []testMessage{m}, nil
	}
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		m := testMessage{addr: master.Options().Addr}
		m.payload = token + m.addr
		m.receivers, m.err = master.Publish(ctx, channel, m.payload).Result()
		mu.Lock()
		defer mu.Unlock()
		if m.err == nil || replyOf(m.err) != "" {
			sent = append(sent, m)
		}
		return nil
	})
	if err == nil && len(sent) == 0 {
		err = errors.New("no master of the cluster accepts a message")
	}
	return sent, err
}

// awaitTests returns the messages that do not arrive within a step.
func awaitTests(ctx context.Context, sub *redis.PubSub, sent []testMessage) (lost []testMessage) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	for lost = slices.Clone(sent); len(lost) > 0; {
		reply, err := sub.Receive(ctx) // fails at the deadline
		if err != nil {
			return lost
		}
		if message, ok := reply.(*redis.Message); ok {
			lost = slices.DeleteFunc(lost, func(m testMessage) bool { return m.payload == message.Payload })
		}
	}
	return nil
}

// explainLoss says why messages did not arrive. others is how many subscribers
// there were without the check.
func (c *check) explainLoss(ctx context.Context, sent, lost []testMessage, others int64) (cause, do string) {
	const direct = "let SIDECAST_REDIS_URL lead to Redis itself, or to a proxy that supports pub/sub"
	ids := c.servers(ctx)
	own := slices.IndexFunc(sent, func(m testMessage) bool { return m.addr == c.addr })
	switch {
	case len(ids) > 1:
		return fmt.Sprintf("%s leads to several servers (run_id %s)", c.addr, strings.Join(ids, ", ")),
			"let SIDECAST_REDIS_URL lead to one server: a proxy or load balancer that distributes connections cannot be used"
	case own >= 0 && !slices.Contains(lost, sent[own]):
		var nodes []string
		for _, m := range lost {
			nodes = append(nodes, m.addr)
		}
		slices.Sort(nodes)
		return fmt.Sprintf("the cluster does not forward what is published at %s to %s, where relays listen", strings.Join(nodes, " and "), c.addr),
			"check that each node reaches the bus ports of all others (by default, their ports + 10000)"
	case own >= 0 && sent[own].receivers > others:
		return "Redis sent it to the check, and something between Redis and this machine holds it back", direct
	}
	return "Redis accepted the message, but does not know of the subscription: " +
		"they went to different servers, or a proxy answered the SUBSCRIBE itself", direct
}

// servers returns the distinct run_ids that several connections to the node
// lead to, or nothing if the server does not report its run_id.
func (c *check) servers(ctx context.Context) (ids []string) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	node, ok := c.node.(interface{ Conn() *redis.Conn })
	for range 4 {
		if !ok {
			return nil
		}
		conn := node.Conn()
		defer conn.Close() // only then: a connection that is in use is not used again
		info, err := conn.Info(ctx, "server").Result()
		if id := infoField(info, "run_id"); err == nil && id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
