package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestRollingReplacement: two relays behind HAProxy are restarted one after
// another while messages are published. Every client that is closed reconnects
// to the other relay with a cursor from the first and misses nothing. The
// closes are spread, so that the clients do not all reconnect at once.
func TestRollingReplacement(t *testing.T) {
	t.Parallel()
	const clients, over = 300, 4 * time.Second
	addrs := []string{redistest.FreeAddr(t), redistest.FreeAddr(t)}
	proxyAddr := redistest.FreeAddr(t)
	d := &deployment{
		t: t, server: redistest.Start(t),
		balancer: &relaytest.Dialer{URL: "ws://" + proxyAddr + "/ws"},
		settings: map[string]string{
			"SIDECAST_DRAIN_DELAY": "1s", "SIDECAST_DRAIN_TIMEOUT": over.String(),
			"SIDECAST_MAX_CONNECT_RATE_PER_IP": "10000", // all clients have the same address
		},
	}
	for _, addr := range addrs {
		d.startAt(addr)
	}
	proxy := startHAProxy(t, proxyAddr, addrs...)
	names := channels("news", 4)
	d.connect(clients, names)
	p := publisher(t, d.server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	stop := traffic(t, p, names, 50*time.Millisecond)

	for i, relay := range d.replicas() {
		connected, before := int(total(t, relay.Process, "sidecast_connections{")), len(proxy.closes(0))
		d.drain(relay)
		d.startAt(addrs[i])
		closes := proxy.closes(before)
		// If a relay does not spread its closes the rate is four times the
		// average. If the machine stalls for a moment it is twice the average.
		limit := 2.5 * float64(connected) / over.Seconds()
		t.Logf("relay %d had %d clients; HAProxy logged %d closes, at most %d in one second; the limit is %.0f",
			i, connected, len(closes), mostPerSecond(closes), limit)
		if connected < clients/4 || len(closes) < connected {
			t.Errorf("HAProxy logged %d closes of %d clients", len(closes), connected)
		}
		if most := mostPerSecond(closes); float64(most) > limit {
			t.Errorf("%d closes in one second, more than %.0f", most, limit)
		}
	}
	stop()
	d.finish(2*clients, p) // two channels each; every client was on a relay that was restarted
}

// A balancer is a running HAProxy. It checks whether relays are ready, sends
// each client to the relay with the fewest connections, and logs when a
// WebSocket ends.
type balancer struct {
	mu     sync.Mutex
	closed []time.Time     // when WebSockets ended; guarded by mu
	output strings.Builder // all other lines of the log; guarded by mu
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

// startHAProxy runs HAProxy at addr in front of the relays until the test ends,
// and waits until it serves.
func startHAProxy(t *testing.T, addr string, relays ...string) *balancer {
	t.Helper()
	redistest.Require(t, "haproxy", "haproxy")
	var config bytes.Buffer
	fmt.Fprintf(&config, haproxyConfig, addr)
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
	b := new(balancer)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			b.add(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // it reports the kill
		if t.Failed() {
			t.Logf("the log of HAProxy:\n%s", &b.output)
		}
	})
	eventually(t, func() string {
		response, err := probes.Get("http://" + addr + "/readyz")
		if err != nil {
			return err.Error()
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "HAProxy answers " + response.Status
		}
		return ""
	})
	return b
}

// add parses a line of HAProxy's log.
func (b *balancer) add(line string) {
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

// closes returns when WebSockets ended, without the first n.
func (b *balancer) closes(n int) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.closed[n:])
}

// mostPerSecond returns the greatest number of times within one second.
func mostPerSecond(times []time.Time) (most int) {
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
