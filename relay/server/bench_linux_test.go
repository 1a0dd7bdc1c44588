package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/auth"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
	"sidecast/relay/ws"
)

// A benchRelay is the whole relay with its default settings, behind a real listener; only Redis is not there.
type benchRelay struct {
	hub   *relay.Hub
	stats *relay.Stats
	floor *floor
}

func (r *benchRelay) addr() string { return r.floor.Addr().String() }

func startRelay(b *testing.B) *benchRelay {
	b.Helper()
	all, err := relay.ParsePatterns([]string{"*"})
	if err != nil {
		b.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	r := &benchRelay{stats: new(relay.Stats)}
	budget := relay.NewBudget(2<<20, 256<<20, 10*time.Second, r.stats)
	r.hub = relay.NewHub(relay.HubConfig{
		Access: &relay.Access{Names: relay.NewNames("", ""), Channels: all, Public: all}, Budget: budget,
		Protocols: protocol.All(), Stats: r.stats, Logger: logger, MaxChannels: 128, MaxPayload: 1 << 20,
		CommandRate: 20, CommandBurst: 50, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Hour,
	})
	handler := ws.New(ws.Config{
		Hub: r.hub, Budget: budget, Slots: relay.NewSlots(50_000), Stats: r.stats, Logger: logger, MaxInbound: 16 << 10,
		Protocols: map[string]relay.Protocol{"": protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{}},
	})
	origins, err := auth.NewOrigins(auth.OriginsConfig{})
	if err != nil {
		b.Fatal(err)
	}
	r.floor = &floor{Listener: listen(b)}
	s := server.New(server.Config{
		Public: r.floor, Admin: listen(b), Hub: r.hub, WS: handler, Origins: origins, Stats: r.stats, Logger: logger,
		AdminHandler: func(ready, live http.Handler) http.Handler { return live },
		Ready:        func() bool { return true }, Up: func() bool { return true },
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	inner, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(inner) })
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			b.Error(err)
		}
		stop()
	})
	b.Cleanup(func() { cancel(server.ErrHurry); running.Wait() })
	r.hub.Online()
	return r
}

func listen(b *testing.B) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// slice is how long one measurement lasts before the other side has its turn.
const (
	slice  = 200 * time.Millisecond
	rounds = 15
)

// measure alternates between two sides and reports the median of the ratios of what a delivery cost them.
func measure(b *testing.B, ours, floor func() (deliveries int)) {
	one := func(side func() int) (perDelivery float64, deliveries int, allocs uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start, began := cpu(), time.Now()
		for time.Since(began) < slice {
			deliveries += side()
		}
		used := cpu() - start
		runtime.ReadMemStats(&after)
		return float64(used) / float64(deliveries), deliveries, after.Mallocs - before.Mallocs
	}
	one(ours)
	one(floor)
	var ratios, costs, floors []float64
	var deliveries int
	var allocs uint64
	for range rounds {
		f, _, _ := one(floor)
		o, n, a := one(ours)
		ratios, costs, floors = append(ratios, o/f), append(costs, o), append(floors, f)
		deliveries += n
		allocs += a
	}
	b.ReportMetric(median(ratios), "x-floor")
	b.ReportMetric(median(costs)/1000, "us/delivery")
	b.ReportMetric(median(floors)/1000, "us/floor")
	b.ReportMetric(float64(allocs)/float64(deliveries), "allocs/delivery")
	b.ReportMetric(0, "ns/op")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkFanout is one channel with n listeners and k messages at a time, against the floor.
func BenchmarkFanout(b *testing.B) {
	for _, row := range []struct{ n, k int }{{1000, 1}, {5000, 1}, {10_000, 1}, {5000, 2}, {5000, 8}, {5000, 32}} {
		b.Run(fmt.Sprintf("n=%d/k=%d", row.n, row.k), func(b *testing.B) {
			r := startRelay(b)
			p := startPeer(b, r.addr(), "/?channel=a", row.n)
			payload := []byte(strings.Repeat("x", 128))
			frame := rawFrame(payload)
			channel := []byte("a")
			sent, batch := p.read(), uint64(row.n*row.k*len(frame))
			measure(b, func() int {
				for range row.k {
					r.hub.Publish(channel, payload)
				}
				r.hub.Flush()
				sent += batch
				p.await(b, sent)
				return row.n * row.k
			}, func() int {
				for range row.k {
					r.floor.send(r.floor.fds, frame)
				}
				sent += batch
				p.await(b, sent)
				return row.n * row.k
			})
		})
	}
}

// BenchmarkUnicast is 5,000 channels with one listener each, 64 messages at a time.
func BenchmarkUnicast(b *testing.B) {
	const n, k = 5000, 64
	r := startRelay(b)
	p := startPeer(b, r.addr(), "/?channel=c%d", n)
	payload := []byte(strings.Repeat("x", 128))
	frame := rawFrame(payload)
	sent := p.read()
	next := [2]int{}
	var name []byte
	measure(b, func() int {
		for range 20 {
			for range k {
				name = strconv.AppendInt(append(name[:0], 'c'), int64(next[0]), 10)
				next[0] = (next[0] + 7) % n
				r.hub.Publish(name, payload)
			}
			r.hub.Flush()
		}
		sent += uint64(20 * k * len(frame))
		p.await(b, sent)
		return 20 * k
	}, func() int {
		for range 20 * k {
			r.floor.send(r.floor.fds[next[1]:next[1]+1], frame)
			next[1] = (next[1] + 7) % n
		}
		sent += uint64(20 * k * len(frame))
		p.await(b, sent)
		return 20 * k
	})
}

// BenchmarkIdle is what 10,000 connected clients cost that say and hear nothing.
func BenchmarkIdle(b *testing.B) {
	const n = 10_000
	server.TuneMemory()
	r := startRelay(b)
	runtime.GC()
	debug.FreeOSMemory()
	before := rss(b)
	startPeer(b, r.addr(), "/?channel=a", n)
	for r.hub.Sessions() < n {
		time.Sleep(time.Millisecond)
	}
	natural := rss(b) - before
	runtime.GC()
	debug.FreeOSMemory()
	b.ReportMetric(float64(natural)/n, "B/conn-natural")
	b.ReportMetric(float64(rss(b)-before)/n, "B/conn")
	b.ReportMetric(0, "ns/op")
}

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
