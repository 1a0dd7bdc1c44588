package server_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"
)

// A stuckBench measures the delivery times to clients that read.
type stuckBench struct {
	b       *testing.B
	relay   *testRelay
	clients *peer
	payload []byte
	number  int // of the next message
}

const (
	healthyClients = 900
	otherClients   = 100
	stuckEvery     = 25 * time.Millisecond
	// stuckFill is the number of messages that fill the kernel's buffers for a
	// client that does not read.
	stuckFill     = 60
	stuckMeasured = 100
)

// stuck measures the delivery times to 900 clients while 100 other clients do
// not read, and compares them with the times while the 100 clients read. In the
// middle of a measurement, the outboxes of a third of the stuck clients are
// filled, and these clients are evicted.
func stuck(b *testing.B) []figure {
	s := &stuckBench{b: b, relay: startRelay(b), payload: bytes.Repeat(payload, 4<<10/len(payload))}
	s.relay.hub.Online(1)
	s.clients = startPeer(b, peerSpec{
		Role: "read", Addr: s.relay.addr, Path: "/?channel=a", Count: healthyClients, Frame: len(rawFrame(s.payload)),
	})
	ratio := figure{unit: "x-p99", most: 1.5}
	with, without := figure{unit: "ms-p99-beside-stuck"}, figure{unit: "ms-p99-all-well"}
	evicted := figure{unit: "evicted"}
	for range 5 {
		allRead := s.round("read")
		before := s.relay.evictions()
		someStuck := s.round("stuck")
		ratio.samples = append(ratio.samples, someStuck/allRead)
		with.samples, without.samples = append(with.samples, someStuck), append(without.samples, allRead)
		evicted.samples = append(evicted.samples, float64(s.relay.evictions()-before))
	}
	return []figure{ratio, with, without, evicted}
}

// round returns the p99 of the delivery time in milliseconds while the other
// clients have the given role.
func (s *stuckBench) round(role string) float64 {
	others := startPeer(s.b, peerSpec{Role: role, Addr: s.relay.addr, Path: "/?channel=a&channel=third%d", Count: otherClients})
	defer s.leave(others)
	s.publish(stuckFill)
	before := s.snapshot()
	s.publish(stuckMeasured / 2)
	if role == "stuck" {
		large := bytes.Repeat(payload, 1<<20/len(payload))
		for i := range otherClients / 3 {
			name := strconv.AppendInt([]byte("third"), int64(i), 10)
			for range 3 {
				s.relay.hub.Publish(name, large)
			}
		}
		s.relay.hub.Flush()
	}
	s.publish(stuckMeasured / 2)
	return s.p99(before)
}

// leave stops the other clients and returns when the relay has removed them.
func (s *stuckBench) leave(others *peer) {
	others.stop()
	for s.relay.hub.Sessions() > healthyClients {
		time.Sleep(time.Millisecond)
	}
}

// publish publishes n messages at a constant rate and returns when all have
// arrived.
func (s *stuckBench) publish(n int) {
	ticker := time.NewTicker(stuckEvery)
	defer ticker.Stop()
	for range n {
		<-ticker.C
		s.clients.times[s.number%len(s.clients.times)].Store(time.Now().UnixNano())
		s.number++
		s.relay.hub.Publish([]byte("a"), s.payload)
		s.relay.hub.Flush()
	}
	s.clients.expect(s.b, uint64(n*healthyClients*len(rawFrame(s.payload))))
}

// snapshot copies the counts of delivery times.
func (s *stuckBench) snapshot() []uint64 {
	list := make([]uint64, len(s.clients.buckets))
	for i := range list {
		list[i] = s.clients.buckets[i].Load()
	}
	return list
}

// p99 returns the p99 in milliseconds of the deliveries since the snapshot
// before.
func (s *stuckBench) p99(before []uint64) float64 {
	now := s.snapshot()
	total := uint64(0)
	for i := range now {
		now[i] -= before[i]
		total += now[i]
	}
	sum := uint64(0)
	for i := range now {
		if sum += now[i]; sum*100 >= total*99 {
			return float64(time.Duration(i+1)*bucketWidth) / float64(time.Millisecond)
		}
	}
	return 0
}
