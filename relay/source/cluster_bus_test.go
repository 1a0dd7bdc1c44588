package source_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

// TestClusterBusLinkBreaks breaks single links of the bus, which the nodes open
// again within a tenth of a second: while nothing is published, so that only
// the next periodic check detects it, and while much is published. A broken
// link from another node to the link's node ends the epoch, once. A broken link
// in the other direction, or between other nodes, does not. If both directions
// break, the link's node cannot say that one is missing: then the next epoch may
// begin before the link is back, and ends as well.
func TestClusterBusLinkBreaks(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	l := startLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	linkNode, other, third := masters[0], masters[1], masters[2]
	published := newPublishLog(t)
	epochs := 1
	for _, publishers := range []int{0, 3} {
		channels := c.publishers(t, published, masters[:publishers]...)
		published.awaitPublished(t, 50, channels...)
		for _, test := range []struct {
			name       string
			at         *redistest.Server // the node that breaks the link
			direction  string
			with       *redistest.Server
			ends, most int // epochs, at least and at most
		}{
			{"from another master, by the link's node", linkNode, "from", other, 1, 1},
			{"from another master, by the other master", other, "to", linkNode, 1, 1},
			{"from a replica, by the link's node", linkNode, "from", c.replica(t, other), 1, 1},
			{"both ways, by the link's node", linkNode, "all", third, 1, 2},
			{"to another master", linkNode, "to", other, 0, 0},
			{"to another master, by the other master", other, "from", linkNode, 0, 0},
			{"between two others", other, "all", third, 0, 0},
		} {
			name := fmt.Sprintf("%s, %d publishers", test.name, publishers)
			before := [2]map[string]int64{c.since(t, test.at, "from"), c.since(t, test.at, "to")}
			test.at.CLI("DEBUG", "CLUSTERLINK", "KILL", test.direction, c.ids[test.with.Addr])
			eventually(t, "a new link: "+name, func() bool {
				from, to := c.since(t, test.at, "from"), c.since(t, test.at, "to")
				return len(from) == 5 && len(to) == 5 && !(maps.Equal(from, before[0]) && maps.Equal(to, before[1]))
			})
			l.awaitEvent(t, "online", epochs+test.ends)
			published.awaitPublished(t, 50, channels...)
			<-time.After(twoBusChecks)
			ended := count(l.recorder.deliveries(), "offline") - (epochs - 1)
			if ended < test.ends || ended > test.most {
				t.Fatalf("%s: %d epochs ended, want %d to %d", name, ended, test.ends, test.most)
			}
			epochs += ended
		}
	}
	l.expectEnded(t, stats.CauseCluster, uint64(epochs-1))
	l.awaitLog(t, "cause=cluster", "joined, left or lost its link")
	_, missing := published.verify(t, l)
	t.Logf("%d messages were missing in gaps", missing)
}

// twoBusChecks is longer than the time between two checks of the bus.
const twoBusChecks = 1200 * time.Millisecond

// TestClusterNodeIsStopped stops the link's node for longer than the other
// nodes wait for it. They close their links to it, with the messages in them,
// while the relay's connection stays open.
func TestClusterNodeIsStopped(t *testing.T) {
	t.Parallel()
	c := startCluster(t, shortNodeTimeout)
	l := startLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	published := newPublishLog(t)
	channels := c.publishers(t, published, masters...)
	published.awaitPublished(t, 100, channels...)
	for _, node := range c.nodes {
		node.CLI("CONFIG", "SET", "cluster-replica-no-failover", "yes")
	}
	id := c.ids[masters[0].Addr]
	before := [2]int64{c.since(t, masters[1], "to")[id], c.since(t, masters[2], "to")[id]}
	stopped := time.Now()
	masters[0].Stop()
	// The system accepts connections for the stopped process.
	eventually(t, "the others to close their links", func() bool {
		return c.since(t, masters[1], "to")[id] > before[0] && c.since(t, masters[2], "to")[id] > before[1]
	})
	masters[0].Cont()
	took := time.Since(stopped)
	l.awaitEvent(t, "offline", 1)
	if took < silenceLimit {
		l.awaitLog(t, "cause=cluster")
	} else {
		t.Logf("the node was stopped for %v, which may also count as silence", took)
	}
	l.awaitEvent(t, "online", 2)
	published.awaitPublished(t, 100, channels[0])
	published.verify(t, l)
}

// silenceLimit is shorter than the silence after which the link closes its
// connection.
const silenceLimit = 6 * time.Second
