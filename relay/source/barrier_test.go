package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// pingServer is a server that receives PINGs and answers them when the test
// calls answer.
type pingServer struct {
	net.Conn
	nonces chan string
}

func newPingServer(server net.Conn) *pingServer {
	p := &pingServer{server, make(chan string, 100)}
	go func() {
		defer close(p.nonces)
		for lines := bufio.NewScanner(server); lines.Scan(); {
			if nonce := lines.Text(); strings.HasPrefix(nonce, noncePrefix) {
				p.nonces <- nonce
			}
		}
	}()
	return p
}

// answer answers the oldest unanswered PING, and reports whether there was one
// before the connection ended.
func (p *pingServer) answer() bool {
	nonce, ok := <-p.nonces
	if ok {
		fmt.Fprintf(p, "*2\r\n$4\r\npong\r\n$%d\r\n%s\r\n", len(nonce), nonce)
	}
	return ok
}

// withPingServer runs the test in an epoch whose server answers PINGs only when
// the test calls answer.
func withPingServer(t *testing.T, test func(t *testing.T, conn *pubsubConn, server *pingServer)) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := pipeConn(t, new(discardSink))
		done := beginEpoch(conn, server)
		test(t, conn, newPingServer(server))
		server.Close()
		<-done
	})
}

// callCatchUp starts n concurrent calls of CatchUp and returns their results.
func callCatchUp(ctx context.Context, l *Link, n int) chan error {
	results := make(chan error, n)
	for range n {
		go func() { results <- l.CatchUp(ctx) }()
	}
	synctest.Wait()
	return results
}

// expectResults receives n results, which must all be want.
func expectResults(t *testing.T, results chan error, n int, want error) {
	t.Helper()
	for range n {
		if err := <-results; !errors.Is(err, want) {
			t.Fatalf("CatchUp returned %v, want %v", err, want)
		}
	}
	if len(results) > 0 {
		t.Fatalf("%d more calls returned", len(results))
	}
}

// TestManyCatchUpsCostTwoPings starts 10,000 calls at once, and as many again
// before the answer arrives.
func TestManyCatchUpsCostTwoPings(t *testing.T) {
	const calls = 10_000
	withPingServer(t, func(t *testing.T, conn *pubsubConn, server *pingServer) {
		first := callCatchUp(t.Context(), conn.link, calls)
		second := callCatchUp(t.Context(), conn.link, calls)
		if len(first)+len(second) > 0 {
			t.Fatal("a call returned before an answer arrived")
		}
		if n := conn.pinged.Load(); n != 1 {
			t.Fatalf("%d PINGs are under way", n)
		}
		server.answer()
		synctest.Wait()
		if n := conn.pinged.Load(); n != 2 {
			t.Fatalf("%d PINGs were sent, want another one for the later calls", n)
		}
		if len(second) > 0 {
			t.Error("an answer ended calls that began after its PING was sent")
		}
		server.answer()
		synctest.Wait()
		if n := len(first) + len(second); n != 2*calls || conn.pinged.Load() != 2 {
			t.Fatalf("%d calls returned after %d PINGs", n, conn.pinged.Load())
		}
		expectResults(t, first, calls, nil)
		expectResults(t, second, calls, nil)
	})
}

// TestAbandonedPingDoesNotBlockOthers cancels all calls that wait for a PING,
// before and after it was written.
func TestAbandonedPingDoesNotBlockOthers(t *testing.T) {
	withPingServer(t, func(t *testing.T, conn *pubsubConn, server *pingServer) {
		ctx, cancel := context.WithCancel(t.Context())
		written := callCatchUp(ctx, conn.link, 3)
		unwritten := callCatchUp(ctx, conn.link, 3)
		cancel()
		expectResults(t, written, 3, context.Canceled)
		expectResults(t, unwritten, 3, context.Canceled)
		server.answer() // the next round's callers have left
		synctest.Wait()
		later := callCatchUp(t.Context(), conn.link, 1)
		server.answer()
		expectResults(t, later, 1, nil)
		if n := conn.pinged.Load(); n != 2 {
			t.Errorf("%d PINGs", n)
		}
	})
}

// TestWatchdogPingDoesNotEndCatchUp answers a PING that the watchdog wrote
// before the call.
func TestWatchdogPingDoesNotEndCatchUp(t *testing.T) {
	withPingServer(t, func(t *testing.T, conn *pubsubConn, server *pingServer) {
		if _, err := conn.ping(); err != nil {
			t.Fatal(err)
		}
		results := callCatchUp(t.Context(), conn.link, 1)
		server.answer()
		synctest.Wait()
		if len(results) > 0 {
			t.Fatal("the call returned with the answer to an older PING")
		}
		server.answer()
		expectResults(t, results, 1, nil)
	})
}

// TestRefusedPingEndsCatchUp sends an error reply instead of a PONG, which
// counts as the answer.
func TestRefusedPingEndsCatchUp(t *testing.T) {
	withPingServer(t, func(t *testing.T, conn *pubsubConn, server *pingServer) {
		results := callCatchUp(t.Context(), conn.link, 1)
		_, _ = io.WriteString(server, "-NOPERM no\r\n")
		expectResults(t, results, 1, nil)
	})
}

// TestEndOfEpochEndsAllCatchUps includes the calls whose PING has not been
// written.
func TestEndOfEpochEndsAllCatchUps(t *testing.T) {
	withPingServer(t, func(t *testing.T, conn *pubsubConn, server *pingServer) {
		first := callCatchUp(t.Context(), conn.link, 100)
		second := callCatchUp(t.Context(), conn.link, 100)
		server.Close()
		if err := <-first; conn.link.sink.(*discardSink).lost != 1 {
			t.Errorf("CatchUp returned %v before the sink was notified", err)
		}
		expectResults(t, first, 99, ErrUnavailable)
		expectResults(t, second, 100, ErrUnavailable)
		if err := conn.link.CatchUp(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("between epochs CatchUp returned %v", err)
		}
	})
}

// TestFailedPingWriteEndsCatchUp lets the write of the PING time out.
func TestFailedPingWriteEndsCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := pipeConn(t, new(discardSink))
		go readAll(conn)
		_, _ = io.WriteString(server, subscribedHead(2))
		synctest.Wait()
		// The server's end is not read, so the write reaches its deadline, and
		// that ends the connection.
		if err := conn.link.CatchUp(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("CatchUp returned %v", err)
		}
		if cutErrOf(conn) == nil {
			t.Error("the connection was not cut")
		}
		server.Close()
	})
}
