package redistest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// MasterName is the name by which the Sentinels know their master.
const MasterName = "main"

// groupPatience bounds waiting for Sentinels: they look at a server's role every 10 s, and let an old master be one for 8 s
// more before they make it a replica.
const groupPatience = time.Minute

// Group is a master, a replica and three Sentinels that watch them. Its methods may be called by one goroutine at a time.
type Group struct {
	Nodes     []*Server // of which one is the master; the first at the beginning
	Sentinels []*Server

	t testing.TB
}

// StartGroup starts a group with args for its two nodes, and waits until all know each other.
func StartGroup(t testing.TB, args ...string) *Group {
	t.Helper()
	master := Start(t, args...)
	replica := Start(t, slices.Concat(args, []string{"--replicaof", "127.0.0.1 " + master.Port()})...)
	g := &Group{t: t, Nodes: []*Server{master, replica}}
	await(t, "the replica", func() bool { return follows(replica) })
	for range 3 {
		g.Sentinels = append(g.Sentinels, StartSentinel(t, master))
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i, s := range g.Sentinels {
				log := s.Log()
				t.Logf("the log of Sentinel %d ends: %s", i, log[max(0, len(log)-4000):])
			}
		}
	})
	await(t, "the Sentinels to know each other and the replica", func() bool {
		return !slices.ContainsFunc(g.Sentinels, func(s *Server) bool {
			known := view(s)
			return known["num-slaves"] != "1" || known["num-other-sentinels"] != "2" || known["flags"] != "master"
		})
	})
	return g
}

// StartSentinel is [Start] for a Sentinel that watches a master, with more lines in its configuration. Two have to agree
// for a failover.
func StartSentinel(t testing.TB, master *Server, more ...string) *Server {
	t.Helper()
	Require(t, "redis-server", "redis-server")
	return start(t, sentinelReady, func(port string) []string {
		lines := []string{
			"bind 127.0.0.1", "port " + port, "dir " + t.TempDir(),
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", MasterName, master.Port()),
			// On a busy machine Sentinels with less patience begin failovers of their own, and give up those that they are asked
			// for. With more they would leave a group for long that has lost its master to confusion.
			"sentinel down-after-milliseconds " + MasterName + " 5000",
			"sentinel failover-timeout " + MasterName + " 10000",
		}
		config := strings.Join(append(lines, more...), "\n") + "\n"
		return []string{WriteFile(t, "sentinel.conf", []byte(config)), "--sentinel"}
	})
}

// Master returns the address that the first Sentinel names.
func (g *Group) Master() string {
	g.t.Helper()
	known := view(g.Sentinels[0])
	return net.JoinHostPort(known["ip"], known["port"])
}

// SentinelAddrs returns the addresses of the Sentinels.
func (g *Group) SentinelAddrs() (addrs []string) {
	for _, sentinel := range g.Sentinels {
		addrs = append(addrs, sentinel.Addr)
	}
	return addrs
}

// URL returns the group as a redis:// URL of its Sentinels.
func (g *Group) URL() string {
	addrs := g.SentinelAddrs()
	return "redis://" + addrs[0] + "?addr=" + strings.Join(addrs[1:], "&addr=") + "&master_name=" + MasterName
}

// Failover makes the replica the master while the old one lives, and waits until that is over.
func (g *Group) Failover() {
	g.t.Helper()
	old := g.Master()
	var asked time.Time
	await(g.t, "the failover", func() bool {
		if g.Master() != old {
			return true
		}
		if time.Since(asked) > 3*time.Second { // Sentinels refuse one too soon, and give up one that they had begun
			if _, err := g.Sentinels[0].TryCLI("SENTINEL", "FAILOVER", MasterName); err == nil {
				asked = time.Now()
			}
		}
		return false
	})
	// A Sentinel that has not heard of it would take the new master for a replica that went astray, and set it right.
	await(g.t, "all Sentinels to agree", func() bool {
		return !slices.ContainsFunc(g.Sentinels, func(s *Server) bool {
			known := view(s)
			return known["flags"] != "master" || net.JoinHostPort(known["ip"], known["port"]) == old
		})
	})
	await(g.t, "the old master to follow", func() bool {
		return follows(g.Nodes[slices.IndexFunc(g.Nodes, func(s *Server) bool { return s.Addr == old })])
	})
}

// view returns what a Sentinel knows of the master; nothing if it does not answer.
func view(sentinel *Server) map[string]string {
	known := make(map[string]string)
	text, err := sentinel.TryCLI("SENTINEL", "MASTER", MasterName)
	if err != nil {
		return known
	}
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		known[lines[i]] = lines[i+1]
	}
	return known
}

// follows reports whether a server is a replica that has what its master has. Sentinels close every client's connection
// when they change a server, so that it may not answer.
func follows(s *Server) bool {
	text, err := s.TryCLI("INFO", "replication")
	return err == nil && strings.Contains(text, "master_link_status:up")
}

// await returns when ok does.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(groupPatience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
