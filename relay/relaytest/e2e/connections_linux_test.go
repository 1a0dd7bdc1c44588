package e2e_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestConnectionsThatNeverBecomeClients: connections that only speak HTTP count
// when they are accepted, and cannot use up the file descriptors. Clients,
// probes and metrics are served, and everything is logged.
func TestConnectionsThatNeverBecomeClients(t *testing.T) {
	t.Parallel()
	const files, connections, idle = 256, 100, 400
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{"SIDECAST_MAX_CONNECTIONS": "100"})
	limit := unix.Rlimit{Cur: files, Max: files}
	if err := unix.Prlimit(relay.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	first := listen(t, relay, "news")
	stop := keepIdle(t, relay.Addr(), idle)
	defer stop()

	honest := listen(t, relay, "news")
	redis := relaytest.NewRedis(server.Addr, relaytest.Patience)
	defer redis.Close()
	if _, err := relaytest.PublishTo(redis)(t.Context(), "news", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	hears(t, first, 1)
	hears(t, honest, 1)
	for _, url := range []string{"http://" + relay.Addr() + "/livez", "http://" + relay.Addr() + "/readyz"} {
		if code := status(t, url); code != http.StatusOK {
			t.Errorf("%s answers %d", url, code)
		}
	}
	if n := metric(t, relay, "sidecast_sockets"); n > connections {
		t.Errorf("%v connections are open, the limit is %d", n, connections)
	}
	awaitMetric(t, relay, `sidecast_connections_rejected_total{reason="idle"}`, func(n float64) bool { return n > 0 })
	relay.AwaitLog(func(line string) bool {
		return relaytest.LogField(line, "msg") == "client rejected" && relaytest.LogField(line, "reason") == "idle"
	})
}

// keepIdle opens n connections, one after the other, that each request a page
// and then stay open. It returns a function that closes them.
func keepIdle(t *testing.T, addr string, n int) (stop func()) {
	t.Helper()
	var conns []net.Conn
	for range n {
		conn, err := net.DialTimeout("tcp", addr, relaytest.Patience)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		_ = conn.SetDeadline(time.Now().Add(relaytest.Patience))
		if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: "+addr+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, "200") {
			t.Fatalf("connection %d of %d gets %q, %v", len(conns), n, line, err)
		}
	}
	return func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}
