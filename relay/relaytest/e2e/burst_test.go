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

// A pipe collects what is published, for one redis-cli --pipe.
type pipe struct {
	mu       sync.Mutex
	commands bytes.Buffer
}

// publish is a [relaytest.PublishFunc].
func (p *pipe) publish(_ context.Context, channel string, payload []byte) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(&p.commands, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(payload), payload)
	return 0, nil
}

// send runs everything collected at once.
func (p *pipe) send(t testing.TB, server *redistest.Server, want int) {
	t.Helper()
	redistest.Require(t, "redis-cli", "redis-tools")
	cmd := exec.CommandContext(t.Context(), "redis-cli", "-p", server.Port(), "--pipe")
	cmd.Stdin = &p.commands
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("errors: 0, replies: %d\n", want)) {
		t.Fatalf("redis-cli --pipe: %v\n%s", err, out)
	}
}

// TestBurst: a burst faster than any backend reaches every client whole, in order, with default settings. Under go test
// -race the relay too is watched for races.
func TestBurst(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		settings map[string]string
		each     int // messages of a channel
		payloads relaytest.Payloads
	}{
		{"default settings", nil, 200, relaytest.Payloads{Bytes: relaytest.BytesHostile}},
		{"RESP3", map[string]string{"SIDECAST_REDIS_PROTOCOL": "3"}, 200, relaytest.Payloads{Bytes: relaytest.BytesBinary}},
		// Bursts of one payload, which only their order and number tell apart.
		{"equal payloads", nil, 200, relaytest.Payloads{Equal: true, Sizes: []int{relaytest.StampSize}}},
		// Sizes around the edges of the buffers between Redis and the relay. More of them would make slow consumers of
		// clients with the race detector, who all share a machine.
		{"RESP3, many sizes", map[string]string{"SIDECAST_REDIS_PROTOCOL": "3"}, 50, relaytest.Payloads{
			Sizes: []int{relaytest.StampSize, 125, 126, 127, 4095, 4096, 4097},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range or(1, 10) {
				burst(t, test.settings, test.each, test.payloads)
			}
		})
	}
}

func burst(t *testing.T, settings map[string]string, each int, payloads relaytest.Payloads) {
	const heard = 3 // channels of a client
	names := channels("burst", 50)
	server := redistest.Start(t)
	relay := startRelay(t, server, settings)
	fleet := burstFleet(t, relay, names, 200, heard)

	collected, now := new(pipe), publishTo(t, server)
	ending := false // set between what waits for the other
	p := relaytest.NewPublisher(func(ctx context.Context, channel string, payload []byte) (int64, error) {
		if ending {
			return now(ctx, channel, payload)
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
		if !log[i].End { // Redis took it in the burst, not when it was collected
			log[i].Before, log[i].After = before, after
		}
	}
	report := judge(t, relaytest.Run{Published: log, Sessions: fleet.Sessions()})
	if want := len(fleet) * heard * (each + 1); report.Deliveries != want || report.Gaps != 0 || report.Offlines != 0 {
		t.Errorf("%d deliveries, %d gaps, %d offline, want %d and none", report.Deliveries, report.Gaps, report.Offlines, want)
	}
}

// burstFleet connects n clients, half of them raw, each on some channels of its own choice.
func burstFleet(t testing.TB, relay *relaytest.Process, names []string, n, heard int) relaytest.Fleet {
	t.Helper()
	v1 := &relaytest.Dialer{URL: relay.URL()}
	fleet := make(relaytest.Fleet, n)
	for i := range fleet {
		var mine []string
		for k := range heard {
			mine = append(mine, names[(i*heard+k*7)%len(names)])
		}
		if i%2 == 0 {
			fleet[i] = listenRaw(t, relay, mine...)
			continue
		}
		fleet[i] = dial(t, v1)
		if err := fleet[i].Subscribe(t.Context(), mine...); err != nil {
			t.Fatal(err)
		}
	}
	return fleet
}
