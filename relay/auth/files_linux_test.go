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

// cpuTicks is how much processor time a process has had, in hundredths of a second.
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

// Out of file descriptors, the relay waits without spinning, keeps those whom it has, and takes newcomers as soon as it can.
func TestOutOfFiles(t *testing.T) {
	s := newStage(t)
	old := s.dial(caller{})
	if err := old.Subscribe(t.Context(), "public:1"); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 40, Max: 40}
	if err := unix.Prlimit(s.relay.PID(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
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
	for range 200 { // more than fit, all of them silent
		c, err := net.Dial("tcp", s.relay.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	<-time.After(seconds * time.Second)
	used := cpuTicks(t, s.relay.PID()) - before
	t.Logf("%d %% of a processor", used/seconds)
	if used > 5*seconds {
		t.Errorf("used %d %% of a processor", used/seconds)
	}
	s.redis.CLI("PUBLISH", "public:1", "still here")
	if e := s.await(old, "who was there before", relaytest.Is(relaytest.KindMessage)); e.Data != "still here" {
		t.Errorf("heard %q", e.Data)
	}
	for _, c := range conns {
		c.Close()
	}
	conns = nil
	began := time.Now()
	s.dial(caller{})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a newcomer waited %v", took)
	}
}
