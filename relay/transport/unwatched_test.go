package transport_test

import (
	"errors"
	"testing"
	"time"

	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/transport"
)

// A connection that the kernel cannot watch ends, whatever its session needs for
// that.
func TestAddFails(t *testing.T) {
	for _, early := range []string{"", "a\n"} {
		for _, farewell := range []transport.Farewell{transport.CloseNow, transport.Linger, transport.LingerForPeer} {
			fails := true
			inBubble(t, 1, func(k *inmemory.Kernel) transport.Kernel {
				k.BeforeAdd = func(int32) error {
					if fails {
						return errors.New("no memory")
					}
					return nil
				}
				return k
			}, func(s *setup) {
				r, _ := s.newReceiver()
				r.onLeave = func() transport.Farewell { return farewell }
				s.serve(r, early)
				select {
				case <-r.closed:
				case <-time.After(time.Minute):
					t.Fatalf("farewell %d: the connection stays open", farewell)
				}
				fails = false
				next, client := s.connect(nil)
				s.send(client, "a\n")
				s.want(next, "a")
			})
		}
	}
}
