package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestRollingReplacement: two relays behind HAProxy are restarted one after
// another while messages are published, and each has a client that does not
// read. Every client that is closed reconnects to the other relay with a cursor
// from the first and misses nothing, on live and on durable channels. The
// closes are spread, so that the clients do not all reconnect at once, and each
// relay exits in time.
func TestRollingReplacement(t *testing.T) {
	t.Parallel()
	const delay, over, grace = time.Second, 4 * time.Second, 5 * time.Second
	clients := orLong(300, 2000)
	addrs := []string{redistest.FreeAddr(t), redistest.FreeAddr(t)}
	proxyAddr := redistest.FreeAddr(t)
	live, durable := channels("news", 4), channels("order", 2)
	d := &deployment{
		t: t, server: redistest.Start(t),
		balancer: &relaytest.Dialer{URL: "ws://" + proxyAddr + "/ws"},
		settings: map[string]string{
			"SIDECAST_DRAIN_DELAY": delay.String(), "SIDECAST_DRAIN_TIMEOUT": over.String(),
			"SIDECAST_MAX_CONNECT_RATE_PER_IP": "10000", // all clients have the same address
			"SIDECAST_DURABLE_CHANNELS":        "order:*",
		},
		durable: map[string]int{durable[0]: 10_000, durable[1]: 10_000},
	}
	for _, addr := range addrs {
		d.startAt(addr)
	}
	startHAProxy(t, proxyAddr, addrs...)
	d.replicas()[0].AwaitStatus("http://"+proxyAddr+"/readyz", http.StatusOK)
	d.connect(clients, slices.Concat(live, durable))
	p := publisher(t, d.server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	redis := relaytest.NewRedis(d.server.Addr, time.Second)
	t.Cleanup(func() { _ = redis.Close() })
	appender := relaytest.NewPublisher(relaytest.AppendTo(redis, 10_000), relaytest.Payloads{})
	stop, stopAppending := traffic(t, p, live, 50*time.Millisecond), traffic(t, appender, durable, 200*time.Millisecond)
	var began, ended []time.Time
	var connected []int
	for i, relay := range d.replicas() {
		connected = append(connected, int(total(t, relay.Process, "sidecast_connections{")))
		fillOutbox(t, d.server, relay.Process)
		began = append(began, time.Now())
		if took := d.drain(relay); took > delay+over+grace {
			t.Errorf("drained in %v, want at most %v", took, delay+over+grace)
		}
		ended = append(ended, time.Now())
		d.startAt(addrs[i])
	}
	stop()
	stopAppending()
	d.finish(2*clients, p, appender) // two channels each; every client was on a relay that was restarted
	for i, n := range connected {
		closes := d.closes(began[i], ended[i])
		// If a relay does not spread its closes the rate is four times the
		// average. If the machine stalls for a moment it is twice the average.
		most, limit := mostPerSecond(closes), 2.5*float64(n)/over.Seconds()
		t.Logf("relay %d had %d clients; at most %d were closed in one second; the limit is %.0f", i, n, most, limit)
		if n < clients/4 || len(closes) < n {
			t.Errorf("%d of %d clients received a close frame", len(closes), n)
		}
		if float64(most) > limit {
			t.Errorf("%d closes in one second, more than %.0f", most, limit)
		}
	}
}

// closes returns when clients received a close frame in this time.
func (d *deployment) closes(from, to time.Time) (times []time.Time) {
	for _, client := range d.clients {
		for _, session := range client.Sessions() {
			for _, e := range session.Events {
				if e.Kind == relaytest.KindClose && e.At.After(from) && e.At.Before(to) {
					times = append(times, e.At)
				}
			}
		}
	}
	return times
}

const haproxyConfig = `
global
	log stdout format raw daemon
defaults
	mode http
	log global
	timeout connect 5s
	timeout check 5s
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

// startHAProxy runs HAProxy at addr in front of the relays until the test ends.
// It checks whether relays are ready, and sends each client to the relay with
// the fewest connections.
func startHAProxy(t *testing.T, addr string, relays ...string) {
	t.Helper()
	runHAProxy(t, haproxyFor(addr, relays...))
}

// haproxyFor returns the configuration for [startHAProxy].
func haproxyFor(addr string, relays ...string) string {
	lines := []string{fmt.Sprintf(haproxyConfig, addr)}
	for i, relay := range relays {
		lines = append(lines, fmt.Sprintf("\tserver relay%d %s check\n", i, relay))
	}
	return strings.Join(lines, "")
}

func runHAProxy(t *testing.T, config string) {
	t.Helper()
	redistest.Require(t, "haproxy", "haproxy")
	cmd := exec.Command("haproxy", "-db", "-f", redistest.WriteFile(t, "haproxy.cfg", []byte(config)))
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it reports the kill
		if t.Failed() {
			t.Logf("the log of HAProxy:\n%s", &output)
		}
	})
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
