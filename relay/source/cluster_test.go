package source_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// cluster is three masters with a replica each.
type cluster struct {
	nodes []*redistest.Server
	ids   map[string]string // node ids by address
}

// startCluster starts one.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	redistest.Require(t, "redis-cli", "redis-tools")
	c := &cluster{ids: make(map[string]string)}
	args := []string{"--cluster", "create"}
	for range 6 {
		node := redistest.StartClusterNode(t, "--cluster-node-timeout", "2000")
		c.nodes = append(c.nodes, node)
		args = append(args, node.Addr)
	}
	out, err := exec.Command("redis-cli", append(args, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		t.Fatalf("making the cluster: %v\n%s", err, out)
	}
	for _, node := range c.nodes {
		c.ids[node.Addr] = node.CLI("CLUSTER", "MYID")
		eventually(t, "the cluster", func() bool {
			return strings.Contains(node.CLI("CLUSTER", "INFO"), "cluster_state:ok") &&
				strings.Count(node.CLI("CLUSTER", "NODES"), "slave ") == 3 &&
				!strings.Contains(node.CLI("INFO", "replication"), "master_link_status:down")
		})
	}
	eventually(t, "the bus", func() bool {
		for _, node := range c.nodes {
			if strings.Count(node.CLI("CLUSTER", "LINKS"), "from") != 5 {
				return false
			}
		}
		return true
	})
	return c
}

// server says how to find the cluster.
func (c *cluster) server(cfg *source.Config) {
	cfg.Server.Mode, cfg.Server.Address = source.Cluster, c.nodes[0].Addr
	for _, node := range c.nodes[1:] {
		cfg.Server.More = append(cfg.Server.More, node.Addr)
	}
}

// node returns the node with this address.
func (c *cluster) node(addr string) *redistest.Server {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *redistest.Server) bool { return n.Addr == addr })]
}

// masters returns the masters that live: first the one whose slot the marker channel has.
func (c *cluster) masters(t testing.TB, ask *redistest.Server) []*redistest.Server {
	t.Helper()
	owner, rest := []*redistest.Server(nil), []*redistest.Server(nil)
	const slot = 1654 // of sidecast:mark
	for line := range strings.Lines(ask.CLI("CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		if !strings.Contains(fields[2], "master") || strings.Contains(fields[2], "fail") {
			continue
		}
		addr, _, _ := strings.Cut(fields[1], "@")
		if slices.ContainsFunc(fields[8:], func(span string) bool { return spans(span, slot) }) {
			owner = append(owner, c.node(addr))
		} else {
			rest = append(rest, c.node(addr))
		}
	}
	return append(owner, rest...)
}

// spans reports whether a span of slots as Redis writes it holds one.
func spans(span string, slot int) bool {
	var first, last int
	if n, _ := fmt.Sscanf(span, "%d-%d", &first, &last); n == 1 {
		last = first
	}
	return first <= slot && slot <= last
}

// publishers starts one publisher at each node and returns their channels.
func (c *cluster) publishers(t testing.TB, book *ledger, nodes ...*redistest.Server) (channels []string) {
	for i, node := range nodes {
		channel := fmt.Sprint("chat:", i)
		book.publish(channel, to(t, node.Addr))
		channels = append(channels, channel)
	}
	return channels
}

// linkedTo reports which node has the link's subscriptions.
func (c *cluster) linkedTo(t testing.TB) (addrs []string) {
	t.Helper()
	for _, node := range c.nodes {
		out, err := node.TryCLI("CLIENT", "LIST", "TYPE", "pubsub")
		if err == nil && strings.Contains(out, "sidecast-link") {
			addrs = append(addrs, node.Addr)
		}
	}
	return addrs
}

func TestClusterIsHeardFromOneNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
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
	c := startCluster(t)
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
	c := startCluster(t)
	client, err := source.NewClient(source.Server{Mode: source.Cluster, Address: c.nodes[5].Addr}, relay.NewNames("", ""))
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
	c := startCluster(t)
	var user func(*source.Config)
	for _, node := range c.nodes {
		user = aclUser(t, node, "&chat:*", "&sidecast:*", "+publish", "+role", "+info", "+cluster|slots", "+cluster|links")
	}
	l := run(t, "", []string{"chat:*"}, c.server, user)
	l.awaitEvent(t, "online", 1)
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
	c := startCluster(t)
	l := run(t, "", []string{"*"}, c.server)
	l.awaitEvent(t, "online", 1)
	masters := c.masters(t, c.nodes[0])
	book := newLedger(t)
	channels := c.publishers(t, book, masters...)
	book.flows(t, 100, channels...)
	out, err := exec.Command("redis-cli", "--cluster", "reshard", masters[0].Addr, "--cluster-from", c.ids[masters[0].Addr],
		"--cluster-to", c.ids[masters[1].Addr], "--cluster-slots", "1700", "--cluster-yes").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-2000):])
	}
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
	next := run(t, "", []string{"*"}, c.server)
	next.awaitEvent(t, "online", 1)
	if tags := next.tags(); tags[0] == l.tags()[0] {
		t.Error("the tag of the old node is given to the new one")
	}
}

// TestClusterLosesNodes kills the node that the link is connected to, and another one, while messages flow.
func TestClusterLosesNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	l := run(t, "", []string{"*"}, c.server)
	l.awaitEvent(t, "online", 1)
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
	l.ended(t, relay.CauseCluster, 1)
	l.says(t, "cause=cluster", "came, went or lost its link")
	l.awaitEvent(t, "online", 2)
	book.flows(t, 100, channels[:2]...)
	eventually(t, "a new master", func() bool {
		now := c.masters(t, masters[1])
		return len(now) == 3 && !slices.Contains(now, masters[2])
	})

	// The link's own.
	masters[0].Kill()
	l.await(t, "a link to another node", func([]string) bool {
		return l.Up() && len(c.linkedTo(t)) == 1 && c.linkedTo(t)[0] != masters[0].Addr
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

// TestClusterBusBreaks stops the link's node for longer than the others wait for it: they give up their links to it, with
// what was in them, while the relay's stays.
func TestClusterBusBreaks(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	l := run(t, "", []string{"*"}, c.server)
	l.awaitEvent(t, "online", 1)
	masters := c.masters(t, c.nodes[0])
	book := newLedger(t)
	channels := c.publishers(t, book, masters...)
	book.flows(t, 100, channels...)
	for _, node := range c.nodes {
		node.CLI("CONFIG", "SET", "cluster-replica-no-failover", "yes")
	}
	masters[0].Stop()
	<-time.After(6500 * time.Millisecond) // the node timeout is 2 s, and the link would be given up after 8
	masters[0].Cont()
	l.awaitEvent(t, "offline", 1)
	l.says(t, "cause=cluster")
	l.awaitEvent(t, "online", 2)
	book.flows(t, 100, channels[0])
	book.judge(t, l)
}

// TestClusterDemotesTheLinksNode fails the link's node over while it lives: as a replica it would go on to relay.
func TestClusterDemotesTheLinksNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	l := run(t, "", []string{"*"}, c.server)
	l.awaitEvent(t, "online", 1)
	old := c.masters(t, c.nodes[0])[0]
	var replica *redistest.Server
	for line := range strings.Lines(old.CLI("CLUSTER", "NODES")) {
		if fields := strings.Fields(line); fields[3] == c.ids[old.Addr] {
			addr, _, _ := strings.Cut(fields[1], "@")
			replica = c.node(addr)
		}
	}
	book := newLedger(t)
	c.publishers(t, book, c.masters(t, c.nodes[0])...)
	began := time.Now()
	replica.CLI("CLUSTER", "FAILOVER")
	l.awaitEvent(t, "offline", 1)
	if took := time.Since(began); took > detection {
		t.Errorf("found after %v", took)
	}
	l.await(t, "a link to the new master", func([]string) bool { return l.Up() && slices.Equal(c.linkedTo(t), []string{replica.Addr}) })
	l.lives(t, old, "chat") // from a replica, over the bus
	book.judge(t, l)
}
