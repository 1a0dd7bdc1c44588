package redistest_test

import (
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

func TestServerAnswersAndRestartsOnItsPort(t *testing.T) {
	s := redistest.Start(t)
	if got := s.CLI("SET", "a", "b"); got != "OK" {
		t.Fatalf("SET answered %q", got)
	}
	addr := s.Addr
	s.Kill()
	if out, err := s.TryCLI("PING"); err == nil {
		t.Fatalf("a killed server answered %q", out)
	}
	s.Restart()
	if s.Addr != addr {
		t.Fatalf("the address changed from %s to %s", addr, s.Addr)
	}
	if got := s.CLI("GET", "a"); got != "" {
		t.Fatalf("the server has %q after kill -9, want nothing", got)
	}
}

func TestErrorRepliesAreErrors(t *testing.T) {
	s := redistest.Start(t)
	if out, err := s.TryCLI("NOSUCHCOMMAND"); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Fatalf("got %q, %v", out, err)
	}
}

func TestStopAndCont(t *testing.T) {
	s := redistest.Start(t)
	s.Stop()
	s.Cont()
	if got := s.CLI("PING"); got != "PONG" {
		t.Fatalf("PING answered %q", got)
	}
}

func TestArgumentsReachTheServer(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "secret")
	if out, err := s.TryCLI("PING"); err == nil {
		t.Fatalf("answered %q without the password", out)
	}
	if got := s.CLI("-a", "secret", "PING"); got != "PONG" {
		t.Fatalf("PING answered %q", got)
	}
}

func TestGroupFailsOver(t *testing.T) {
	t.Parallel()
	g := redistest.StartGroup(t)
	if got := g.Master(); got != g.Nodes[0].Addr {
		t.Fatalf("the master is %s, want %s", got, g.Nodes[0].Addr)
	}
	g.Failover()
	if got := g.Master(); got != g.Nodes[1].Addr {
		t.Fatalf("the master is %s, want %s", got, g.Nodes[1].Addr)
	}
	if got := g.Nodes[1].CLI("ROLE"); !strings.HasPrefix(got, "master") {
		t.Fatalf("its role is %s", got)
	}
}
