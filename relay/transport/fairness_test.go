package transport_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/transport"
)

// The loop reads at most once from a client in each turn, even if it sends all
// the time, and there are events for it as well as bytes left.
func TestFairness(t *testing.T) {
	var turn, reads, most atomic.Int32
	inBubble(t, 1, func(k *inmemory.Kernel) transport.Kernel {
		k.BeforeRead = func(fd int32) error {
			if fd == 0 {
				most.Store(max(most.Load(), reads.Add(1)))
			}
			return nil
		}
		return &hookedKernel{Kernel: k, beforeWait: func() { turn.Add(1); reads.Store(0) }}
	}, func(s *setup) {
		var flood, other *inmemory.Conn
		var sent, received int32 // the turns in which the other client sends, and is received
		left := 200
		_, flood = s.connect(func(r *receiver) {
			r.onReceive = func(string) {
				if left == 100 {
					sent = turn.Load()
					s.send(other, "x")
				}
				if left--; left > 0 {
					s.send(flood, strings.Repeat("x", 16<<10))
				}
				r.line = nil
			}
		})
		_, other = s.connect(func(r *receiver) { r.onReceive = func(string) { received = turn.Load() } })
		s.send(flood, strings.Repeat("x", 100<<10))
		synctest.Wait()
		if n := most.Load(); n != 1 {
			t.Errorf("the loop reads %d times from one client in one turn", n)
		}
		if received != sent+1 {
			t.Errorf("the other client sends in turn %d, and is received in turn %d", sent, received)
		}
	})
}

// However many clients send all the time, another one waits for about one read
// from each of them.
func TestFairnessToManyClients(t *testing.T) {
	const many = 1000
	var reads atomic.Int32
	inBubble(t, 1, func(k *inmemory.Kernel) transport.Kernel {
		k.BeforeRead = func(int32) error { reads.Add(1); return nil }
		return k
	}, func(s *setup) {
		var other *inmemory.Conn
		var sent, received int32 // the reads before the other client sends, and before it is received
		floods, left := make([]*inmemory.Conn, many), 20*many
		for i := range floods {
			_, floods[i] = s.connect(func(r *receiver) {
				r.onReceive = func(string) {
					if left == 15*many {
						sent = reads.Load()
						s.send(other, "x")
					}
					if left--; left > 0 {
						s.send(floods[i], strings.Repeat("x", 16<<10))
					}
					r.line = nil
				}
			})
		}
		_, other = s.connect(func(r *receiver) { r.onReceive = func(string) { received = reads.Load() } })
		synctest.Wait()
		for _, flood := range floods {
			s.send(flood, strings.Repeat("x", 40<<10))
		}
		synctest.Wait()
		if n := received - sent; n > 2*many {
			t.Errorf("another client waits for %d reads from %d clients", n, many)
		}
	})
}
