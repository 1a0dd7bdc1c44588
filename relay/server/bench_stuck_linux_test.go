package server_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"
)

// A stuckBench is 900 clients that read, and how long messages take to them.
type stuckBench struct {
	b       *testing.B
	relay   *wholeRelay
	clients *peer
	payload []byte
	number  int // of the next message
}

const (
	healthyClients = 900
	otherClients   = 100
	stuckEvery     = 25 * time.Millisecond
	// stuckFill is how many messages fill the kernel's buffers of a client that does not read.
	stuckFill     = 60
	stuckMeasured = 100
)

// stuck is how long messages take to 900 clients while 100 others do not read, compared with while they do. In the middle
// of what is measured a third of the stuck ones has its outbox filled to the brim, and is thrown out.
func stuck(b *testing.B) []figure {
	s := &stuckBench{b: b, relay: startRelay(b), payload: bytes.Repeat(payload, 4<<10/len(payload))}
	s.relay.hub.Online(1)
	s.clients = startPeer(b, peerSpec{
		Role: "drink", Addr: s.relay.addr, Path: "/?channel=a", Count: healthyClients, Frame: len(rawFrame(s.payload)),
	})
	ratio := figure{unit: "x-p99", most: 1.5}
	with, without := figure{unit: "ms-p99-beside-stuck"}, figure{unit: "ms-p99-all-well"}
	evicted := figure{unit: "evicted"}
	for range 5 {
		well := s.round("drink")
		before := s.evictions()
		ill := s.round("stuck")
		ratio.samples = append(ratio.samples, ill/well)
		with.samples, without.samples = append(with.samples, ill), append(without.samples, well)
		evicted.samples = append(evicted.samples, float64(s.evictions()-before))
	}
	return []figure{ratio, with, without, evicted}
}

func (s *stuckBench) evictions() (n uint64) {
	for i := range s.relay.stats.Evictions {
		n += s.relay.stats.Evictions[i].Load()
	}
	return n
}

// round returns the p99 in milliseconds while the others do what role says.
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

// leave ends the others and returns when the relay has seen it.
func (s *stuckBench) leave(others *peer) {
	others.stop()
	for s.relay.hub.Sessions() > healthyClients {
		time.Sleep(time.Millisecond)
	}
}

// publish publishes n messages evenly and returns when all have arrived.
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

func (s *stuckBench) snapshot() []uint64 {
	list := make([]uint64, len(s.clients.buckets))
	for i := range list {
		list[i] = s.clients.buckets[i].Load()
	}
	return list
}

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
