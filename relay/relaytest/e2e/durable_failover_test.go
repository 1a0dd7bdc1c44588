package e2e_test

import (
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// A replica that takes over without the last entries sets the stream back: everybody who heard those is told, and everybody
// else misses nothing.
func TestDurableFailover(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "redis-cli", "redis-tools")
	master, replica := redistest.Start(t), redistest.Start(t)
	_, port, _ := strings.Cut(master.Addr, ":")
	replica.CLI("REPLICAOF", "127.0.0.1", port)
	proxy := faultproxy.Start(t, master.Addr)
	relay := relaytest.Start(t, with(durable(master, nil), "SIDECAST_REDIS_URL", "redis://"+proxy.Addr))
	relay.AwaitReady()
	behind, ahead, elsewhere := listen(t, relay, "order:1"), listen(t, relay, "order:1"), listen(t, relay, "order:2")
	add(master, "order:1", "kept")
	add(master, "order:2", "kept")
	for client, channel := range map[*relaytest.Client]string{behind: "order:1", ahead: "order:1", elsewhere: "order:2"} {
		wantHeard(t, client, channel, "kept")
	}
	behind.Drop()
	awaitCLI(t, replica, "1", "XLEN", "order:1")
	awaitCLI(t, replica, "1", "XLEN", "order:2")

	replica.CLI("REPLICAOF", "NO", "ONE") // and so it never gets what comes now
	add(master, "order:1", "forgotten")
	wantHeard(t, ahead, "order:1", "kept", "forgotten")
	gone := listen(t, relay, "order:1")
	gone.Drop()
	proxy.Retarget(replica.Addr)
	master.Kill()
	proxy.Reset()
	if _, err := elsewhere.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
		t.Fatal(err)
	}
	wantHeard(t, ahead, "order:1", "kept", "forgotten", "gap reset")
	add(replica, "order:1", "new")
	add(replica, "order:2", "new")
	wantHeard(t, ahead, "order:1", "kept", "forgotten", "gap reset", "new")
	wantHeard(t, elsewhere, "order:2", "kept", "new")

	returned, answer := back(t, relay, behind.Cursors()...)
	if !answer.Recovered {
		t.Error("who had only what was kept is told of a gap")
	}
	wantHeard(t, returned, "order:1", "new")
	if _, answer := back(t, relay, gone.Cursors()...); answer.Recovered {
		t.Error("who had what was forgotten is told that nothing is missing")
	}
}

// awaitCLI waits until a server answers like this.
func awaitCLI(t testing.TB, server *redistest.Server, want string, args ...string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(relaytest.Patience)
	defer limit.Stop()
	for {
		answer := server.CLI(args...)
		if answer == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%q is answered %q, want %q", args, answer, want)
		}
	}
}
