package source_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// cluster is a Redis Cluster of three masters with one replica each.
type cluster struct {
	nodes   []*redistest.Server
	ids     map[string]string        // node ids by address
	clients map[string]*redis.Client // by address
}

// How long a node may be silent before other nodes consider it dead; they close
// their links to it after half of that time. On a busy machine processes may
// wait for more than a second, so tests in which no node dies use the long
// timeout: otherwise the nodes would break the bus themselves.
const (
	longNodeTimeout  = 20 * time.Second
	shortNodeTimeout = 2 * time.Second
)

// startCluster starts a cluster. timeout is its cluster-node-timeout.
func startCluster(t testing.TB, timeout time.Duration) *cluster {
	t.Helper()
	c := &cluster{ids: make(map[string]string), clients: make(map[string]*redis.Client)}
	c.nodes = redistest.StartCluster(t, 1,
		"--cluster-node-timeout", fmt.Sprint(timeout.Milliseconds()), "--enable-debug-command", "yes")
	for _, node := range c.nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr, MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		c.clients[node.Addr] = client
		c.ids[node.Addr] = node.CLI("CLUSTER", "MYID")
	}
	return c
}

// server makes a link use the cluster.
func (c *cluster) server(cfg *source.Config) {
	cfg.Server.Mode, cfg.Server.Address = source.Cluster, c.nodes[0].Addr
	for _, node := range c.nodes[1:] {
		cfg.Server.More = append(cfg.Server.More, node.Addr)
	}
}

// reshard moves the first slots of one master to another.
func (c *cluster) reshard(t testing.TB, from, to *redistest.Server, slots int) {
	t.Helper()
	out, err := exec.Command("redis-cli", "--cluster", "reshard", from.Addr, "--cluster-from", c.ids[from.Addr],
		"--cluster-to", c.ids[to.Addr], "--cluster-slots", fmt.Sprint(slots), "--cluster-yes").CombinedOutput()
	if err != nil {
		t.Fatalf("moving slots: %v\n%s", err, out[max(0, len(out)-2000):])
	}
}

// node returns the node with this address.
func (c *cluster) node(addr string) *redistest.Server {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *redistest.Server) bool { return n.Addr == addr })]
}

// masters returns the running masters. The first one owns the slot of the
// marker channel.
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

// spans reports whether a range of slots in Redis's notation contains a slot.
func spans(span string, slot int) bool {
	var first, last int
	if n, _ := fmt.Sscanf(span, "%d-%d", &first, &last); n == 1 {
		last = first
	}
	return first <= slot && slot <= last
}

// publishers starts one publisher at each node and returns their channels.
func (c *cluster) publishers(t testing.TB, published *publishLog, nodes ...*redistest.Server) (channels []string) {
	for i, node := range nodes {
		channel := fmt.Sprint("chat:", i)
		published.publish(channel, fixedClient(t, node.Addr))
		channels = append(channels, channel)
	}
	return channels
}

// linkedTo returns the nodes that have a link's subscriptions.
func (c *cluster) linkedTo(t testing.TB) (addrs []string) {
	t.Helper()
	for _, node := range c.nodes {
		out, err := c.clients[node.Addr].Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
		if err == nil && strings.Contains(out, "sidecast-link") {
			addrs = append(addrs, node.Addr)
		}
	}
	return addrs
}

// awaitLink waits until the link is up, and only that node has its
// subscriptions.
func (c *cluster) awaitLink(t testing.TB, l *runningLink, node *redistest.Server) {
	t.Helper()
	eventually(t, "the link at "+node.Addr, func() bool {
		return l.Up() && slices.Equal(c.linkedTo(t), []string{node.Addr})
	})
}

// replica returns the replica of a master.
func (c *cluster) replica(t testing.TB, master *redistest.Server) *redistest.Server {
	t.Helper()
	for line := range strings.Lines(master.CLI("CLUSTER", "NODES")) {
		if fields := strings.Fields(line); fields[3] == c.ids[master.Addr] {
			addr, _, _ := strings.Cut(fields[1], "@")
			return c.node(addr)
		}
	}
	t.Fatalf("%s has no replica", master.Addr)
	return nil
}

// failover makes a replica the master while the old master is running.
func (c *cluster) failover(t testing.TB, replica *redistest.Server) {
	t.Helper()
	var asked time.Time
	eventually(t, "the failover", func() bool {
		role, err := c.clients[replica.Addr].Do(t.Context(), "ROLE").Slice()
		if err == nil && role[0] == "master" {
			return true
		}
		if time.Since(asked) > 6*time.Second { // the replica gives up after 5 s if the votes arrive slowly
			replica.CLI("CLUSTER", "FAILOVER")
			asked = time.Now()
		}
		return false
	})
}

// since returns when the links of a node in one direction were created, by the
// ids of the nodes at their other ends.
func (c *cluster) since(t testing.TB, node *redistest.Server, direction string) map[string]int64 {
	t.Helper()
	links, err := c.clients[node.Addr].Do(t.Context(), "CLUSTER", "LINKS").Slice()
	if err != nil {
		t.Fatal(err)
	}
	created := make(map[string]int64)
	for _, link := range links {
		fields := link.(map[any]any)
		if fields["direction"] == direction {
			created[fields["node"].(string)] = fields["create-time"].(int64)
		}
	}
	return created
}
