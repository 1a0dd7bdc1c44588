package console_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// BenchmarkConsole measures what an open console costs a relay with 10,000
// clients, in parts of a core: the processor time of the relay with a console,
// less that without one, in turns of ten seconds. Without messages, and while
// Redis publishes 1,000 messages per second on as many channels, each with ten
// subscribers.
//
//	go test ./relay/console -run - -bench Console -benchtime 4x -timeout 20m
func BenchmarkConsole(b *testing.B) {
	const clients, channels, turn = 10_000, 1000, 10 * time.Second
	redis := redistest.Start(b)
	relay := relaytest.Start(b, map[string]string{
		"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
		"SIDECAST_PING_INTERVAL": "10m",
	})
	relay.AwaitReady()
	for i := range clients {
		connect(b, relay.Addr(), fmt.Sprintf("room:%d", i%channels))
	}
	for _, rate := range []int{0, 1000} {
		b.Run(fmt.Sprintf("messages=%d", rate), func(b *testing.B) {
			ctx, stop := context.WithCancel(b.Context())
			var publishing sync.WaitGroup
			defer publishing.Wait()
			defer stop()
			if rate > 0 {
				publishing.Go(func() { publishSteadily(ctx, b, redis.Addr, channels, rate) })
			}
			var closed, open time.Duration
			for b.Loop() {
				closed += processorTime(b, relay.PID(), turn)
				console := openConsole(b, relay.AdminAddr())
				open += processorTime(b, relay.PID(), turn)
				_ = console.Close()
			}
			part := func(d time.Duration) float64 { return 100 * d.Seconds() / (float64(b.N) * turn.Seconds()) }
			b.ReportMetric(part(closed), "%core-closed")
			b.ReportMetric(part(open), "%core-open")
			b.ReportMetric(part(open-closed), "%core-console")
		})
	}
}

// connect connects a raw client that reads nothing: the messages fit into the
// buffers of its connection.
func connect(b *testing.B, addr, channel string) {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "GET /ws?channel=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", channel, addr)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("the handshake: %v %v", err, response)
	}
}

// publishSteadily publishes ten times per second.
func publishSteadily(ctx context.Context, b *testing.B, addr string, channels, rate int) {
	client := relaytest.NewRedis(addr, relaytest.Patience)
	defer client.Close()
	ticker := time.NewTicker(time.Second / 10)
	defer ticker.Stop()
	for i := 0; ; {
		pipeline := client.Pipeline()
		for range rate / 10 {
			pipeline.Publish(ctx, fmt.Sprintf("room:%d", i%channels), "a message of a usual length, such as those of a chat")
			i++
		}
		if _, err := pipeline.Exec(ctx); err != nil && ctx.Err() == nil {
			b.Error(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// processorTime returns the processor time that a process uses in a period.
func processorTime(b *testing.B, pid int, period time.Duration) time.Duration {
	read := func() time.Duration {
		var t unix.Timespec
		clock := int32(^pid<<3 | 2) // as clock_getcpuclockid
		if err := unix.ClockGettime(clock, &t); err != nil {
			b.Fatal(err)
		}
		return time.Duration(t.Nano())
	}
	before := read()
	time.Sleep(period)
	return read() - before
}

// openConsole reads the feed as a console does, until it is closed.
func openConsole(b *testing.B, addr string) io.Closer {
	response, err := http.Get("http://" + addr + "/console/feed")
	if err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("opening a console: %v %v", err, response)
	}
	go func() { _, _ = io.Copy(io.Discard, response.Body) }()
	return response.Body
}
