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

// header returns only the header of a masked frame with a length of 64 bits: 14
// bytes.
func header(first byte, length uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, length), 1, 2, 3, 4)
}

// fragments returns a message of n continuation frames without the last one.
func fragments(n int) []byte {
	b := relaytest.AppendFrame(nil, false, relaytest.OpText, []byte("begin"))
	for range n {
		b = relaytest.AppendFrame(b, false, relaytest.OpContinuation, []byte("more"))
	}
	return b
}

// attacks are the bytes that hostile clients send, and the code with which the
// relay closes them.
var attacks = []struct {
	name string
	send []byte
	code uint16
}{
	{"a length that overflows int64", header(0x81, 1<<63), 1002},
	{"the greatest length", header(0x82, 1<<64-1), 1002},
	{"a length of 16 MiB", header(0x82, 16<<20), 1009},
	{"a length of 1 GiB, as text", header(0x81, 1<<30), 1009},
	{"fragments without end", fragments(10_000), 1008},
	{"a flood of pings", bytes.Repeat(relaytest.AppendFrame(nil, true, relaytest.OpPing, []byte("x")), 10_000), 1008},
	{"not masked", bytes.Repeat([]byte{0x81, 1, 'x'}, 100), 1002},
	{"a second HTTP request", []byte("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"), 1002},
	{"zeros", make([]byte, 1<<16), 1002},
	{"16 MiB in fragments of the maximum size", append(
		relaytest.AppendFrame(nil, false, relaytest.OpBinary, make([]byte, 16<<10)),
		bytes.Repeat(relaytest.AppendFrame(nil, false, relaytest.OpContinuation, make([]byte, 16<<10)), 1024)...), 1009},
}

// TestHostileClients: the relay closes hostile clients, does not crash and does
// not use much more memory. Its honest clients miss nothing.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	names := channels("honest", 4)
	honest := listenFleet(t, relay, 20, names...)
	p := publisher(t, server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	stop := traffic(t, p, names, 10*time.Millisecond)

	before := peakMemory(t, relay)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			attackers := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, orLong(50, 500))
			var all sync.WaitGroup
			for _, client := range attackers {
				// The relay may close the connection before it has read
				// everything.
				all.Go(func() { _ = client.SendRaw(attack.send) })
			}
			all.Wait()
			codes := make(map[uint16]int)
			for _, client := range attackers {
				end, err := client.Await(t.Context(), relaytest.Is(relaytest.KindEnd))
				if err != nil {
					t.Fatalf("a hostile client was not closed: %v", err)
				}
				codes[end.Code]++
			}
			// The connection of a client that is still sending may be reset
			// before it has read the close frame.
			if codes[attack.code] == 0 || codes[attack.code]+codes[1006] != len(attackers) {
				t.Errorf("closed with %v, want %d", codes, attack.code)
			}
		})
	}
	wantMemory(t, relay, before)
	stop()
	finish(t, p, honest)
	report := checkContract(t, relaytest.Run{Published: p.Log(), Sessions: honest.Sessions()})
	if report.Gaps > 0 {
		t.Errorf("%d gaps", report.Gaps)
	}
	awaitMetric(t, relay, `sidecast_connections{protocol="v1",transport="websocket"}`,
		func(n float64) bool { return n == float64(len(honest)) })
}

// peakMemory returns the peak resident memory of a relay in MiB; on systems
// other than Linux the current memory.
func peakMemory(t testing.TB, relay *relaytest.Process) float64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return metric(t, relay, "process_resident_memory_bytes") / (1 << 20)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", relay.PID()))
	found := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("the kernel does not report the peak memory: %v\n%s", err, status)
	}
	kilobytes, _ := strconv.ParseFloat(string(found[1]), 64)
	return kilobytes / 1024
}

// wantMemory fails the test if the peak memory of a relay has grown much since
// it was before MiB.
func wantMemory(t testing.TB, relay *relaytest.Process, before float64) {
	t.Helper()
	const most = 160 // enough for the race detector, which needs several times the memory
	after := peakMemory(t, relay)
	t.Logf("peak memory %.0f MiB before, %.0f MiB after", before, after)
	if after-before > most {
		t.Errorf("the relay grew from %.0f to %.0f MiB", before, after)
	}
}

// TestSlowHandshakes: the relay closes connections that never finish their
// handshake, and serves other clients while they are open.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	const bound = 10 * time.Second
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	opening := fmt.Sprintf("GET /ws?channel=slow HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nX-Slow: ", relay.Addr())
	var slow sync.WaitGroup
	longest := make([]time.Duration, orLong(200, 2000))
	for i := range longest {
		slow.Go(func() { longest[i] = sendSlowly(t, relay.Addr(), opening[:i%(len(opening)+1)], 2*bound) })
	}
	for range 20 {
		began := time.Now()
		client := listen(t, relay, "honest")
		if err := client.Close(t.Context(), 1000, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
		if took := time.Since(began); took > bound/2 {
			t.Errorf("an honest client waited for %v", took)
		}
	}
	slow.Wait()
	most := slices.Max(longest)
	t.Logf("the slow connections were closed after at most %v", most)
	if most > bound {
		t.Errorf("a slow handshake was closed only after %v", most)
	}
	if runtime.GOOS == "linux" { // only Linux has this metric
		awaitMetric(t, relay, "process_open_fds", func(n float64) bool { return n < 50 })
	}
}

// sendSlowly connects, sends the opening and then one letter each half second.
// It returns after how long the relay closed the connection, or tooLong if it
// did not.
func sendSlowly(t testing.TB, addr, opening string, tooLong time.Duration) time.Duration {
	began := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Errorf("connecting: %v", err)
		return 0
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(began.Add(tooLong)) // the returned duration shows it
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
