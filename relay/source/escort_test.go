package source

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestEscortFollowsTheLink ends the conns that lead elsewhere, and only those.
func TestEscortFollowsTheLink(t *testing.T) {
	var e escort
	join := func(addr string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		return e.join(ours, addr)
	}
	ended := func(conn net.Conn) bool {
		return errors.Is(conn.SetDeadline(time.Time{}), io.ErrClosedPipe)
	}
	early, err := join("a:1") // before there was a link
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
		t.Error("a conn to the link's server was ended")
	}
	e.follow("b:1")
	if !ended(early) || !ended(late) {
		t.Error("a conn to the old server lives")
	}
	if _, err := join("a:1"); !errors.Is(err, errDeserted) {
		t.Errorf("a conn to the old server is taken: %v", err)
	}
	last, err := join("b:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := last.Close(); err != nil || len(e.conns) != 0 {
		t.Errorf("%d conns are kept of those that were closed: %v", len(e.conns), err)
	}
}
