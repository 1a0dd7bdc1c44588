package rolling_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// A balancer is a running HAProxy in front of relays. It asks them whether they are ready, sends each client to the one with
// the fewest, and notes when sockets end.
type balancer struct {
	addr string

	mu     sync.Mutex
	closed []time.Time // guarded by mu
	output strings.Builder
}

const haproxyConfig = `
global
	log stdout format raw daemon
defaults
	mode http
	log global
	log-format "status=%%ST at=%%[date(0,ms)]"
	timeout connect 5s
	timeout client 1m
	timeout server 1m
	timeout tunnel 1h
	option redispatch
frontend public
	bind %s
	default_backend relays
backend relays
	balance leastconn
	option httpchk GET /readyz
	default-server inter 100ms fall 1 rise 1
`

// balance runs HAProxy in front of the addresses until the test ends.
func balance(t *testing.T, relays ...string) *balancer {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // where Debian keeps it
	redistest.Require(t, "haproxy", "haproxy")
	b := &balancer{addr: redistest.FreeAddr(t)}
	var config bytes.Buffer
	fmt.Fprintf(&config, haproxyConfig, b.addr)
	for i, relay := range relays {
		fmt.Fprintf(&config, "\tserver relay%d %s check\n", i, relay)
	}
	cmd := exec.Command("haproxy", "-db", "-f", redistest.WriteFile(t, "haproxy.cfg", config.Bytes()))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			b.note(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("haproxy says:\n%s", &b.output)
		}
	})
	until(t, "that a relay is behind the balancer", func() bool {
		response, err := probing.Get("http://" + b.addr + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == 200
	})
	return b
}

// note takes a line of the log: of a WebSocket that ended, or of something else.
func (b *balancer) note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := strings.CutPrefix(line, "status=101 at=")
	if !ok {
		fmt.Fprintln(&b.output, line)
		return
	}
	if ms, err := strconv.ParseInt(at, 10, 64); err == nil {
		b.closed = append(b.closed, time.UnixMilli(ms))
	}
}

// closes returns when sockets ended, from the nth on.
func (b *balancer) closes(n int) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.closed[n:])
}

// busiest returns the greatest number of times within one second.
func busiest(times []time.Time) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
