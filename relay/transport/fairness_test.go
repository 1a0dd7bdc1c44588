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
