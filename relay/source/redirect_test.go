package source_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stream"
)

// addNode adds a master without slots to the cluster.
func (c *cluster) addNode(t testing.TB) *redistest.Server {
	t.Helper()
	node := redistest.StartClusterNode(t)
	bus := c.nodes[0].CLI("CONFIG", "GET", "cluster-port")
	node.CLI("CLUSTER", "MEET", "127.0.0.1", c.nodes[0].Port(), strings.TrimPrefix(bus, "cluster-port\n"))
	all := append(slices.Clone(c.nodes), node)
	eventually(t, "every node to have links from all others", func() bool {
		return !slices.ContainsFunc(all, func(n *redistest.Server) bool {
			return strings.Count(n.CLI("CLUSTER", "LINKS"), "from") != len(c.nodes)
		})
	})
	eventually(t, "the new node", func() bool {
		return strings.Contains(node.CLI("CLUSTER", "INFO"), "cluster_state:ok")
	})
	c.ids[node.Addr] = node.CLI("CLUSTER", "MYID")
	return node
}

// TestStreamsFollowRedirects uses streams in a slot while it moves to a node
// that no client knows, and after it has moved. Keys that do not exist, or that
// have moved already, are at the new node only.
func TestStreamsFollowRedirects(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	to := c.addNode(t)
	for i, protocolVersion := range []int{2, 3} {
		tag := []string{"{0}", "{1}"}[i] // each in another slot
		l := startLive(t, "", []string{"order:*"}, c.server, protocol(protocolVersion), func(cfg *source.Config) {
			cfg.Durable = cfg.Patterns
		})
		streams := l.Streams()
		slot := c.nodes[0].CLI("CLUSTER", "KEYSLOT", tag)
		from := c.owner(t, slot)
		stays, moves, absent, added := "order:stays"+tag, "order:moves"+tag, "order:absent"+tag, "order:added"+tag
		first := map[string]stream.ID{}
		for _, channel := range []string{stays, moves} {
			first[channel] = appendTo(t, streams, channel)
		}
		expectEntries := func(when, channel string, after stream.ID, want int) {
			t.Helper()
			page, err := streams.Read(t.Context(), channel, after, 9)
			state, stateErr := streams.State(t.Context(), channel)
			if err != nil || stateErr != nil || len(page.Entries) != want || state.Exists != (want > 0) {
				t.Errorf("RESP%d, %s: %s has %+v, %v, state %+v, %v", protocolVersion, when, channel, page, err, state, stateErr)
			}
		}

		to.CLI("CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from.Addr])
		from.CLI("CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to.Addr])
		from.CLI("MIGRATE", "127.0.0.1", to.Port(), moves, "0", "5000")
		first[added] = appendTo(t, streams, added) // to the new node, because there is no such key
		appendTo(t, streams, moves)
		appendTo(t, streams, stays)
		c.expectAskingAdvised(t, to, added)
		expectEntries("while the slot moves", absent, stream.ID{}, 0)
		expectEntries("while the slot moves", added, first[added], 1)
		expectEntries("while the slot moves", added, stream.ID{}, 1)
		expectEntries("while the slot moves", moves, first[moves], 2)
		expectEntries("while the slot moves", stays, first[stays], 2)
		expectFindings(t, checkBut(t, limits, checkConfig("", []string{"order:*" + tag}, c.server, func(cfg *source.Config) {
			cfg.Durable = cfg.Patterns
		}))[7:8], "ok streams order:*"+tag+": the relay may read them and add to them")

		from.CLI("MIGRATE", "127.0.0.1", to.Port(), stays, "0", "5000")
		for _, node := range []*redistest.Server{to, from} {
			node.CLI("CLUSTER", "SETSLOT", slot, "NODE", c.ids[to.Addr])
		}
		appendTo(t, streams, stays)
		expectEntries("after the slot has moved", stays, first[stays], 3)
		expectEntries("after the slot has moved", absent, stream.ID{}, 0)
		l.expectNoWarnings(t)
		l.stop()
	}
}

// expectAskingAdvised checks that a user without the right to ASKING learns of it
// when it uses a stream that is at the new node of its slot.
func (c *cluster) expectAskingAdvised(t testing.TB, to *redistest.Server, channel string) {
	t.Helper()
	var user func(*source.Config)
	for _, node := range append(slices.Clone(c.nodes), to) {
		user = aclUser(t, node, "%RW~order:*", "&order:*", "+publish", "+xadd", "+xrange", "+xinfo", "+cluster|slots")
	}
	cfg := checkConfig("", []string{"order:*"}, c.server, user)
	client, err := source.NewClient(cfg.Server, cfg.Names)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	streams := source.NewStreams(client, cfg)
	_, readErr := streams.Read(t.Context(), channel, stream.ID{}, 9)
	_, stateErr := streams.State(t.Context(), channel)
	_, appendErr := streams.Append(t.Context(), channel, nil)
	for _, err := range []error{readErr, stateErr, appendErr} {
		if advised, ok := errors.AsType[stream.Advised](err); !ok || advised.Advice() != "grant +asking" {
			t.Errorf("without the right to ASKING: %v", err)
		}
	}
}

func appendTo(t testing.TB, streams stream.Store, channel string) stream.ID {
	t.Helper()
	id, err := streams.Append(t.Context(), channel, []byte("x"))
	if err != nil {
		t.Errorf("adding to %s: %v", channel, err)
	}
	return id
}

// owner returns the master of a slot.
func (c *cluster) owner(t testing.TB, slot string) *redistest.Server {
	t.Helper()
	var number int
	_, _ = fmt.Sscan(slot, &number)
	for line := range strings.Lines(c.nodes[0].CLI("CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		for _, span := range fields[8:] {
			if spans(span, number) {
				addr, _, _ := strings.Cut(fields[1], "@")
				return c.node(addr)
			}
		}
	}
	t.Fatalf("slot %s has no master", slot)
	return nil
}
