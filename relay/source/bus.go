package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/redis/go-redis/v9"
)

// The bus is checked every busInterval, so that clients are notified of a loss
// even if no message follows. It is also checked before messages that were just
// read are delivered, but not more often than every busMinInterval: messages
// wait that long at most.
const (
	busInterval    = time.Second
	busMinInterval = 5 * time.Millisecond
)

// A node whose bus link broke opens a new one within a tenth of a second if it
// can. An epoch that began before that would miss what is published at that
// node, while it receives messages of other nodes on the same channels. So the
// beginning of an epoch waits until all nodes have links, for busSettleTime at
// most, because a node may be dead.
const (
	busSettleTime   = 2 * time.Second
	busPollInterval = 20 * time.Millisecond
)

// A busState holds the nodes of a cluster that have a link to one node, and
// since when, in that node's milliseconds. A message that is published at a
// node arrives over its link. If the link breaks, the messages in it are lost
// although PUBLISH was answered.
type busState map[string]int64

// errBusChanged reports that messages may have been lost between the nodes of a
// cluster.
var errBusChanged = errors.New("a cluster node joined, left or lost its link to the node that the relay listens to: " +
	"messages that were published there may be missing")

// errBusUnsupported reports that the server does not describe its bus: Redis
// before 7.0, or a missing right.
var errBusUnsupported = errors.New("the server does not report the links of its cluster's bus")

// readBus returns the links of other nodes to the node that conn leads to. It
// also returns the number of unlinked nodes: the node has a link to them, but
// they have no link to it, so messages that are published there do not arrive.
func readBus(ctx context.Context, conn doer) (state busState, unlinked int, err error) {
	// go-redis's ClusterLinks rejects fields that it does not know.
	ask := redis.NewMapStringInterfaceSliceCmd(ctx, "CLUSTER", "LINKS")
	_ = conn.Process(ctx, ask)
	links, err := ask.Result()
	if err != nil {
		if isRefusal(err) {
			return nil, 0, fmt.Errorf("%w: %w", errBusUnsupported, err)
		}
		return nil, 0, err
	}
	state, known := make(busState), make(map[string]bool)
	for _, fields := range links {
		node, _ := fields["node"].(string)
		since, ok := fields["create-time"].(int64)
		switch {
		case ok && fields["direction"] == "from":
			state[node] = max(state[node], since)
		case ok:
			known[node] = true
		}
	}
	for node := range known {
		if _, linked := state[node]; !linked {
			unlinked++
		}
	}
	return state, unlinked, nil
}

// A busMonitor checks for one connection of the link that no message was lost
// on the cluster's bus.
type busMonitor struct {
	baseline    busState  // before the subscriptions; nil if it is unknown
	checkedAt   time.Time // when the bus was last read
	unsupported bool      // the server does not report the bus any more
}

// verify holds back what was just read until the bus was found unchanged. A
// node whose link broke opens a new one before any later message from it
// arrives, so a message after a loss is never delivered before the epoch has
// ended. A server that does not answer is asked again for as long as it may be
// silent. Called by the connection's reader.
func (b *busMonitor) verify(c *pubsubConn) error {
	if b.baseline == nil || b.unsupported {
		return nil
	}
	if wait := busMinInterval - time.Since(b.checkedAt); wait > 0 {
		time.Sleep(wait)
	}
	for began := time.Now(); ; {
		b.checkedAt = time.Now()
		now, err := readBusOf(c)
		switch {
		case errors.Is(err, errBusUnsupported):
			b.unsupported = true
			c.link.reporter.busUnsupported(err)
			return nil
		case err == nil && maps.Equal(b.baseline, now):
			return nil
		case err == nil:
			return errBusChanged
		case c.isCut() || time.Since(began) >= deadAfter-commandTimeout:
			return fmt.Errorf("checking the cluster's bus: %w: %w", errSilence, err)
		}
	}
}

func readBusOf(c *pubsubConn) (busState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	state, _, err := readBus(ctx, c.nodeClient)
	return state, err
}
