package source_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

func TestClusterLinkUsesOneNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	owner := c.masters(t, c.nodes[0])[0]
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		a, b := startLive(t, "", []string{"*"}, c.server, useProtocol), startLive(t, "", []string{"*"}, c.server, useProtocol)
		if at := c.linkedTo(t); !slices.Equal(at, []string{owner.Addr}) {
			t.Errorf("linked to %q, want %q, which owns the marker channel", at, owner.Addr)
		}
		if a.nodeTags()[0] != b.nodeTags()[0] {
			t.Error("two relays at one node have different tags")
		}
		b.await(t, "a marker", hasMarker)
		prefix := t.Name()[len(t.Name())-1:] // both protocols share the cluster
		published := newPublishLog(t)
		channels := []string{}
		for i, node := range c.nodes { // replicas too
			channel := fmt.Sprint("chat:", prefix, ":", i)
			published.publish(channel, fixedClient(t, node.Addr))
			channels = append(channels, channel)
		}
		published.awaitPublished(t, 300, channels...)
		received, missing := published.verify(t, a)
		if missing > 0 || count(a.recorder.deliveries(), "offline") > 0 {
			t.Errorf("without a fault %d of %d messages were missing, in %d gaps",
				missing, received, count(a.recorder.deliveries(), "offline"))
		}
		mine, want := "mine:"+prefix+"=", []string{}
		for n := range 200 {
			want = append(want, fmt.Sprint(mine, n))
			if receivers, err := b.Link.Publish(t.Context(), "mine:"+prefix, fmt.Append(nil, n)); err != nil || receivers < 1 {
				t.Fatalf("publishing returned %d, %v", receivers, err)
			}
		}
		b.awaitEvent(t, want[len(want)-1], 1)
		got := slices.DeleteFunc(b.recorder.deliveries(), func(e string) bool { return !strings.HasPrefix(e, mine) })
		if !slices.Equal(got, want) {
			t.Errorf("received %q", got)
		}
	})
}

func TestClusterCheck(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	expectFindings(t, checkBut(t, limits, checkConfig("", []string{"chat:*"}, c.server)),
		"ok cluster: the marker channel is at "+c.masters(t, c.nodes[0])[0].Addr, "ok server: ", "ok version: Redis ",
		"ok role: master", "ok slots: a node serves each of the 16384", "ok bus: ", "ok pattern chat:*: the relay may", "ok receiving markers: allowed",
		"ok publishing markers: allowed",
		"ok other relays: none", "ok self-test: a message that was published")
	single := redistest.Start(t)
	clusterMode := func(c *source.Config) { c.Server.Mode = source.Cluster }
	got := source.Check(t.Context(), checkConfig(single.Addr, []string{"*"}, clusterMode))
	expectFindings(t, got, "fail cluster: the server is not part of a cluster (")
}

// TestClusterPublishCountsRelays publishes as `sidecast publish` does: the
// number of receivers includes the relays, whichever node owns the channel's
// slot.
func TestClusterPublishCountsRelays(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	client, err := source.NewClient(source.Server{Mode: source.Cluster, Address: c.nodes[5].Addr}, access.NewNames("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 2 {
		startLive(t, "", []string{"*"}, c.server)
	}
	for _, channel := range channelNames(10) {
		if n, err := client.Publish(t.Context(), channel, "x").Result(); n != 2 || err != nil {
			t.Errorf("%s: %d receivers, %v", channel, n, err)
		}
	}
	expectFindings(t, checkBut(t, limits, checkConfig("", []string{"*"}, c.server))[9:10], "ok other relays: ")
}

// TestClusterLeastRights uses a user with the rights that the package's
// documentation lists.
func TestClusterLeastRights(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	var user func(*source.Config)
	for _, node := range c.nodes {
		user = aclUser(t, node, "&chat:*", "&sidecast:*", "+publish", "+role", "+info", "+cluster|slots", "+cluster|links")
	}
	l := startLive(t, "", []string{"chat:*"}, c.server, user)
	l.expectDelivery(t, c.nodes[4], "chat:1")
	if _, err := l.Link.Publish(t.Context(), "chat:2", []byte("mine")); err != nil {
		t.Error(err)
	}
	l.awaitEvent(t, "chat:2=mine", 1)
	l.await(t, "a marker", hasMarker)
	l.expectNoWarnings(t)
	for _, node := range c.nodes {
		node.CLI("ACL", "SETUSER", "relay", "-cluster|links")
	}
	eventually(t, "a warning", func() bool {
		c.nodes[0].CLI("PUBLISH", "chat:1", "x")
		return strings.Contains(l.log.String(), "does not report its cluster's bus links")
	})
	l.expectLost(t, 0) // although the right was removed

	found := fmt.Sprint(report(source.Check(t.Context(), checkConfig("", []string{"chat:*"}, c.server, user, durableFirst))))
	if !strings.Contains(found, "warn moving streams: ") || !strings.Contains(found, "grant +asking") {
		t.Errorf("the check does not name the right that is missing while a slot moves: %s", found)
	}
}

// TestClusterReshardLosesNothing moves slots, including that of the marker
// channel, while messages are published. No message is lost, so no gap may be
// reported.
func TestClusterReshardLosesNothing(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	l := startLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	published := newPublishLog(t)
	channels := c.publishers(t, published, masters...)
	published.awaitPublished(t, 100, channels...)
	c.reshard(t, masters[0], masters[1], 1700)
	if now := c.masters(t, masters[1])[0]; now != masters[1] {
		t.Fatal("the slot of the marker channel has not moved")
	}
	published.awaitPublished(t, 1000, channels...)
	l.expectDelivery(t, masters[2], "chat")
	received, missing := published.verify(t, l)
	if missing > 0 || count(l.recorder.deliveries(), "offline") > 0 {
		t.Errorf("%d of %d messages were missing, in %d gaps", missing, received, count(l.recorder.deliveries(), "offline"))
	}
	// A link that is made now uses the new node.
	next := startLive(t, "", []string{"*"}, c.server)
	if tags := next.nodeTags(); tags[0] == l.nodeTags()[0] {
		t.Error("the new node has the tag of the old one")
	}
	// The first link does not follow, which would cause a gap for every client,
	// but logs it.
	l.awaitLog(t, "the marker channel's slot moved")
	l.awaitLog(t, "addr="+masters[0].Addr, "owner="+masters[1].Addr)
	if text := next.log.String(); strings.Contains(text, "the marker channel's slot moved") {
		t.Error("a link at the right node logs a problem")
	}
	if at := c.linkedTo(t); len(at) != 2 {
		t.Errorf("the links are at %q", at)
	}
}

// TestClusterLosesNodes kills the link's node and another one while messages
// are published.
func TestClusterLosesNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, shortNodeTimeout)
	l := startLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	published := newPublishLog(t)
	channels := c.publishers(t, published, masters...)
	published.awaitPublished(t, 100, channels...)

	// Another node than the link's: messages that it had answered and not
	// forwarded are lost.
	masters[2].Kill()
	l.expectDetected(t, 1, detectionLimit)
	l.expectEnded(t, stats.CauseCluster, 1)
	l.awaitLog(t, "cause=cluster", "joined, left or lost its link")
	l.awaitEvent(t, "online", 2)
	published.awaitPublished(t, 100, channels[:2]...)
	eventually(t, "a new master", func() bool {
		now := c.masters(t, masters[1])
		return len(now) == 3 && !slices.Contains(now, masters[2])
	})

	// The link's own node.
	masters[0].Kill()
	eventually(t, "a link to another node", func() bool {
		at := c.linkedTo(t)
		return l.Up() && len(at) == 1 && at[0] != masters[0].Addr
	})
	published.awaitPublished(t, 100, channels[1])
	l.expectDelivery(t, masters[1], "chat")
	l.awaitPublishing(t)
	received, missing := published.verify(t, l)
	t.Logf("%d messages received, %d missing in gaps", received, missing)
}

// TestClusterNodeIsDemoted makes a replica take over from the link's node while
// that node is running: as a replica it would still deliver messages. The first
// failover is blocked, as can happen on a busy machine, and the bus breaks: the
// link reconnects to the node, which is still the right one, and must leave it
// later.
func TestClusterNodeIsDemoted(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	l := startLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	old, replica := masters[0], c.replica(t, masters[0])
	published := newPublishLog(t)
	c.publishers(t, published, masters...)
	const failoverPackets = "8"
	old.CLI("DEBUG", "DROP-CLUSTER-PACKET-FILTER", failoverPackets)
	replica.CLI("CLUSTER", "FAILOVER")
	old.CLI("DEBUG", "CLUSTERLINK", "KILL", "from", c.ids[masters[1].Addr])
	l.awaitEvent(t, "online", 2)
	c.awaitLink(t, l, old)
	old.CLI("DEBUG", "DROP-CLUSTER-PACKET-FILTER", "-1")

	c.failover(t, replica)
	l.expectDetected(t, 2, detectionLimit)
	c.awaitLink(t, l, replica)
	l.awaitLog(t, "cause=cluster", "cause=replica")
	l.expectDelivery(t, old, "chat") // published at a replica, forwarded over the bus
	published.verify(t, l)
}

// misdirectedClient is a cluster client that names a wrong node the given
// number of times. go-redis names an arbitrary node if the node that it asked
// sees no owner for the slot: for a moment in each failover, and for longer on
// a busy machine.
type misdirectedClient struct {
	*redis.ClusterClient
	wrong *redis.Client
	times atomic.Int32
}

func (a *misdirectedClient) MasterForKey(ctx context.Context, key string) (*redis.Client, error) {
	if a.times.Add(-1) >= 0 {
		return a.wrong, nil
	}
	return a.ClusterClient.MasterForKey(ctx, key)
}

// TestClusterNamesWrongNode checks that the link waits for the right node while
// a wrong one is named, and uses the wrong one in the end.
func TestClusterNamesWrongNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	masters := c.masters(t, c.nodes[0])
	for _, test := range []struct {
		times int32
		at    *redistest.Server
	}{{3, masters[0]}, {1 << 30, masters[1]}} {
		l := startLive(t, "", []string{"*"}, c.server, func(cfg *source.Config) {
			cfg.Connect = func(o *redis.UniversalOptions) redis.UniversalClient {
				client := redis.NewUniversalClient(o)
				if cluster, ok := client.(*redis.ClusterClient); ok {
					a := &misdirectedClient{ClusterClient: cluster, wrong: c.clients[masters[1].Addr]}
					a.times.Store(test.times)
					return a
				}
				return client
			}
		})
		c.awaitLink(t, l, test.at)
		l.stop()
		eventually(t, "the link to close", func() bool { return len(c.linkedTo(t)) == 0 })
	}
}
