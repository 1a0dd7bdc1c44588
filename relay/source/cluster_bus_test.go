package source_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

// TestClusterBusBreaks breaks single links of the bus, which the nodes make again within a tenth of a second: while nothing
// is published, so that only the next look shows it, and while much is. What the link's node hears from others ends the
// epoch, once; what it says to them, and what they say to each other, does not.
func TestClusterBusBreaks(t *testing.T) {
	t.Parallel()
	c := startCluster(t, patientNodes)
	l := goLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	heard, other, third := masters[0], masters[1], masters[2]
	book := newLedger(t)
	epochs := 1
	for _, publishers := range []int{0, 3} {
		channels := c.publishers(t, book, masters[:publishers]...)
		book.flows(t, 50, channels...)
		for _, test := range []struct {
			name      string
			at        *redistest.Server // who breaks it
			direction string
			with      *redistest.Server
			ends      bool
		}{
			{"from another master, by the link's node", heard, "from", other, true},
			{"from another master, by that", other, "to", heard, true},
			{"from a replica, by the link's node", heard, "from", c.replica(t, other), true},
			{"both ways, by the link's node", heard, "all", third, true},
			{"to another master", heard, "to", other, false},
			{"to another master, by that", other, "from", heard, false},
			{"between two others", other, "all", third, false},
		} {
			name := fmt.Sprintf("%s, %d publishers", test.name, publishers)
			before := [2]map[string]int64{c.since(t, test.at, "from"), c.since(t, test.at, "to")}
			test.at.CLI("DEBUG", "CLUSTERLINK", "KILL", test.direction, c.ids[test.with.Addr])
			eventually(t, "a new link: "+name, func() bool {
				from, to := c.since(t, test.at, "from"), c.since(t, test.at, "to")
				return len(from) == 5 && len(to) == 5 && !(maps.Equal(from, before[0]) && maps.Equal(to, before[1]))
			})
			if test.ends {
				epochs++
			}
			l.awaitEvent(t, "online", epochs)
			book.flows(t, 50, channels...)
			<-time.After(busLook)
			if n := count(l.recorder.log(), "offline"); n != epochs-1 {
				t.Fatalf("%s: %d epochs ended, want %d", name, n, epochs-1)
			}
		}
	}
	l.ended(t, stats.CauseCluster, uint64(epochs-1))
	l.says(t, "cause=cluster", "came, went or lost its link")
	_, missing := book.judge(t, l)
	t.Logf("told of a gap with %d missing", missing)
}

// busLook is longer than two looks at the bus are apart.
const busLook = 1200 * time.Millisecond

// TestClusterNodeIsStopped stops the link's node for longer than the others wait for it: they give up their links to it,
// with what was in them, while the relay's stays.
func TestClusterNodeIsStopped(t *testing.T) {
	t.Parallel()
	c := startCluster(t, hastyNodes)
	l := goLive(t, "", []string{"*"}, c.server)
	masters := c.masters(t, c.nodes[0])
	book := newLedger(t)
	channels := c.publishers(t, book, masters...)
	book.flows(t, 100, channels...)
	for _, node := range c.nodes {
		node.CLI("CONFIG", "SET", "cluster-replica-no-failover", "yes")
	}
	id := c.ids[masters[0].Addr]
	before := [2]int64{c.since(t, masters[1], "to")[id], c.since(t, masters[2], "to")[id]}
	stopped := time.Now()
	masters[0].Stop()
	eventually(t, "the others to give up", func() bool { // the system accepts for the stopped one
		return c.since(t, masters[1], "to")[id] > before[0] && c.since(t, masters[2], "to")[id] > before[1]
	})
	masters[0].Cont()
	took := time.Since(stopped)
	l.awaitEvent(t, "offline", 1)
	if took < silence {
		l.says(t, "cause=cluster")
	} else {
		t.Logf("the node was stopped for %v, which is silence too", took)
	}
	l.awaitEvent(t, "online", 2)
	book.flows(t, 100, channels[0])
	book.judge(t, l)
}

// silence is less than what makes the link give up its node by itself.
const silence = 6 * time.Second
