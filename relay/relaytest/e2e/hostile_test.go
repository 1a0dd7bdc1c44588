package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// announce is the head of a masked frame with a length of 64 bits: 14 bytes, and nothing behind them.
func announce(first byte, length uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, length), 1, 2, 3, 4)
}

// fragments are n continuations of a message that never ends.
func fragments(n int) []byte {
	b := relaytest.AppendFrame(nil, false, relaytest.OpText, []byte("begin"))
	for range n {
		b = relaytest.AppendFrame(b, false, relaytest.OpContinuation, []byte("more"))
	}
	return b
}

// attacks are what hostile clients send, and how they are closed.
var attacks = []struct {
	name string
	send []byte
	code uint16
}{
	{"14 bytes that crash the library", announce(0x81, 1<<63), 1002},
	{"the greatest length there is", announce(0x82, 1<<64-1), 1002},
	{"16 MiB announced", announce(0x82, 16<<20), 1009},
	{"1 GiB announced, as text", announce(0x81, 1<<30), 1009},
	{"fragments without end", fragments(10_000), 1008},
	{"a flood of pings", bytes.Repeat(relaytest.AppendFrame(nil, true, relaytest.OpPing, []byte("x")), 10_000), 1008},
	{"not masked", bytes.Repeat([]byte{0x81, 1, 'x'}, 100), 1002},
	{"HTTP once more", []byte("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"), 1002},
	{"zeros", make([]byte, 1<<16), 1002},
	{"16 MiB of fragments, each as large as one may be", append(
		relaytest.AppendFrame(nil, false, relaytest.OpBinary, make([]byte, 16<<10)),
		bytes.Repeat(relaytest.AppendFrame(nil, false, relaytest.OpContinuation, make([]byte, 16<<10)), 1024)...), 1009},
}

// TestHostile: hostile clients are closed, and cost the relay neither its life nor its memory; honest ones beside them
// miss nothing and are kept from nothing.
func TestHostile(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	names := channels("honest", 4)
	honest := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, 20)
	if err := honest.Subscribe(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	p := publisher(t, server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	stop := traffic(t, p, names, 10*time.Millisecond)

	before := peak(t, relay)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			attackers := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, or(50, 500))
			var all sync.WaitGroup
			for _, client := range attackers {
				all.Go(func() { _ = client.SendRaw(attack.send) }) // the relay may hang up before it has all
			}
			all.Wait()
			codes := make(map[uint16]int)
			for _, client := range attackers {
				end, err := client.Await(t.Context(), relaytest.Is(relaytest.KindEnd))
				if err != nil {
					t.Fatalf("a hostile client is not closed: %v", err)
				}
				codes[end.Code]++
			}
			// Who still sends when it is closed may find the connection reset under the close frame.
			if codes[attack.code] == 0 || codes[attack.code]+codes[1006] != len(attackers) {
				t.Errorf("closed with %v, want %d", codes, attack.code)
			}
		})
	}
	wantMemory(t, relay, before)
	stop()
	finish(t, p, honest)
	report := judge(t, relaytest.Run{Published: p.Log(), Sessions: honest.Sessions()})
	if report.Gaps > 0 {
		t.Errorf("%d gaps", report.Gaps)
	}
	awaitMetric(t, relay, `sidecast_connections{protocol="v1",transport="websocket"}`,
		func(n float64) bool { return n == float64(len(honest)) })
}

// peak returns the most memory that a relay has had, in MiB.
func peak(t testing.TB, relay *relaytest.Process) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", relay.PID()))
	if runtime.GOOS != "linux" {
		return metric(t, relay, "process_resident_memory_bytes") / (1 << 20) // what it has now has to do
	}
	found := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("the kernel does not tell the peak of the memory: %v\n%s", err, status)
	}
	kilobytes, _ := strconv.ParseFloat(string(found[1]), 64)
	return kilobytes / 1024
}

// wantMemory makes sure that a relay has never had much more than before.
func wantMemory(t testing.TB, relay *relaytest.Process, before float64) {
	t.Helper()
	const most = 160 // with the race detector, which takes several times as much
	after := peak(t, relay)
	t.Logf("at most %.0f MiB before, %.0f MiB since", before, after)
	if after-before > most {
		t.Errorf("the relay has grown from %.0f to %.0f MiB", before, after)
	}
}

// TestSlowHandshakes: connections that never finish their handshake are closed, and meanwhile others are served.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	const bound = 10 * time.Second
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	opening := fmt.Sprintf("GET /ws?channel=slow HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nX-Slow: ", relay.Addr())
	var slow sync.WaitGroup
	longest := make([]time.Duration, or(200, 2000))
	for i := range longest {
		slow.Go(func() { longest[i] = dawdle(t, relay.Addr(), opening[:i%(len(opening)+1)], 2*bound) })
	}
	for range 20 {
		began := time.Now()
		client := listen(t, relay, "honest")
		if err := client.Close(t.Context(), 1000, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
		if took := time.Since(began); took > bound/2 {
			t.Errorf("an honest client was kept waiting for %v", took)
		}
	}
	slow.Wait()
	t.Logf("the slow were closed after %v at most", slices.Max(longest))
	if most := slices.Max(longest); most > bound {
		t.Errorf("a slow handshake was suffered for %v", most)
	}
	if runtime.GOOS == "linux" { // nobody else tells
		awaitMetric(t, relay, "process_open_fds", func(n float64) bool { return n < 50 })
	}
}

// dawdle connects, says how it begins and then a letter each half second, and returns how long it is let do so. It gives
// up after too long.
func dawdle(t testing.TB, addr, opening string, tooLong time.Duration) time.Duration {
	began := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Errorf("connecting: %v", err)
		return 0
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(began.Add(tooLong)) // the sum shows
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn)
	}()
	_, _ = io.WriteString(conn, opening)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-closed:
			return time.Since(began)
		case <-tick.C:
			_, _ = io.WriteString(conn, "x")
		}
	}
}
