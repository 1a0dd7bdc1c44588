package server_test

import (
	"crypto/tls"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
)

// payload is the payload of most messages.
var payload = []byte(strings.Repeat("x", 128))

// startOnline runs a relay with a link to Redis.
func startOnline(b *testing.B, change ...func(*relayOptions)) *testRelay {
	b.Helper()
	r := startRelay(b, change...)
	r.hub.Online(1)
	return r
}

// fanout delivers batches of k messages to n subscribers of one channel.
func fanout(n, k int, most float64) func(b *testing.B) []figure {
	return func(b *testing.B) []figure {
		r := startOnline(b)
		p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/?channel=a", Count: n})
		return compare(fan(b, r, p, n, k, 0), newFloor(b, r, n).fan(b, p, n, k, 0), most, 0.01)
	}
}

// fan publishes k messages to n subscribers. A client receives more bytes than
// the frame has for each of them.
func fan(b *testing.B, r *testRelay, p *peer, n, k, more int) side {
	return fanOf(b, r, p, n, k, payload, len(rawFrame(payload))+more)
}

// fanOf publishes k messages with a payload to n subscribers, each of which
// receives so many bytes for each of them.
func fanOf(b *testing.B, r *testRelay, p *peer, n, k int, payload []byte, bytes int) side {
	channel, batch := []byte("a"), uint64(n*k*bytes)
	return func() int {
		for range k {
			r.hub.Publish(channel, payload)
		}
		r.hub.Flush()
		p.expect(b, batch)
		return n * k
	}
}

// fan does the same on the floor.
func (f *floor) fan(b *testing.B, p *peer, n, k, more int) side {
	frame := append(rawFrame(payload), make([]byte, more)...)
	return func() int {
		for range k {
			f.send(f.fds, frame)
		}
		p.expect(b, uint64(n*k*len(frame)))
		return n * k
	}
}

// fanoutSSE is a fan-out to event streams. Without a history, their frames
// have no ids, so that all have the same size.
func fanoutSSE(n int) func(b *testing.B) []figure {
	return func(b *testing.B) []figure {
		r := startOnline(b, func(o *relayOptions) { o.history = 0 })
		p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/sse?channel=a", Count: n})
		more := len(protocol.SSE{}.Message("a", nil, payload)) - len(rawFrame(payload))
		return compare(fan(b, r, p, n, 1, more), newFloor(b, r, n).fan(b, p, n, 1, more), 0, 0.01)
	}
}

// envelope is a message of Laravel's, with as much data as payload.
var envelope = []byte(`{"event":"App\\Events\\OrderShipped","data":{"text":"` + string(payload) + `"},"socket":"12345.67890"}`)

// pusherSubscribe is the first message of a client of the Pusher protocol.
const pusherSubscribe = `{"event":"pusher:subscribe","data":{"auth":"","channel":"a"}}`

// startPusher runs a relay for clients of the Pusher protocol.
func startPusher(o *relayOptions) { o.app = access.NewApp("1", "key", "a-secret-of-16-bytes") }

// fanoutPusher is a fan-out of Laravel's messages to clients that subscribe like
// pusher-js.
func fanoutPusher(n, k int, most float64) func(b *testing.B) []figure {
	return func(b *testing.B) []figure {
		r := startOnline(b, startPusher)
		p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/app/key?protocol=7", Count: n, Command: pusherSubscribe})
		await(b, "the clients to subscribe", func() bool { return r.stats.Subscriptions.Load() == int64(n) })
		size := len(protocol.Pusher{}.Message("a", nil, envelope))
		for before := uint64(0); p.bytesRead.Load() != before; time.Sleep(300 * time.Millisecond) { // the answers
			before = p.bytesRead.Load()
		}
		p.expected = p.bytesRead.Load()
		return compare(fanOf(b, r, p, n, k, envelope, size), newFloor(b, r, n).fan(b, p, n, k, size-len(rawFrame(payload))), most, 0.01)
	}
}

// idlePusher measures the memory for 10,000 idle clients of the Pusher protocol,
// each with one subscription.
func idlePusher(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdlePusher$", 0, 0) }

// BenchmarkIdlePusher is BenchmarkIdle for a client of the Pusher protocol.
func BenchmarkIdlePusher(b *testing.B) {
	measureIdle(b, peerSpec{Role: "read", Path: "/app/key?protocol=7", Count: idleClients, Command: pusherSubscribe}, startPusher)
}

// unicast delivers batches of 64 messages to 5,000 channels with one subscriber
// each, without Redis.
func unicast(b *testing.B) []figure {
	const n, k = 5000, 64
	r := startOnline(b)
	p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/?channel=c%d", Count: n})
	f := newFloor(b, r, n)
	frame := rawFrame(payload)
	next := [2]int{}
	var name []byte
	ours := func() int {
		for range 20 {
			for range k {
				name = strconv.AppendInt(append(name[:0], 'c'), int64(next[0]), 10)
				next[0] = (next[0] + 7) % n
				r.hub.Publish(name, payload)
			}
			r.hub.Flush()
		}
		p.expect(b, uint64(20*k*len(frame)))
		return 20 * k
	}
	return compare(ours, func() int {
		for range 20 * k {
			f.send(f.fds[next[1]:next[1]+1], frame)
			next[1] = (next[1] + 7) % n
		}
		p.expect(b, uint64(20*k*len(frame)))
		return 20 * k
	}, 0, 0)
}

// tlsRecord is the number of bytes that TLS 1.3 adds to one write: a header,
// the type and a tag.
const tlsRecord = 5 + 1 + 16

// fanoutTLS is a fan-out over TLS. Its floor writes the same number of bytes
// without encryption.
func fanoutTLS(n, k int) func(b *testing.B) []figure {
	return func(b *testing.B) []figure {
		r := startOnline(b, func(o *relayOptions) { o.tls = selfSigned() })
		p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/?channel=a", Count: n, TLS: true})
		return compare(fan(b, r, p, n, k, tlsRecord), newFloor(b, r, n).fan(b, p, n, k, tlsRecord), 0, 0)
	}
}

// idle measures the memory for 10,000 idle clients.
func idle(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdle$", 2200, 1400) }

// idleV1 measures the memory for 10,000 idle clients of the JSON protocol, each
// with one subscription.
func idleV1(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdleV1$", 2900, 1900) }

// idleGoroutine measures the memory for 10,000 idle clients with a goroutine for
// each.
func idleGoroutine(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdleGoroutine$", 7000, 5500) }

// idleTLS measures the memory for 10,000 idle clients with TLS.
func idleTLS(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdleTLS$", 0, 0) }

// idleSSE measures the memory for 10,000 idle event streams.
func idleSSE(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdleSSE$", 0, 0) }

// idleHTTP2 measures the memory for 10,000 idle event streams over HTTP/2.
func idleHTTP2(b *testing.B) []figure { return idleIn(b, "^BenchmarkIdleHTTP2$", 0, 0) }

// idleIn measures memory by a benchmark in another process.
func idleIn(b *testing.B, benchmark string, mostNatural, most float64) []figure {
	return measureApart(b, benchmark, 3,
		figure{unit: "B/conn-natural", most: mostNatural}, figure{unit: "B/conn", most: most})
}

// measureApart runs a benchmark several times in other processes, because
// memory that this process has already allocated would be reused and not
// counted. It returns the figures, with their samples.
func measureApart(b *testing.B, benchmark string, times int, figures ...figure) []figure {
	for range times {
		command := exec.Command(os.Args[0], "-test.run=^$", "-test.bench="+benchmark, "-test.benchtime=1x",
			"-scale.sessions="+strconv.Itoa(*scaleSessions))
		out, err := command.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for i := range figures {
			f := &figures[i]
			f.samples = append(f.samples, metric(b, out, f.unit))
		}
	}
	return figures
}

// metric returns a metric from the output of a benchmark.
func metric(b *testing.B, out []byte, unit string) float64 {
	found := regexp.MustCompile(`([0-9.e+]+) ` + unit + `\s`).FindSubmatch(out)
	if found == nil {
		b.Fatalf("no %s in\n%s", unit, out)
	}
	v, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// idleClients is how many clients most benchmarks of idle clients have.
const idleClients = 10_000

// BenchmarkIdle measures the memory for an idle client once. The process must
// not have done anything else.
func BenchmarkIdle(b *testing.B) {
	measureIdle(b, peerSpec{Role: "read", Path: "/?channel=a", Count: idleClients})
}

// BenchmarkIdleV1 is BenchmarkIdle for a client of the JSON protocol, which
// subscribes by a command.
func BenchmarkIdleV1(b *testing.B) {
	measureIdle(b, peerSpec{
		Role: "read", Path: "/", Count: idleClients,
		Offer: protocol.SubprotocolV1, Command: `{"type":"subscribe","channel":"a"}`,
	})
}

// BenchmarkIdleGoroutine is BenchmarkIdle with a goroutine for each client.
func BenchmarkIdleGoroutine(b *testing.B) {
	measureIdle(b, peerSpec{Role: "read", Path: "/?channel=a", Count: idleClients},
		func(o *relayOptions) { o.goroutines = true })
}

// BenchmarkIdleTLS is BenchmarkIdle for a client with TLS.
func BenchmarkIdleTLS(b *testing.B) {
	measureIdle(b, peerSpec{Role: "read", Path: "/?channel=a", Count: idleClients, TLS: true},
		func(o *relayOptions) { o.tls = selfSigned() })
}

// BenchmarkIdleSSE is BenchmarkIdle for an event stream.
func BenchmarkIdleSSE(b *testing.B) {
	measureIdle(b, peerSpec{Role: "read", Path: "/sse?channel=a", Count: idleClients})
}

// BenchmarkIdleHTTP2 is BenchmarkIdle for an event stream over HTTP/2.
func BenchmarkIdleHTTP2(b *testing.B) {
	measureIdle(b, peerSpec{Role: "http2", Path: "/sse?channel=a", Count: idleClients})
}

// measureIdle reports the memory of this process for each client, when each has
// one subscription. It returns the relay and the clients.
func measureIdle(b *testing.B, spec peerSpec, change ...func(*relayOptions)) (*testRelay, *peer) {
	server.TuneMemory()
	r := startRelay(b, change...)
	r.hub.Online(1)
	runtime.GC()
	debug.FreeOSMemory()
	before := rss(b)
	spec.Addr = r.addr
	p := startPeer(b, spec)
	await(b, "the clients to subscribe", func() bool { return r.stats.Subscriptions.Load() == int64(spec.Count) })
	natural := rss(b) - before
	runtime.GC()
	debug.FreeOSMemory()
	b.ReportMetric(float64(natural)/float64(spec.Count), "B/conn-natural")
	b.ReportMetric(float64(rss(b)-before)/float64(spec.Count), "B/conn")
	b.ReportMetric(0, "ns/op")
	return r, p
}

// rss returns the resident memory of this process in bytes.
func rss(b *testing.B) int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// storm connects 10,000 clients concurrently.
func storm(b *testing.B) []figure {
	const n = 10_000
	served := figure{unit: "served", least: n}
	cost := figure{unit: "us/handshake"}
	r := startRelay(b)
	r.hub.Online(1)
	start := cpu()
	p := startPeer(b, peerSpec{Role: "storm", Addr: r.addr, Path: "/?channel=a", Count: n})
	cost.samples = append(cost.samples, float64(cpu()-start)/n/1000)
	r.hub.Publish([]byte("a"), payload)
	r.hub.Flush()
	p.expect(b, uint64(n*len(rawFrame(payload)))) // each client receives the message
	served.samples = append(served.samples, float64(r.hub.Sessions()))
	return []figure{served, cost}
}

// profile measures the share of a fan-out's CPU samples that are in the relay's
// only system call for a delivery.
func profile(b *testing.B) []figure {
	share := figure{unit: "%-in-sendto", least: 85}
	r := startOnline(b)
	const n = 5000
	p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/?channel=a", Count: n})
	publish := fan(b, r, p, n, 1, 0)
	top := ""
	for range 3 {
		file, err := os.CreateTemp(b.TempDir(), "cpu")
		if err != nil {
			b.Fatal(err)
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			b.Fatal(err)
		}
		for began := time.Now(); time.Since(began) < 4*time.Second; {
			publish()
		}
		pprof.StopCPUProfile()
		all := pprofTop(b, file.Name(), "-cum", "-nodecount=80")
		found := regexp.MustCompile(`([0-9.]+)%\s+\S*transport\.send\b`).FindStringSubmatch(all)
		if found == nil {
			b.Fatalf("no samples in\n%s", all)
		}
		percent, _ := strconv.ParseFloat(found[1], 64)
		share.samples = append(share.samples, percent)
		top = pprofTop(b, file.Name(), "-nodecount=10")
	}
	_, top, _ = strings.Cut(top, "\n      flat")
	fmt.Printf("\n      flat%s", top) // b.Log would print only ten lines
	return []figure{share}
}

func pprofTop(b *testing.B, file string, options ...string) string {
	args := append([]string{"tool", "pprof", "-top"}, options...)
	out, err := exec.Command("go", append(args, os.Args[0], file)...).Output()
	if err != nil {
		b.Fatal(err)
	}
	return string(out)
}

// selfSigned returns a server's configuration with a certificate that clients
// do not trust.
func selfSigned() *tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: s.TLS.Certificates}
}
