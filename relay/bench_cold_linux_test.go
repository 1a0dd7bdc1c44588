package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

// A coldSocket does to the caches what a kernel does that sends: it goes through some kilobytes that belong to the
// connection.
type coldSocket struct {
	outbox.Socket // never called: it takes everything
	kernel        []byte
}

const (
	coldBytes = 8 << 10 // of each connection
	coldLines = 80      // of them are touched
)

func (s *coldSocket) Send(frames [][]byte) (n int, err error) {
	s.touch()
	for _, frame := range frames {
		n += len(frame)
	}
	return n, nil
}

func (s *coldSocket) touch() {
	for i := range coldLines {
		s.kernel[i*37*64%coldBytes]++
	}
}

// A coldConn is one client: the outbox and the socket lie together, as those of a transport do.
type coldConn struct {
	_      [32]byte
	outbox outbox.Outbox
	socket coldSocket
	_      [192]byte
}

// coldHub is a hub with so many clients, each on the channel that channelOf returns. box may be nil.
func coldHub(b *testing.B, clients int, box *blackbox.Box, channelOf func(i int) string) (*relay.Hub, []*coldConn) {
	all := access.Patterns{access.MustPattern("*")}
	budget := outbox.NewBudget(1<<20, 1<<30, time.Minute, nil)
	hub := relay.NewHub(relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all},
		Protocols: protocol.All(), Budget: budget, Shards: 2, MaxChannels: 10, PingInterval: time.Hour,
		HistoryBytes: 64 << 20, HistoryAge: 5 * time.Minute, BlackBox: box,
	})
	var running sync.WaitGroup
	running.Go(func() { _ = hub.Run(b.Context()) })
	b.Cleanup(running.Wait)
	hub.Online(1)
	var conns []*coldConn
	for i := range clients {
		c := &coldConn{socket: coldSocket{kernel: make([]byte, coldBytes)}}
		c.outbox.Init(budget, &c.socket, nil)
		hub.Join(relay.Client{Protocol: protocol.Raw{}, Outbox: &c.outbox}).Subscribe(requests(channelOf(i)))
		conns = append(conns, c)
	}
	return hub, conns
}

// cpu is what this process has used: others that use the processor too do not count.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkCold is what CPU time the hub takes for one message to one of 5,000 clients, 64 at a time, where the kernel leaves nothing
// of the hub's in the caches: beyond what that kernel costs. Both take turns, so that a busy machine slows both.
//
// It shows what the layout of a channel is worth, and that messages are taken in together: without both it is twice as much.
func BenchmarkCold(b *testing.B) {
	const clients, batch, batches = 5000, 64, 200
	hub, conns := coldHub(b, clients, nil, func(i int) string { return fmt.Sprint("c", i) })
	names := make([][]byte, clients)
	for i := range names {
		names[i] = fmt.Append(nil, "c", i)
	}
	payload := []byte(strings.Repeat("x", 128))
	next := 0
	turn := func(publish func(i int), flush func()) float64 {
		began := cpu()
		for range batches {
			for range batch {
				publish(next)
				next = (next + 7) % clients
			}
			flush()
		}
		return float64(cpu()-began) / (batch * batches)
	}
	ours := func() float64 { return turn(func(i int) { hub.Publish(names[i], payload) }, hub.Flush) }
	kernel := func() float64 { return turn(func(i int) { conns[i].socket.touch() }, func() {}) }
	ours()
	var samples []float64
	for b.Loop() {
		samples = append(samples, -kernel()+ours())
	}
	slices.Sort(samples)
	b.ReportMetric(samples[len(samples)/2], "ns/message")
	b.ReportMetric(0, "ns/op")
}
