package redistest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// StartCluster runs a Redis Cluster of three masters, each with some replicas,
// and waits until the nodes agree and are connected to each other. args are as
// for [Start]. It skips the test if redis-cli is not installed.
func StartCluster(t testing.TB, replicas int, args ...string) (nodes []*Server) {
	t.Helper()
	Require(t, "redis-cli", "redis-tools")
	create := []string{"--cluster", "create"}
	for range 3 * (1 + replicas) {
		node := StartClusterNode(t, args...)
		nodes = append(nodes, node)
		create = append(create, node.Addr)
	}
	create = append(create, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")
	if out, err := exec.CommandContext(t.Context(), "redis-cli", create...).CombinedOutput(); err != nil {
		t.Fatalf("creating the cluster: %v\n%s", err, out)
	}
	limit := time.Now().Add(clusterTimeout)
	for _, node := range nodes {
		for missing := node.missing(len(nodes), replicas); missing != ""; missing = node.missing(len(nodes), replicas) {
			if time.Now().After(limit) {
				t.Fatalf("the node at %s of the cluster: %s", node.Addr, missing)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nodes
}

// clusterTimeout bounds how long the nodes of a cluster may take to agree.
const clusterTimeout = time.Minute

// missing returns what a node does not know yet of a cluster of this size.
func (s *Server) missing(nodes, replicas int) string {
	s.t.Helper()
	switch {
	case !strings.Contains(s.CLI("CLUSTER", "INFO"), "cluster_state:ok"):
		return "it does not know all slots"
	case strings.Count(s.CLI("CLUSTER", "NODES"), "slave ") != 3*replicas:
		return "it does not know all replicas"
	case strings.Contains(s.CLI("INFO", "replication"), "master_link_status:down"):
		return "it is not connected to its master"
	case strings.Count(s.CLI("CLUSTER", "LINKS"), "from") != nodes-1:
		return "some other nodes are not connected to it"
	}
	return ""
}
