package source_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// checkOnly returns the findings about some subjects.
func checkOnly(t *testing.T, cfg source.Config, subjects ...string) []source.Finding {
	t.Helper()
	return slices.DeleteFunc(source.Check(t.Context(), cfg), func(f source.Finding) bool { return !slices.Contains(subjects, f.Subject) })
}

// The limits of a real server are reported. It is not a problem that a user may
// not ask for them.
func TestCheckLimits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	expect := func(why string, changes []func(*source.Config), want ...string) {
		t.Helper()
		t.Log(why)
		expectFindings(t, checkOnly(t, checkConfig(server.Addr, []string{"chat:*"}, changes...), limits...), want...)
	}
	const clock, buffer = "ok clock: the clocks of Redis and this machine agree",
		"ok output buffer: Redis closes the connection of a relay for which more than 32 MiB, or 8 MiB for 60 s wait"
	expect("defaults", nil, clock, "ok clients: ", "ok memory: ", buffer)
	expect("defaults, RESP3", []func(*source.Config){protocol(3)}, clock, "ok clients: ", "ok memory: ", buffer)
	server.CLI("CONFIG", "SET", "maxclients", "40")
	server.CLI("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
	server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
	expect("limits that only durable channels miss", nil, clock, "ok clients: ",
		"ok memory: 0 % of maxmemory (1 GiB) are in use, and the policy is allkeys-lru; live channels need no keys",
		"warn output buffer: Redis closes the connection of a relay for which more than 1 MiB wait: ")
	server.CLI("CONFIG", "SET", "maxclients", "20")
	expect("a relay with durable channels", []func(*source.Config){durableFirst}, clock, "warn clients: ",
		"warn memory: 0 % of maxmemory (1 GiB) are in use, and the policy is allkeys-lru: when it is full, Redis deletes keys, and then messages",
		"warn output buffer: ")
	expect("a user without these rights", []func(*source.Config){aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role")},
		"ok clock: not compared: ", "ok clients: not checked: ", "ok memory: not checked: ", "ok output buffer: not checked: only this check")
}

// A server without the command CONFIG, as at some managed services, is no
// problem.
func TestCheckWithoutConfig(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "CONFIG", "")
	expectFindings(t, checkOnly(t, checkConfig(server.Addr, []string{"chat:*"}), "output buffer"),
		"ok output buffer: not checked: the server does not let users see its configuration")
}

// The check finds a slot that no node serves, the node of a cluster that may
// delete streams, and a setting without which a cluster is used like one server.
func TestClusterCheckLimits(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 0, "--cluster-node-timeout", "20000")
	cfg := func() source.Config {
		return checkConfig(nodes[0].Addr, []string{"order:*"}, durableFirst, func(c *source.Config) { c.Server.Mode = source.Cluster })
	}
	expectFindings(t, checkOnly(t, cfg(), "slots", "memory"), "ok memory: ", "ok slots: a node serves each of the 16384")
	alone := checkConfig(nodes[0].Addr, []string{"order:*"})
	expectFindings(t, checkOnly(t, alone, "mode"), "warn mode: the server is a node of a cluster: ")
	expectFindings(t, checkOnly(t, cfg(), "mode"))
	nodes[2].CLI("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
	expectFindings(t, checkOnly(t, cfg(), "memory"), "warn memory: at "+nodes[2].Addr+", ")
	deleteSlots(t, nodes, "16000", "16099", 16284)
	expectFindings(t, checkOnly(t, cfg(), "slots"), "fail slots: no node serves 100 of 16384 (16000-16099): ")
	const markerSlot = "1654"
	deleteSlots(t, nodes, markerSlot, markerSlot, 16283)
	got := strings.Join(report(source.Check(t.Context(), cfg())), "\n")
	if !strings.Contains(got, "fail slots: no node serves 101 of 16384 (1654-1654, 16000-16099): ") {
		t.Errorf("without the slot of the markers, the check reports\n%s", got)
	}
}

// deleteSlots takes slots from all nodes of a cluster until so many are left. A
// node that hears from the owner before the owner does not have them any more
// assigns them again.
func deleteSlots(t *testing.T, nodes []*redistest.Server, first, last string, left int) {
	t.Helper()
	without := 0 // how often in a row all nodes were without them
	eventually(t, "the slots to be deleted", func() bool {
		without++
		for _, node := range nodes {
			if !strings.Contains(node.CLI("CLUSTER", "INFO"), fmt.Sprintf("cluster_slots_assigned:%d\r\n", left)) {
				_, _ = node.TryCLI("CLUSTER", "DELSLOTSRANGE", first, last)
				without = 0
			}
		}
		return without == 3
	})
}
