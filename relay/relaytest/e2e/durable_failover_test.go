package e2e_test

import (
	"fmt"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// TestDurableFailover: a replica that becomes the master without the last
// entries of a stream has an older stream. Clients that received these entries
// receive a gap, and all other clients miss nothing.
func TestDurableFailover(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "redis-cli", "redis-tools")
	master, replica := redistest.Start(t), redistest.Start(t)
	replica.CLI("REPLICAOF", "127.0.0.1", master.Port())
	proxy := faultproxy.Start(t, master.Addr)
	relay := start(t, with(durableSettings(master, nil), "SIDECAST_REDIS_URL", "redis://"+proxy.Addr))
	behind, ahead, other := listen(t, relay, "order:1"), listen(t, relay, "order:1"), listen(t, relay, "order:2")
	add(master, "order:1", "kept")
	add(master, "order:2", "kept")
	wantHeard(t, behind, "order:1", "kept")
	wantHeard(t, ahead, "order:1", "kept")
	wantHeard(t, other, "order:2", "kept")
	behind.Drop()
	awaitCLI(t, replica, "1", "XLEN", "order:1")
	awaitCLI(t, replica, "1", "XLEN", "order:2")

	replica.CLI("REPLICAOF", "NO", "ONE") // so it never receives the following entry
	add(master, "order:1", "lost")
	wantHeard(t, ahead, "order:1", "kept", "lost")
	left := listen(t, relay, "order:1")
	left.Drop()
	proxy.Retarget(replica.Addr)
	master.Kill()
	proxy.Reset()
	if _, err := other.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
		t.Fatal(err)
	}
	wantHeard(t, ahead, "order:1", "kept", "lost", "gap reset")
	add(replica, "order:1", "new")
	add(replica, "order:2", "new")
	wantHeard(t, ahead, "order:1", "kept", "lost", "gap reset", "new")
	wantHeard(t, other, "order:2", "kept", "new")

	returned, answer := back(t, relay, behind.Cursors()...)
	if !answer.Recovered {
		t.Error("a client that had received only kept entries got a gap")
	}
	wantHeard(t, returned, "order:1", "new")
	if _, answer := back(t, relay, left.Cursors()...); answer.Recovered {
		t.Error("a client whose cursor is after the lost entry got no gap")
	}
}

// awaitCLI waits until redis-cli prints this.
func awaitCLI(t testing.TB, server *redistest.Server, want string, args ...string) {
	t.Helper()
	eventually(t, func() string {
		if answer := server.CLI(args...); answer != want {
			return fmt.Sprintf("%q is answered %q, want %q", args, answer, want)
		}
		return ""
	})
}
