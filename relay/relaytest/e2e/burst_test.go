package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// A burst collects PUBLISH commands for one redis-cli --pipe.
type burst struct {
	mu       sync.Mutex
	commands bytes.Buffer
}

// publish is a [relaytest.PublishFunc] that only collects.
func (b *burst) publish(_ context.Context, channel string, payload []byte) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(&b.commands, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n",
		len(channel), channel, len(payload), payload)
	return 0, nil
}

// send sends all collected commands at once, and fails the test if Redis does
// not answer as many as wanted without an error.
func (b *burst) send(t testing.TB, server *redistest.Server, want int) {
	t.Helper()
	redistest.Require(t, "redis-cli", "redis-tools")
	cmd := exec.CommandContext(t.Context(), "redis-cli", "-p", server.Port(), "--pipe")
	cmd.Stdin = &b.commands
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("errors: 0, replies: %d\n", want)) {
		t.Fatalf("redis-cli --pipe: %v\n%s", err, out)
	}
}

// TestBurst: every client receives every message of a burst in order, with
// default settings, although the burst is faster than any backend. With go test
// -race the relay has the race detector too.
func TestBurst(t *testing.T) {
	t.Parallel()
	resp3 := map[string]string{"SIDECAST_REDIS_PROTOCOL": "3"}
	tests := []struct {
		name     string
		settings map[string]string
		each     int // messages per channel
		payloads relaytest.Payloads
	}{
		{"default settings", nil, 200, relaytest.Payloads{Bytes: relaytest.BytesHostile}},
		{"RESP3", resp3, 200, relaytest.Payloads{Bytes: relaytest.BytesBinary}},
		// All payloads are equal, so the checker can only use their order and
		// number.
		{"equal payloads", nil, 200, relaytest.Payloads{Equal: true, Sizes: []int{relaytest.StampSize}}},
		// Sizes around the limits of the buffers between Redis and the relay.
		// With more messages, clients with the race detector, which share one
		// machine, would become slow consumers.
		{"RESP3, many sizes", resp3, 50, relaytest.Payloads{
			Sizes: []int{relaytest.StampSize, 125, 126, 127, 4095, 4096, 4097},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range orLong(1, 10) {
				sendBurst(t, test.settings, test.each, test.payloads)
			}
		})
	}
}

func sendBurst(t *testing.T, settings map[string]string, each int, payloads relaytest.Payloads) {
	const subscriptions = 3 // of each client
	names := channels("burst", 50)
	server := redistest.Start(t)
	relay := startRelay(t, server, settings)
	fleet := burstFleet(t, relay, names, 200, subscriptions)

	collected, publishNow := new(burst), publishTo(t, server)
	ending := false
	p := relaytest.NewPublisher(func(ctx context.Context, channel string, payload []byte) (int64, error) {
		if ending {
			return publishNow(ctx, channel, payload)
		}
		return collected.publish(ctx, channel, payload)
	}, payloads)
	if err := p.Run(t.Context(), names, each, 0); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	collected.send(t, server, len(names)*each)
	after := time.Now()
	ending = true
	finish(t, p, fleet)

	log := p.Log()
	for i := range log {
		if !log[i].End { // Redis received it in the burst, not when it was collected
			log[i].Before, log[i].After = before, after
		}
	}
	report := checkContract(t, relaytest.Run{Published: log, Sessions: fleet.Sessions()})
	got := [3]int{report.Deliveries, report.Gaps, report.Offlines}
	if want := [3]int{len(fleet) * subscriptions * (each + 1)}; got != want {
		t.Errorf("deliveries, gaps and offline notices: %v, want %v", got, want)
	}
}

// burstFleet connects n clients, half of them raw, each with subscriptions to
// different channels.
func burstFleet(t testing.TB, relay *relaytest.Process, names []string, n, subscriptions int) relaytest.Fleet {
	t.Helper()
	fleet := make(relaytest.Fleet, n)
	for i := range fleet {
		var mine []string
		for k := range subscriptions {
			mine = append(mine, names[(i*subscriptions+k*7)%len(names)])
		}
		if i%2 == 0 {
			fleet[i] = listenRaw(t, relay, mine...)
		} else {
			fleet[i] = listen(t, relay, mine...)
		}
	}
	return fleet
}
