package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// outcome is what a run of the command did.
type outcome struct {
	code   int
	result result
	stdout string
	stderr string
}

// prefixes numbers the runs, so that those which share a Redis do not hear each other.
var prefixes atomic.Int64

// loadtest runs the command as main does, briefly unless args say otherwise.
func loadtest(t *testing.T, ctx context.Context, args ...string) outcome {
	t.Helper()
	args = append([]string{"-json", "-prefix", fmt.Sprintf("run%d:", prefixes.Add(1)), "-clients", "6", "-channels", "2", "-rate", "200", "-warm-up", "100ms", "-for", "400ms",
		"-grace", "300ms"}, args...)
	var stdout, stderr bytes.Buffer
	o := outcome{code: run(ctx, args, &stdout, &stderr), stderr: stderr.String(), stdout: stdout.String()}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &o.result); err != nil {
			t.Fatalf("%v: %s", err, stdout.String())
		}
	}
	return o
}

// deeds are what a relay can do wrong, and what of it has to be told. Each is done to the first client of every channel
// at its 20th message or so: n counts.
var deeds = []struct {
	name string
	v1   bool // only where the protocol can say it
	deed func(c *fakeClient, m fakeMessage)
	want func(*result) bool
	code int
}{
	{"hands out rightly", false, func(c *fakeClient, m fakeMessage) { c.send(m) },
		func(r *result) bool { return r.Checks == checkResult{} && len(r.Failures) == 0 }, exitPassed},
	{"drops", false, func(c *fakeClient, m fakeMessage) {
		if c.heard != 20 {
			c.send(m)
		}
	}, func(r *result) bool { return r.Checks == checkResult{Lost: 6} }, exitFailed},
	{"drops the end", false, func(c *fakeClient, m fakeMessage) {
		if c.heard <= 20 {
			c.send(m)
		}
	}, func(r *result) bool { return r.Checks.Lost > 50 && r.Checks == checkResult{Lost: r.Checks.Lost} }, exitFailed},
	{"doubles", false, func(c *fakeClient, m fakeMessage) {
		c.send(m)
		if c.heard == 20 {
			c.send(m)
		}
	}, func(r *result) bool { return r.Checks == checkResult{Doubled: 6} }, exitFailed},
	{"reorders", false, func(c *fakeClient, m fakeMessage) {
		switch c.heard {
		case 20:
			c.held = m
		case 21:
			c.send(m)
			c.send(c.held)
		default:
			c.send(m)
		}
	}, func(r *result) bool { return r.Checks == checkResult{Reordered: 6} }, exitFailed},
	{"changes a byte", false, func(c *fakeClient, m fakeMessage) {
		if c.heard == 20 {
			m.payload = m.payload[:100] + "X" + m.payload[101:]
		}
		c.send(m)
	}, func(r *result) bool { return r.Checks == checkResult{Corrupted: 6, Lost: 6} }, exitFailed},
	{"leaks across channels", false, func(c *fakeClient, m fakeMessage) {
		c.send(m)
		if c.heard == 20 {
			for other := range c.fake.clients {
				if other.channel != c.channel {
					other.send(m)
				}
			}
		}
	}, func(r *result) bool { return r.Checks == checkResult{Leaked: 18} }, exitFailed},
	{"tells a gap", true, func(c *fakeClient, m fakeMessage) {
		if c.heard == 20 {
			c.say(`{"type":"gap","reason":"redis"}`)
		}
		if c.heard < 20 || c.heard > 25 {
			c.send(m)
		}
	}, func(r *result) bool {
		return r.Checks == checkResult{Excused: 36} && r.Notices.Gaps["redis"] == 6
	}, exitPassed},
	{"tells the gap of another channel", true, func(c *fakeClient, m fakeMessage) {
		if c.heard == 20 {
			c.say(`{"type":"gap","channel":"other","reason":"redis"}`)
			return
		}
		c.send(m)
	}, func(r *result) bool { return r.Checks == checkResult{Lost: 6} }, exitFailed},
	{"tells a gap too late", true, func(c *fakeClient, m fakeMessage) {
		if c.heard != 20 {
			c.send(m)
		}
		if c.heard == 21 {
			c.say(`{"type":"gap","reason":"redis"}`)
		}
	}, func(r *result) bool { return r.Checks == checkResult{Lost: 6} }, exitFailed},
	{"closes with a code", false, func(c *fakeClient, m fakeMessage) {
		if c.send(m); c.heard == 20 {
			c.close(1012)
		}
	}, func(r *result) bool {
		return r.Checks.Broken == 0 && r.Checks.Lost == 0 && r.Notices.Closes[1012] >= 6
	}, exitPassed},
	{"closes without a word", false, func(c *fakeClient, m fakeMessage) {
		if c.send(m); c.heard == 20 {
			c.close(0)
		}
	}, func(r *result) bool { return r.Checks.Broken >= 6 && r.Notices.Closes[1006] >= 6 }, exitFailed},
	{"is not WebSocket", false, func(c *fakeClient, m fakeMessage) {
		if c.heard == 20 {
			c.write([]byte{0xf5, 0x01})
		}
		c.send(m)
	}, func(r *result) bool { return r.Checks.Faults >= 6 }, exitFailed},
	{"pings, and says what nobody knows", true, func(c *fakeClient, m fakeMessage) {
		c.write(relayFrame(opPing, "ping"))
		c.say(`{"type":"heartbeat"}`)
		c.say(`{"type":"news","channel":"x"}`)
		c.send(m)
	}, func(r *result) bool { return r.Checks == checkResult{} }, exitPassed},
}

func TestRunTellsWhatARelayDoes(t *testing.T) {
	server := redistest.Start(t)
	for _, test := range deeds {
		for _, protocol := range []string{protocolRaw, protocolV1} {
			if test.v1 && protocol == protocolRaw {
				continue
			}
			t.Run(test.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				f := newFake(t, server.Addr, test.deed)
				got := loadtest(t, f.until(t.Context()), "-url", f.url, "-redis", "redis://"+server.Addr, "-protocol", protocol,
					"-warm-up", "0s", "-for", "1h", "-grace", "1s")
				if got.code != test.code || !test.want(&got.result) || got.result.Passed != (test.code == exitPassed) {
					t.Errorf("exit code %d, checks %+v, notices %+v, failures %q\n%s",
						got.code, got.result.Checks, got.result.Notices, got.result.Failures, got.stderr)
				}
				if got.result.Latency.P50MS <= 0 || got.result.Latency.MaxMS > 60_000 || got.result.Delivered.Measured < 30 {
					t.Errorf("latency %+v, delivered %+v", got.result.Latency, got.result.Delivered)
				}
			})
		}
	}
}

func TestRunWithEachReader(t *testing.T) {
	server := redistest.Start(t)
	for reader := range strings.SplitSeq(readerNames, ", ") {
		t.Run(reader, func(t *testing.T) {
			f := newFake(t, server.Addr, nil)
			got := loadtest(t, t.Context(), "-url", f.url, "-redis", "redis://"+server.Addr, "-reader", reader, "-clients", "50",
				"-channels", "50", "-burst", "200", "-every", "100ms", "-size", "5000")
			if got.code != exitPassed || got.result.Delivered.Messages < 200 {
				t.Errorf("exit code %d, %+v\n%s", got.code, got.result.Delivered, got.stderr)
			}
		})
	}
}

func TestRunStorms(t *testing.T) {
	server := redistest.Start(t)
	f := newFake(t, server.Addr, nil)
	f.door = func(n int) int { // the probe, six clients, and then every other one is refused
		if n > 7 && n%2 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusSwitchingProtocols
	}
	got := loadtest(t, t.Context(), "-url", f.url, "-redis", "redis://"+server.Addr, "-storm", "200ms", "-for", "500ms")
	if got.code != exitPassed || len(got.result.Storms) == 0 {
		t.Fatalf("exit code %d, storms %+v\n%s", got.code, got.result.Storms, got.stderr)
	}
	for _, s := range got.result.Storms {
		if s.Clients != 6 || s.Served != 6 || s.Refused["HTTP 503"] < 5 || s.AllMS < s.P50MS || s.P50MS <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if got.result.Notices.Closes[1006] != 0 {
		t.Errorf("our own drops count as closes: %v", got.result.Notices.Closes)
	}
}

func TestRunSlowClients(t *testing.T) {
	server := redistest.Start(t)
	tests := []struct {
		name string
		deed func(*fakeClient, fakeMessage)
		args []string
		want func(*result) bool
		code int
	}{
		{"kept", nil, nil, func(r *result) bool {
			return r.Checks == checkResult{} && r.Delivered.Slow > 50 && r.Notices.Evicted == 0
		}, exitPassed},
		{"kept, and read a little", nil, []string{"-slow-rate", "2KiB"}, func(r *result) bool {
			return r.Checks == checkResult{} && r.Delivered.Slow > 50
		}, exitPassed},
		{"evicted", func(c *fakeClient, m fakeMessage) {
			if c.send(m); c.heard == 20 {
				c.close(4408)
			}
		}, []string{"-slow", "5"}, func(r *result) bool {
			return r.Notices.Evicted == 5 && r.Checks.MissedEvicted > 50 && r.Checks.Lost == 0
		}, exitPassed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, server.Addr, test.deed)
			args := append([]string{
				"-url", f.url, "-redis", "redis://" + server.Addr, "-slow", "50%", "-warm-up", "0s", "-for", "1h", "-grace", "1s",
			}, test.args...)
			got := loadtest(t, f.until(t.Context()), args...)
			if got.code != test.code || !test.want(&got.result) {
				t.Errorf("exit code %d, checks %+v, delivered %+v, notices %+v\n%s",
					got.code, got.result.Checks, got.result.Delivered, got.result.Notices, got.stderr)
			}
		})
	}
}

func TestRunInterrupted(t *testing.T) {
	server := redistest.Start(t)
	f := newFake(t, server.Addr, nil)
	got := loadtest(t, f.until(t.Context()), "-url", f.url, "-redis", "redis://"+server.Addr, "-warm-up", "0s", "-for", "1h")
	if got.code != exitPassed || !got.result.Interrupted || got.result.Delivered.Measured == 0 {
		t.Errorf("exit code %d, %+v\n%s", got.code, got.result, got.stderr)
	}
}

func TestRunStrict(t *testing.T) {
	server := redistest.Start(t)
	f := newFake(t, server.Addr, func(c *fakeClient, m fakeMessage) {
		if c.send(m); c.heard == 20 {
			c.say(`{"type":"gap","reason":"redis"}`)
		}
	})
	got := loadtest(t, f.until(t.Context()), "-url", f.url, "-redis", "redis://"+server.Addr, "-protocol", "v1", "-strict",
		"-warm-up", "0s", "-for", "1h")
	if got.code != exitFailed || len(got.result.Failures) != 1 {
		t.Errorf("exit code %d, failures %q", got.code, got.result.Failures)
	}
}

// TestRunCannot holds that what makes a run pointless is said at once, with what to do.
func TestRunCannot(t *testing.T) {
	server, other := redistest.Start(t), redistest.Start(t)
	f := newFake(t, server.Addr, nil)
	refusing := newFake(t, server.Addr, nil)
	refusing.door = func(int) int { return http.StatusForbidden }
	forbidding := newFake(t, server.Addr, nil)
	forbidding.greet = func(c *fakeClient) { c.close(4403) }
	deaf := newFake(t, server.Addr, func(*fakeClient, fakeMessage) {})
	redisURL := "redis://" + server.Addr
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no relay", []string{"-url", "ws://" + redistest.FreeAddr(t), "-redis", redisURL}, exitFailed, "start it"},
		{"no Redis", []string{"-url", f.url, "-redis", "redis://" + redistest.FreeAddr(t)}, exitFailed, "-redis"},
		{"another Redis", []string{"-url", f.url, "-redis", "redis://" + other.Addr}, exitFailed, "another Redis"},
		{"a relay that refuses", []string{"-url", refusing.url, "-redis", redisURL}, exitFailed, "-header"},
		{"a channel that is not open", []string{"-url", forbidding.url, "-redis", redisURL}, exitFailed, "SIDECAST_PUBLIC_CHANNELS"},
		{"a relay that does not relay", []string{"-url", deaf.url, "-redis", redisURL}, exitFailed, "did not hand out"},
		{"a relay elsewhere", []string{"-url", "ws://192.0.2.1/ws", "-redis", redisURL}, exitUsage, "-i-own-this-target"},
		{"a Redis elsewhere", []string{"-url", f.url, "-redis", "redis://192.0.2.1"}, exitUsage, "-i-own-this-target"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := loadtest(t, t.Context(), test.args...)
			if got.code != test.code || !strings.Contains(got.stderr, test.says) {
				t.Errorf("exit code %d, says %q", got.code, got.stderr)
			}
		})
	}
}
