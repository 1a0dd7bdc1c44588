package server_test

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
	"sidecast/relay/stats"
)

// scaleSessions needs about 2 GB of memory for each million.
var scaleSessions = flag.Int("scale.sessions", 1_000_000, "sessions of the benchmarks in which a socket costs nothing")

const (
	// scaleMessages is how many messages the sessions of a channel receive in
	// turn, of which the median counts.
	scaleMessages = 11
	// scaleIdle is how long idle sessions are watched.
	scaleIdle = 5 * time.Second
)

// scale measures sessions of raw clients that all have the same channel. No
// machine has sockets for so many: theirs accepts everything and does nothing,
// so that the figures are those of the hub, the sessions and the outboxes.
func scale(b *testing.B) []figure {
	return measureApart(b, "^BenchmarkScaleRaw$", 3,
		figure{unit: "B/session-natural"}, figure{unit: "B/session", most: 1250},
		figure{unit: "joins/s", least: 100_000}, figure{unit: "us-cpu/join"}, figure{unit: "ms-longest-join"},
		figure{unit: "us/delivery", most: 0.4}, figure{unit: "ms-cpu/s-idle"}, figure{unit: "us-cpu/leave"})
}

// scaleV1 is scale for clients of the JSON protocol, which subscribe by a
// command.
func scaleV1(b *testing.B) []figure {
	return measureApart(b, "^BenchmarkScaleV1$", 3,
		figure{unit: "B/session-natural"}, figure{unit: "B/session"},
		figure{unit: "joins/s"}, figure{unit: "us-cpu/join"}, figure{unit: "us/delivery"}, figure{unit: "us-cpu/leave"})
}

// scaleAlone is scale for clients that each have a channel of their own.
func scaleAlone(b *testing.B) []figure {
	return measureApart(b, "^BenchmarkScaleAlone$", 3,
		figure{unit: "B/session-natural"}, figure{unit: "B/session"},
		figure{unit: "joins/s"}, figure{unit: "us-cpu/join"}, figure{unit: "us/delivery"}, figure{unit: "us-cpu/leave"})
}

// BenchmarkScaleRaw measures scale once. The process must not have done
// anything else.
func BenchmarkScaleRaw(b *testing.B) {
	s := newScaleBench(b, protocol.Raw{})
	s.join(func(int) string { return "a" })
	s.deliverToAll("a")
	s.idle()
	s.leave()
}

// BenchmarkScaleV1 is BenchmarkScaleRaw for clients of the JSON protocol.
func BenchmarkScaleV1(b *testing.B) {
	s := newScaleBench(b, protocol.V1{})
	s.join(func(int) string { return "a" })
	s.deliverToAll("a")
	s.leave()
}

// BenchmarkScaleAlone is BenchmarkScaleRaw for clients on channels of their own.
func BenchmarkScaleAlone(b *testing.B) {
	s := newScaleBench(b, protocol.Raw{})
	s.join(ownChannel)
	s.deliverToEach(ownChannel)
	s.leave()
}

func ownChannel(i int) string { return "user:" + strconv.Itoa(i) }

// A scaleBench is a hub and its sessions.
type scaleBench struct {
	b        *testing.B
	protocol protocol.Protocol
	hub      *relay.Hub
	budget   *outbox.Budget
	stats    *stats.Stats
	clients  []*scaleClient
}

// A scaleClient is one connection: the outbox and the socket are together, as
// those of a transport are.
type scaleClient struct {
	outbox  outbox.Outbox
	socket  voidSocket
	session *relay.Session
}

// A voidSocket accepts everything and does nothing.
type voidSocket struct{ bytes int64 }

// Send implements [outbox.Socket].
func (s *voidSocket) Send(frames [][]byte) (n int, err error) {
	for _, frame := range frames {
		n += len(frame)
	}
	s.bytes += int64(n)
	return n, nil
}

// Unacknowledged implements [outbox.Socket].
func (*voidSocket) Unacknowledged() (bytes int, known bool) { return 0, true }

// Polled implements [outbox.Socket], as for clients without TLS.
func (*voidSocket) Polled() bool { return true }

// Drain implements [outbox.Socket]. It is not called.
func (*voidSocket) Drain(*outbox.Outbox) {}

// Finish implements [outbox.Socket].
func (*voidSocket) Finish() {}

// Expire implements [outbox.Socket].
func (*voidSocket) Expire(time.Duration) {}

// newScaleBench returns a running hub with the default settings.
func newScaleBench(b *testing.B, p protocol.Protocol) *scaleBench {
	server.TuneMemory()
	s := &scaleBench{b: b, protocol: p, stats: new(stats.Stats), clients: make([]*scaleClient, *scaleSessions)}
	s.budget = outbox.NewBudget(3<<20, 256<<20, 10*time.Second, s.stats)
	s.hub = relay.NewHub(relay.HubConfig{
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: allChannels, Public: allChannels},
		Budget: s.budget, Protocols: protocol.All(), Stats: s.stats, MaxChannels: 128, MaxPayload: 1 << 20,
		CommandRate: 20, CommandBurst: 50, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Hour,
		HistoryBytes: 64 << 20, HistoryAge: 5 * time.Minute,
	})
	var running sync.WaitGroup
	running.Go(func() { _ = s.hub.Run(b.Context()) })
	b.Cleanup(func() { running.Wait(); s.budget.Wait() })
	s.hub.Online(1)
	return s
}

// onAll calls f for each client, on as many goroutines as there are processors,
// and returns how long that took and its CPU time.
func (s *scaleBench) onAll(f func(i int)) (took, used time.Duration) {
	var working sync.WaitGroup
	var next atomic.Int64
	start, began := cpu(), time.Now()
	for range runtime.GOMAXPROCS(0) {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(s.clients); i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	working.Wait()
	return time.Since(began), cpu() - start
}

// join connects all clients, each to one channel. Their order in memory is not
// the one in which they join, as in a relay that has run for long: a delivery
// does not find its client in the processor's caches.
func (s *scaleBench) join(channel func(i int) string) {
	order := rand.Perm(len(s.clients))
	runtime.GC()
	debug.FreeOSMemory()
	before, n := rss(s.b), float64(len(s.clients))
	for i := range s.clients {
		s.clients[i] = new(scaleClient)
	}
	var longest atomic.Int64
	took, used := s.onAll(func(i int) {
		began := time.Now()
		i = order[i]
		s.connect(s.clients[i], channel(i))
		for d := int64(time.Since(began)); ; {
			if most := longest.Load(); d <= most || longest.CompareAndSwap(most, d) {
				break
			}
		}
	})
	s.b.ReportMetric(n/took.Seconds(), "joins/s")
	s.b.ReportMetric(float64(used.Microseconds())/n, "us-cpu/join")
	s.b.ReportMetric(float64(longest.Load())/float64(time.Millisecond), "ms-longest-join")
	s.b.ReportMetric(float64(rss(s.b)-before)/n, "B/session-natural")
	runtime.GC()
	debug.FreeOSMemory()
	s.b.ReportMetric(float64(rss(s.b)-before)/n, "B/session")
	s.b.ReportMetric(0, "ns/op")
}

// switchingProtocols stands for the response to a handshake.
var switchingProtocols = []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n")

// connect connects a client as the transport does.
func (s *scaleBench) connect(c *scaleClient, channel string) {
	c.outbox.Init(s.budget, &c.socket, nil)
	client := relay.Client{Transport: protocol.WebSocket, Protocol: s.protocol, Outbox: &c.outbox}
	var channels []string
	if s.protocol.ID() == protocol.RawID {
		channels = []string{channel}
	}
	if code := s.hub.Admit(s.b.Context(), &client, channels); code != 0 {
		s.b.Error("a client is rejected with", code)
	}
	c.outbox.Hold(switchingProtocols)
	c.session = s.hub.Join(client)
	if channels != nil {
		c.session.Subscribe([]protocol.ChannelRequest{{Channel: channel}})
	}
	c.outbox.Release()
	if channels == nil {
		c.session.Handle([]byte(`{"type":"subscribe","channels":["`+channel+`"]}`), true)
	}
}

// deliverToAll sends messages on a channel that all clients have.
func (s *scaleBench) deliverToAll(channel string) {
	cost := figure{}
	for range scaleMessages {
		start := cpu()
		s.hub.Publish([]byte(channel), payload)
		s.hub.Flush()
		s.awaitDeliveries((len(cost.samples) + 1) * len(s.clients))
		cost.samples = append(cost.samples, float64(cpu()-start)/float64(len(s.clients))/1000)
	}
	s.b.ReportMetric(cost.median(), "us/delivery")
	s.checkDelivered(scaleMessages)
}

// deliverToEach sends one message to each client, 64 at a time.
func (s *scaleBench) deliverToEach(channel func(i int) string) {
	const batch = 64
	names := make([][]byte, len(s.clients))
	for i := range names {
		names[i] = []byte(channel(i))
	}
	start := cpu()
	for i, name := range names {
		s.hub.Publish(name, payload)
		if i%batch == batch-1 {
			s.hub.Flush()
		}
	}
	s.hub.Flush()
	s.awaitDeliveries(len(names))
	s.b.ReportMetric(float64(cpu()-start)/float64(len(names))/1000, "us/delivery")
	s.checkDelivered(1)
}

// awaitDeliveries returns when n messages were delivered in all.
func (s *scaleBench) awaitDeliveries(n int) {
	delivered := &s.stats.Deliveries[s.protocol.ID()]
	for deadline := time.Now().Add(patience); delivered.Load() < uint64(n); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.b.Fatalf("%d of %d messages were delivered in %v", delivered.Load(), n, patience)
		}
	}
}

// checkDelivered fails unless each client has received n messages.
func (s *scaleBench) checkDelivered(n uint64) {
	if i := slices.IndexFunc(s.clients, func(c *scaleClient) bool {
		bytes, messages := c.outbox.Sent()
		return messages != n || bytes != c.socket.bytes
	}); i >= 0 {
		_, messages := s.clients[i].outbox.Sent()
		s.b.Errorf("client %d has received %d of %d messages", i, messages, n)
	}
}

// idle measures the CPU time of the clock that watches all sessions.
func (s *scaleBench) idle() {
	start := cpu()
	time.Sleep(scaleIdle)
	s.b.ReportMetric(float64((cpu()-start).Milliseconds())/scaleIdle.Seconds(), "ms-cpu/s-idle")
}

// leave disconnects all clients.
func (s *scaleBench) leave() {
	_, used := s.onAll(func(i int) {
		s.clients[i].session.Leave()
		s.clients[i].outbox.Shut()
	})
	s.b.ReportMetric(float64(used.Microseconds())/float64(len(s.clients)), "us-cpu/leave")
	if n := s.hub.Sessions(); n != 0 || s.stats.Channels.Load() != 0 || s.budget.Used() != 0 {
		s.b.Errorf("%d sessions, %d channels and %d queued bytes are left", n, s.stats.Channels.Load(), s.budget.Used())
	}
}
