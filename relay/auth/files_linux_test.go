package auth_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecast/relay/relaytest"
)

// cpuTicks returns the CPU time that a process has used, in hundredths of a
// second.
func cpuTicks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return user + system
}

// TestOutOfFiles checks that the relay keeps its clients and uses little CPU
// when it has no file descriptors left, and that it accepts new clients as soon
// as it can.
func TestOutOfFiles(t *testing.T) {
	s := newSetup(t)
	connected := s.dial(dialOptions{})
	if err := connected.Subscribe(t.Context(), "public:1"); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 40, Max: 40}
	if err := unix.Prlimit(s.relay.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	before := cpuTicks(t, s.relay.PID())
	const seconds = 4
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 200 { // more than the limit allows; they send nothing
		c, err := net.Dial("tcp", s.relay.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	<-time.After(seconds * time.Second)
	used := cpuTicks(t, s.relay.PID()) - before
	t.Logf("%d %% of a CPU", used/seconds)
	if used > 5*seconds {
		t.Errorf("used %d %% of a CPU", used/seconds)
	}
	s.redis.CLI("PUBLISH", "public:1", "still here")
	if e := s.await(connected, "the connected client", relaytest.Is(relaytest.KindMessage)); e.Data != "still here" {
		t.Errorf("received %q", e.Data)
	}
	for _, c := range conns {
		c.Close()
	}
	conns = nil
	began := time.Now()
	s.dial(dialOptions{})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a new client waited %v", took)
	}
}
