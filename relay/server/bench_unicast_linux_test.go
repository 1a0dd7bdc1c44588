package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

const (
	outsideClients = 5000
	outsideRate    = 10_000 // messages per second
	outsideRounds  = 11
	outsideRound   = 2 * time.Second
)

// unicastOutside publishes messages to a real Redis at a constant rate, each to
// one of 5,000 clients, which sleep until they receive. The relay is the real
// binary with default settings, except that the clients answer no pings. The
// floor is a process too: one goroutine that reads from Redis and makes a
// sendto for each message. They take turns.
func unicastOutside(b *testing.B) []figure {
	redis := redistest.Start(b)
	relay := relaytest.Start(b, map[string]string{
		"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "r*", "SIDECAST_PUBLIC_CHANNELS": "r*",
		"SIDECAST_PING_INTERVAL": "10m", "SIDECAST_PONG_TIMEOUT": "9m",
	})
	relay.AwaitReady()
	address := redistest.FreeAddr(b)
	floor := startPeer(b, peerSpec{Role: "floor", Addr: address, Redis: redis.Addr, Count: outsideClients})
	sides := []*outside{
		newOutside(b, floor.pid, redis.Addr, address, "/?channel=f%d", "f%d"),
		newOutside(b, relay.PID(), redis.Addr, relay.Addr(), "/ws?channel=r%d", "r%d"),
	}
	for range outsideRounds + 1 {
		for _, o := range sides {
			o.round(b)
		}
	}
	least, ours := sides[0].figures("-floor"), sides[1].figures("")
	figures := []figure{{unit: "x-floor", most: 1.08}, {unit: "x-p50", most: 1.2}, {unit: "x-p99"}}
	for i := range figures {
		for k, cost := range ours[i].samples {
			figures[i].samples = append(figures[i].samples, cost/least[i].samples[k])
		}
	}
	return append(figures, append(ours, least...)...)
}

// An outside is a process that is measured, with the processes of its clients
// and of their publisher.
type outside struct {
	pid                int
	clients, publisher *peer
	samples            [4][]float64 // of each round, in the order of figures
}

// newOutside connects the clients to addr, and the publisher to Redis. In path
// and channel, %d is the number of the client.
func newOutside(b *testing.B, pid int, redis, addr, path, channel string) *outside {
	return &outside{
		pid:       pid,
		clients:   startPeer(b, peerSpec{Role: "wait", Addr: addr, Path: path, Count: outsideClients}),
		publisher: startPeer(b, peerSpec{Role: "pace", Addr: redis, Path: channel, Count: outsideClients}),
	}
}

// round publishes for the time of one round.
func (o *outside) round(b *testing.B) {
	const n = int(outsideRate * outsideRound / time.Second)
	before := load(&o.clients.delays)
	sleeps, used := sleepsOf(b, o.pid), cpuOf(b, o.pid)
	o.publisher.toPublish.Add(uint64(n))
	time.Sleep(outsideRound)
	o.clients.expect(b, uint64(n*len(rawFrame(payload))))
	used, sleeps = cpuOf(b, o.pid)-used, sleepsOf(b, o.pid)-sleeps
	delays := load(&o.clients.delays)
	for i := range before {
		delays[i] -= before[i]
	}
	for i, v := range []float64{
		float64(used.Microseconds()) / float64(n), delayOf(delays, 0.5), delayOf(delays, 0.99), float64(sleeps) / float64(n),
	} {
		o.samples[i] = append(o.samples[i], v)
	}
}

// figures returns all rounds but the first.
func (o *outside) figures(suffix string) (list []figure) {
	for i, unit := range []string{"us/message", "us-p50", "us-p99", "sleeps/message"} {
		list = append(list, figure{unit: unit + suffix, samples: o.samples[i][1:]})
	}
	return list
}

func load(counts *[delayBuckets]atomic.Uint64) (list []uint64) {
	for i := range counts {
		list = append(list, counts[i].Load())
	}
	return list
}

// delayOf returns a quantile in microseconds.
func delayOf(counts []uint64, q float64) float64 {
	total, sum := uint64(0), uint64(0)
	for _, n := range counts {
		total += n
	}
	for i, n := range counts {
		if sum += n; float64(sum) >= q*float64(total) {
			return float64(time.Duration(i+1)*delayWidth) / float64(time.Microsecond)
		}
	}
	return 0
}

// cpuOf returns the CPU time of a process.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	var spent syscall.Timespec
	clock := ^pid<<3 | 2 // as clock_getcpuclockid does
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&spent)), 0); errno != 0 {
		b.Fatal(errno)
	}
	return time.Duration(spent.Nano())
}

var voluntary = regexp.MustCompile(`(?m)^voluntary_ctxt_switches:\s*([0-9]+)$`)

// sleepsOf returns how often the threads of a process have gone to sleep.
func sleepsOf(b *testing.B, pid int) (n int) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		b.Fatalf("no threads of process %d: %v", pid, err)
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		if found := voluntary.FindSubmatch(status); found != nil {
			k, _ := strconv.Atoi(string(found[1]))
			n += k
		}
	}
	return n
}
