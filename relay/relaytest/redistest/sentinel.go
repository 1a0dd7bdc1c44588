package redistest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// MasterName is the name of the master in the Sentinels' configuration.
const MasterName = "main"

// groupPatience bounds waiting for Sentinels. They check a server's role every
// 10 s, and wait another 8 s before they turn an old master into a replica.
const groupPatience = time.Minute

// Group is a master, a replica and three Sentinels that monitor them. Its
// methods may be called by one goroutine at a time.
type Group struct {
	Nodes     []*Server // one of them is the master; at the start it is the first
	Sentinels []*Server

	t testing.TB
}

// StartGroup starts a group with args for its two nodes, and waits until all
// know each other.
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

// StartSentinel is [Start] for a Sentinel that monitors a master, with more
// lines in its configuration. A failover needs two Sentinels that agree.
func StartSentinel(t testing.TB, master *Server, more ...string) *Server {
	t.Helper()
	Require(t, "redis-server", "redis-server")
	return start(t, sentinelReady, func(port string) []string {
		lines := []string{
			"bind 127.0.0.1", "port " + port, "dir " + t.TempDir(),
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", MasterName, master.Port()),
			// With shorter times, Sentinels on a busy machine start failovers
			// that no test has requested, and abort requested ones. With longer
			// times, a group without a master would stay without one for too
			// long.
			"sentinel down-after-milliseconds " + MasterName + " 5000",
			"sentinel failover-timeout " + MasterName + " 10000",
		}
		config := strings.Join(append(lines, more...), "\n") + "\n"
		return []string{WriteFile(t, "sentinel.conf", []byte(config)), "--sentinel"}
	})
}

// Master returns the master's address according to the first Sentinel.
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

// URL returns a redis:// URL with the addresses of the Sentinels.
func (g *Group) URL() string {
	addrs := g.SentinelAddrs()
	return "redis://" + addrs[0] + "?addr=" + strings.Join(addrs[1:], "&addr=") + "&master_name=" + MasterName
}

// Failover turns the replica into the master while the old master is running,
// and waits until all Sentinels agree and the old master is a replica.
func (g *Group) Failover() {
	g.t.Helper()
	old := g.Master()
	var requested time.Time
	await(g.t, "the failover", func() bool {
		if g.Master() != old {
			return true
		}
		// Sentinels reject a failover that follows another too soon, and may
		// abort one that they have started.
		if time.Since(requested) > 3*time.Second {
			if _, err := g.Sentinels[0].TryCLI("SENTINEL", "FAILOVER", MasterName); err == nil {
				requested = time.Now()
			}
		}
		return false
	})
	// A Sentinel that does not know of the failover would turn the new master
	// back into a replica.
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

// view returns the fields of a Sentinel's answer to SENTINEL MASTER, empty if
// it does not answer.
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

// follows reports whether a server is a replica that is connected to its
// master. It reports false if the server does not answer: Sentinels close all
// client connections when they reconfigure a server.
func follows(s *Server) bool {
	text, err := s.TryCLI("INFO", "replication")
	return err == nil && strings.Contains(text, "master_link_status:up")
}

// await waits until ok returns true, for at most groupPatience.
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
			t.Fatalf("waiting for %s: timeout after %v", what, groupPatience)
		}
	}
}
