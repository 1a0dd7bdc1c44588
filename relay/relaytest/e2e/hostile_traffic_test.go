package e2e_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

var hostileFor = flag.Duration("hostile", 0, "send hostile traffic for this long, and check times and memory, too; 0: a few seconds")

// TestHostileTraffic: connections that are idle, invalid, slow or greedy, at
// random, do not harm honest clients: these miss nothing, and with -hostile wait
// at most twice as long as if the same traffic went elsewhere.
func TestHostileTraffic(t *testing.T) {
	clients, seconds := 100, 4*time.Second
	if *hostileFor > 0 {
		clients, seconds = 500, *hostileFor
	}
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_MAX_CONNECTIONS": "1500", "SIDECAST_OUTBOX_TOTAL_BYTES": "16MiB", "SIDECAST_HISTORY_BYTES": "8MiB",
		"SIDECAST_PAGE_CACHE_BYTES": "8MiB", "SIDECAST_PUBLISH_CHANNELS": "hostile",
	})
	honest := listenFleet(t, relay, clients, "honest")
	p := publisher(t, server, relaytest.Payloads{})
	stop := traffic(t, p, []string{"honest"}, 100*time.Millisecond)

	elsewhere := beside(seconds/4, func(ctx context.Context) { sendHostile(ctx, sink(t)) })
	slowest := slowestMetrics(t, relay)
	toRelay := beside(seconds, func(ctx context.Context) { sendHostile(ctx, relay.Addr()) })
	scrape := slowest()
	stop()
	finish(t, p, honest)
	if report := checkContract(t, relaytest.Run{Published: p.Log(), Sessions: honest.Sessions()}); report.Gaps > 0 {
		t.Errorf("%d gaps", report.Gaps)
	}

	near, far := latency99(honest, p, toRelay), latency99(honest, p, elsewhere)
	memory, most := peakMemory(t, relay), 40+1500*(6000+32<<10)>>20+16+8+8+20*runtime.GOMAXPROCS(0)
	t.Logf("99 %% of the messages take %v, and %v if the traffic goes elsewhere; metrics take up to %v; peak memory %.0f MiB, bound %d MiB; rejected:\n%s",
		near, far, scrape, memory, most, rejected(t, relay))
	if *hostileFor == 0 {
		return
	}
	if near > 2*far {
		t.Errorf("messages take %v, more than twice %v", near, far)
	}
	if scrape > time.Second {
		t.Errorf("the metrics took %v", scrape)
	}
	if memory > float64(most) {
		t.Errorf("%.0f MiB are needed, of %d", memory, most)
	}
}

// A span is a part of a test.
type span struct{ from, to time.Time }

// beside runs f for a while, and returns when that was.
func beside(d time.Duration, f func(ctx context.Context)) (s span) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.from = time.Now()
	f(ctx)
	s.to = time.Now()
	return s
}

// latency99 returns in which time clients received 99 % of the messages that
// were published in a span.
func latency99(fleet relaytest.Fleet, p *relaytest.Publisher, s span) time.Duration {
	published := make(map[string]time.Time)
	for _, m := range p.Log() {
		if m.Before.After(s.from) && m.Before.Before(s.to) {
			published[m.Payload] = m.Before
		}
	}
	var took []time.Duration
	for _, client := range fleet {
		for _, e := range eventsOf(client, relaytest.KindMessage) {
			if before, ok := published[e.Data]; ok {
				took = append(took, e.At.Sub(before))
			}
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// sink returns the address of a server that reads and discards.
func sink(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// slowestMetrics reads the metrics again and again until the returned function
// is called, which returns the longest time that took.
func slowestMetrics(t *testing.T, relay *relaytest.Process) func() time.Duration {
	client := http.Client{Timeout: relaytest.Patience}
	var longest atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			began := time.Now()
			response, err := client.Get("http://" + relay.AdminAddr() + "/metrics")
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			if err != nil {
				t.Errorf("reading the metrics: %v", err)
			}
			longest.Store(max(longest.Load(), int64(time.Since(began))))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		<-done
		return time.Duration(longest.Load())
	}
}

// rejected returns the metrics of rejected connections that are not 0.
func rejected(t *testing.T, relay *relaytest.Process) string {
	var list strings.Builder
	for line := range strings.Lines(get(t, "http://"+relay.AdminAddr()+"/metrics")) {
		if strings.HasPrefix(line, "sidecast_connections_rejected_total") && !strings.HasSuffix(line, " 0\n") {
			list.WriteString(line)
		}
	}
	return list.String()
}

// sendHostile sends hostile traffic to addr until ctx ends: about 200
// connections each second, of which up to 600 stay open for some seconds.
func sendHostile(ctx context.Context, addr string) {
	var open sync.WaitGroup
	defer open.Wait()
	slots := make(chan struct{}, 600)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case slots <- struct{}{}:
			open.Go(func() {
				defer func() { <-slots }()
				sendHostileBytes(ctx, addr, rand.New(rand.NewPCG(rand.Uint64(), 0)))
			})
		default:
		}
	}
}

// sendHostileBytes opens one connection. What it sends begins with a handshake
// most of the time, and comes in one piece or a little at a time.
func sendHostileBytes(ctx context.Context, addr string, random *rand.Rand) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	closed, end := context.WithTimeout(ctx, time.Duration(random.IntN(15_000))*time.Millisecond)
	defer end()
	go func() {
		defer end()
		_, _ = io.Copy(io.Discard, conn)
	}()
	b := hostileBytes(addr, random)
	if random.IntN(3) > 0 {
		_, _ = conn.Write(b)
		b = nil
	}
	tick := time.NewTicker(time.Duration(1+random.IntN(400)) * time.Millisecond)
	defer tick.Stop()
	for {
		n := min(1+random.IntN(40), len(b))
		_, _ = conn.Write(b[:n])
		b = b[n:]
		select {
		case <-closed.Done():
			return
		case <-tick.C:
		}
	}
}

// hostileBytes returns what one connection sends.
func hostileBytes(addr string, random *rand.Rand) []byte {
	request := func(head string) []byte { return []byte(head + " HTTP/1.1\r\nHost: " + addr + "\r\n") }
	switch random.IntN(10) {
	case 0: // nothing
		return nil
	case 1: // a request, and then an idle connection
		return append(request("GET /livez"), "\r\n"...)
	case 2: // half a request
		b := append(request("GET /ws?channel=honest"), "Upgrade: websocket\r\nX-Slow: "...)
		return b[:random.IntN(len(b))]
	case 3: // not HTTP
		return randomBytes(random, random.IntN(2000))
	}
	protocol := ""
	if random.IntN(2) == 0 {
		protocol = "Sec-WebSocket-Protocol: sidecast.v1\r\n"
	}
	target := []string{"/ws?channel=honest", "/ws", "/ws?channel=hostile&publish=hostile", "/ws?channel[]=a", "/ws?channel=%zz"}[random.IntN(5)]
	b := append(request("GET "+target), "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+protocol+"\r\n"...)
	for range 1 + random.IntN(20) {
		b = append(b, hostileFrame(random)...)
	}
	if random.IntN(5) == 0 {
		b[random.IntN(len(b))] ^= 1 << random.IntN(8)
	}
	return b
}

// hostileFrame returns bytes that follow a handshake.
func hostileFrame(random *rand.Rand) []byte {
	frame := func(op byte, payload []byte) []byte { return relaytest.AppendFrame(nil, true, op, payload) }
	switch random.IntN(9) {
	case 0:
		return attacks[random.IntN(len(attacks))].send
	case 1: // a message that does not come
		return header(0x82, 16<<10)[:random.IntN(15)]
	case 2: // many empty entries
		return frame(relaytest.OpText, []byte(`{"type":"subscribe","channels":[{}`+strings.Repeat(",{}", 5000)+"]}"))
	case 3: // a cursor that leads nowhere
		return frame(relaytest.OpText, fmt.Appendf(nil, `{"type":"subscribe","channels":[{"channel":"honest","after":"%x"}]}`, random.Uint64()))
	case 4:
		return frame(relaytest.OpPing, randomBytes(random, random.IntN(125)))
	case 5:
		return relaytest.AppendFrame(nil, false, relaytest.OpText, randomBytes(random, random.IntN(16<<10)))
	case 6:
		return randomBytes(random, random.IntN(100))
	case 7:
		return frame(relaytest.OpText, bytes.Repeat([]byte("[{"), random.IntN(8<<10)))
	}
	return frame(relaytest.OpText, randomBytes(random, random.IntN(1000)))
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}
