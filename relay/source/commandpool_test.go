package source

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestCommandConnsFollowTheLink checks that the connections to other servers
// are closed, and only those.
func TestCommandConnsFollowTheLink(t *testing.T) {
	var e commandConns
	join := func(addr string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		return e.add(ours, addr)
	}
	ended := func(conn net.Conn) bool {
		return errors.Is(conn.SetDeadline(time.Time{}), io.ErrClosedPipe)
	}
	early, err := join("a:1") // before the first link
	if err != nil {
		t.Fatal(err)
	}
	e.follow("a:1")
	late, err := join("a:1")
	if err != nil {
		t.Fatal(err)
	}
	e.follow("a:1") // again to the same server
	if ended(late) {
		t.Error("a connection to the link's server was closed")
	}
	e.follow("b:1")
	if !ended(early) || !ended(late) {
		t.Error("a connection to the old server is open")
	}
	if _, err := join("a:1"); !errors.Is(err, errLinkMoved) {
		t.Errorf("a connection to the old server was accepted: %v", err)
	}
	last, err := join("b:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := last.Close(); err != nil || len(e.conns) != 0 {
		t.Errorf("%d closed connections are still in the set: %v", len(e.conns), err)
	}
}
