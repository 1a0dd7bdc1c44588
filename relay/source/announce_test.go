package source_test

import (
	"net"
	"strings"
	"testing"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// TestUnreachableAnnouncement uses a Sentinel and a cluster that announce an
// address at which nothing listens, as behind a NAT. The log and the check say
// who announced which address.
func TestUnreachableAnnouncement(t *testing.T) {
	t.Parallel()
	unused := redistest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(unused)
	sentinel := redistest.StartSentinel(t, redistest.At(t, unused))
	node := redistest.StartClusterNode(t, "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", port)
	node.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	eventually(t, "the cluster", func() bool { return strings.Contains(node.CLI("CLUSTER", "INFO"), "cluster_state:ok") })
	for by, change := range map[string]func(*source.Config){
		"Sentinel " + sentinel.Addr: sentinels(sentinel.Addr),
		"node " + node.Addr: func(c *source.Config) {
			c.Server.Mode, c.Server.Address = source.Cluster, node.Addr
		},
	} {
		l := startLink(t, "", []string{"*"}, change)
		const problem = "the address that Redis announces cannot be reached from here: nothing listens at this address"
		l.awaitLog(t, problem, "-announce-ip", by+" announces the address "+unused)
		l.stop()
		found := strings.Join(report(source.Check(t.Context(), checkConfig("", []string{"*"}, change))), "\n")
		if !strings.Contains(found, "fail server: "+problem+" ("+by+" announces the address "+unused) {
			t.Errorf("the check reports\n%s", found)
		}
	}
}

// TestClusterMasterIsUnreachable checks that the check names a master of the
// cluster that cannot be reached, although it is not the link's node.
func TestClusterMasterIsUnreachable(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	masters := c.masters(t, c.nodes[0])
	masters[2].Kill()
	one := func(cfg *source.Config) { cfg.Server.Mode, cfg.Server.Address = source.Cluster, masters[0].Addr }
	found := strings.Join(report(source.Check(t.Context(), checkConfig("", []string{"*"}, one))), "\n")
	if !strings.Contains(found, "fail master "+masters[2].Addr+": the address that Redis announces") ||
		!strings.Contains(found, "node "+masters[0].Addr+" announces the address "+masters[2].Addr) {
		t.Errorf("the check reports\n%s", found)
	}
}

// TestSilentLogin checks that a server that accepts the connection and does not
// answer is not reported as one that cannot be reached.
func TestSilentLogin(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	proxy.Hold(faultproxy.Both...)
	l := startLink(t, proxy.Addr, []string{"*"})
	l.awaitLog(t, "accepts the connection, but does not answer the login")
}
