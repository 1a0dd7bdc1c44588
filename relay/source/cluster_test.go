package source_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

func TestClusterIsHeardFromOneNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	owner := c.masters(t, c.nodes[0])[0]
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		a, b := run(t, "", []string{"*"}, c.server, speak), run(t, "", []string{"*"}, c.server, speak)
		a.awaitEvent(t, "online", 1)
		b.awaitEvent(t, "online", 1)
		if at := c.linkedTo(t); !slices.Equal(at, []string{owner.Addr}) {
			t.Errorf("linked to %q, want %q, which has the marker channel", at, owner.Addr)
		}
		if a.tags()[0] != b.tags()[0] {
			t.Error("two relays at one node have two tags")
		}
		b.await(t, "a marker", hasMarker)
		prefix := t.Name()[len(t.Name())-1:] // both protocols share the cluster
		book := newLedger(t)
		channels := []string{}
		for i, node := range c.nodes { // replicas too
			channel := fmt.Sprint("chat:", prefix, ":", i)
			book.publish(channel, to(t, node.Addr))
			channels = append(channels, channel)
		}
		book.flows(t, 300, channels...)
		heard, missing := book.judge(t, a)
		if missing > 0 || count(a.recorder.log(), "offline") > 0 {
			t.Errorf("in a quiet run %d of %d were missing: %d gaps", missing, heard, count(a.recorder.log(), "offline"))
		}
		const messages = 200
		mine := "mine:" + prefix
		for n := range messages {
			if receivers, err := b.Link.Publish(t.Context(), mine, fmt.Append(nil, n)); err != nil || receivers < 1 {
				t.Fatalf("publishing returned %d, %v", receivers, err)
			}
		}
		b.awaitEvent(t, fmt.Sprint(mine, "=", messages-1), 1)
		var got []string
		for _, event := range b.recorder.log() {
			if strings.HasPrefix(event, mine+"=") {
				got = append(got, event)
			}
		}
		for n, event := range got {
			if want := fmt.Sprint(mine, "=", n); event != want {
				t.Fatalf("heard %q where %q was published", event, want)
			}
		}
	})
}

func TestClusterCheck(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	expectFindings(t, source.Check(t.Context(), checkConfig("", []string{"chat:*"}, c.server)),
		"ok cluster: the marker channel is at "+c.masters(t, c.nodes[0])[0].Addr, "ok server: ", "ok version: Redis ",
		"ok role: master", "ok bus: ", "ok pattern chat:*: may", "ok hearing markers: allowed", "ok publishing markers: allowed",
		"ok other relays: none")
	single := redistest.Start(t)
	got := source.Check(t.Context(), checkConfig(single.Addr, []string{"*"}, func(c *source.Config) { c.Server.Mode = source.Cluster }))
	expectFindings(t, got, "fail cluster: the server is not part of a cluster (")
}

// TestClusterCountsRelays publishes as `sidecast publish` does: who hears it is counted wherever the channel's slot is.
func TestClusterCountsRelays(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	client, err := source.NewClient(source.Server{Mode: source.Cluster, Address: c.nodes[5].Addr}, access.NewNames("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a, b := run(t, "", []string{"*"}, c.server), run(t, "", []string{"*"}, c.server)
	a.awaitEvent(t, "online", 1)
	b.awaitEvent(t, "online", 1)
	for _, channel := range channelNames(10) {
		if n, err := client.Publish(t.Context(), channel, "x").Result(); n != 2 || err != nil {
			t.Errorf("%s: %d receivers, %v", channel, n, err)
		}
	}
	expectFindings(t, source.Check(t.Context(), checkConfig("", []string{"*"}, c.server))[8:], "ok other relays: ")
}

// TestClusterLeastRights has a user with what the package's documentation asks for.
func TestClusterLeastRights(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	var user func(*source.Config)
	for _, node := range c.nodes {
		user = aclUser(t, node, "&chat:*", "&sidecast:*", "+publish", "+role", "+info", "+cluster|slots", "+cluster|links")
	}
	l := goLive(t, "", []string{"chat:*"}, c.server, user)
	l.lives(t, c.nodes[4], "chat:1")
	if _, err := l.Link.Publish(t.Context(), "chat:2", []byte("mine")); err != nil {
		t.Error(err)
	}
	l.awaitEvent(t, "chat:2=mine", 1)
	l.await(t, "a marker", hasMarker)
	if text := l.log.String(); strings.Contains(text, "level=WARN") || strings.Contains(text, "level=ERROR") {
		t.Error("a relay with the rights that are asked for complains")
	}
	for _, node := range c.nodes {
		node.CLI("ACL", "SETUSER", "relay", "-cluster|links")
	}
	eventually(t, "a warning", func() bool {
		c.nodes[0].CLI("PUBLISH", "chat:1", "x")
		return strings.Contains(l.log.String(), "does not tell of its cluster's bus")
	})
	if count(l.recorder.log(), "offline") > 0 {
		t.Error("without the right the link was lost")
	}
}

// TestClusterReshards moves slots, that of the marker channel among them, while messages flow. Nothing is lost by it, so
// nobody may be told of a gap.
func TestClusterReshards(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	l := goLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	book := newLedger(t)
	channels := c.publishers(t, book, masters...)
	book.flows(t, 100, channels...)
	c.reshard(t, masters[0], masters[1], 1700)
	if now := c.masters(t, masters[1])[0]; now != masters[1] {
		t.Fatal("the slot of the marker channel has not moved")
	}
	book.flows(t, 1000, channels...)
	l.lives(t, masters[2], "chat")
	heard, missing := book.judge(t, l)
	if missing > 0 || count(l.recorder.log(), "offline") > 0 {
		t.Errorf("%d of %d were missing in %d gaps", missing, heard, count(l.recorder.log(), "offline"))
	}
	// Whoever links now meets the others at the new node.
	next := goLive(t, "", []string{"*"}, c.server)
	if tags := next.tags(); tags[0] == l.tags()[0] {
		t.Error("the tag of the old node is given to the new one")
	}
	// The first one does not follow, which would be a gap for everybody, but says so.
	l.says(t, "marker channel has moved")
	l.says(t, "addr="+masters[0].Addr, "owner="+masters[1].Addr)
	if text := next.log.String(); strings.Contains(text, "marker channel has moved") {
		t.Error("a link at the right node complains")
	}
	if at := c.linkedTo(t); len(at) != 2 {
		t.Errorf("the links are at %q", at)
	}
}

// TestClusterLosesNodes kills the node that the link is connected to, and another one, while messages flow.
func TestClusterLosesNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, hastyNodes)
	l := goLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	book := newLedger(t)
	channels := c.publishers(t, book, masters...)
	book.flows(t, 100, channels...)

	// Another node than the link's: what it had answered and not passed on is lost.
	began := time.Now()
	masters[2].Kill()
	l.awaitEvent(t, "offline", 1)
	if took := time.Since(began); took > detection {
		t.Errorf("found after %v", took)
	}
	l.ended(t, stats.CauseCluster, 1)
	l.says(t, "cause=cluster", "came, went or lost its link")
	l.awaitEvent(t, "online", 2)
	book.flows(t, 100, channels[:2]...)
	eventually(t, "a new master", func() bool {
		now := c.masters(t, masters[1])
		return len(now) == 3 && !slices.Contains(now, masters[2])
	})

	// The link's own.
	masters[0].Kill()
	eventually(t, "a link to another node", func() bool {
		at := c.linkedTo(t)
		return l.Up() && len(at) == 1 && at[0] != masters[0].Addr
	})
	book.flows(t, 100, channels[1])
	l.lives(t, masters[1], "chat")
	eventually(t, "publishing by the relay", func() bool {
		_, err := l.Link.Publish(t.Context(), "mine", nil)
		return err == nil
	})
	heard, missing := book.judge(t, l)
	t.Logf("heard %d, told of a gap with %d missing", heard, missing)
}

// TestClusterDemotesTheLinksNode fails the link's node over while it lives: as a replica it would go on to relay. First that
// comes to nothing, as it does on a busy machine, while the bus breaks: the link comes back to the node, which is still the
// right one, and has to leave it then.
func TestClusterDemotesTheLinksNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	l := goLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	old, replica := masters[0], c.replica(t, masters[0])
	book := newLedger(t)
	c.publishers(t, book, masters...)
	const failoverPackets = "8"
	old.CLI("DEBUG", "DROP-CLUSTER-PACKET-FILTER", failoverPackets)
	replica.CLI("CLUSTER", "FAILOVER")
	old.CLI("DEBUG", "CLUSTERLINK", "KILL", "from", c.ids[masters[1].Addr])
	l.awaitEvent(t, "online", 2)
	c.awaitLink(t, l, old)
	old.CLI("DEBUG", "DROP-CLUSTER-PACKET-FILTER", "-1")

	c.failover(t, replica)
	began := time.Now()
	l.awaitEvent(t, "offline", 2)
	if took := time.Since(began); took > detection {
		t.Errorf("found after %v", took)
	}
	c.awaitLink(t, l, replica)
	l.says(t, "cause=cluster", "cause=replica")
	l.lives(t, old, "chat") // from a replica, over the bus
	book.judge(t, l)
}

// astray is a client of a cluster that names a wrong node so often, as go-redis names any where a node that it asked had
// nobody for the slot: for a moment in each failover, and for longer on a busy machine.
type astray struct {
	*redis.ClusterClient
	wrong *redis.Client
	times atomic.Int32
}

func (a *astray) MasterForKey(ctx context.Context, key string) (*redis.Client, error) {
	if a.times.Add(-1) >= 0 {
		return a.wrong, nil
	}
	return a.ClusterClient.MasterForKey(ctx, key)
}

// TestClusterNamesAnyNode looks for the right node where a wrong one is named, and makes do with that in the end.
func TestClusterNamesAnyNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	masters := c.masters(t, c.nodes[0])
	for _, test := range []struct {
		times int32
		at    *redistest.Server
	}{{3, masters[0]}, {1 << 30, masters[1]}} {
		l := goLive(t, "", []string{"*"}, c.server, func(cfg *source.Config) {
			cfg.Connect = func(o *redis.UniversalOptions) redis.UniversalClient {
				client := redis.NewUniversalClient(o)
				if cluster, ok := client.(*redis.ClusterClient); ok {
					a := &astray{ClusterClient: cluster, wrong: c.clients[masters[1].Addr]}
					a.times.Store(test.times)
					return a
				}
				return client
			}
		})
		c.awaitLink(t, l, test.at)
		l.stop()
		eventually(t, "the link to be gone", func() bool { return len(c.linkedTo(t)) == 0 })
	}
}
