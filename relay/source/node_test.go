package source_test

import (
	"testing"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// nodeTags returns the node tag of each epoch so far.
func (r *recorder) nodeTags() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]uint32(nil), r.nodes...)
}

// TestNodeTag checks what replicas rely on: two links to one server have the
// same tag, and no other server has it.
func TestNodeTag(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		other := redistest.Start(t)
		proxy := faultproxy.Start(t, server.Addr)
		a := startLive(t, server.Addr, []string{"*"}, useProtocol)
		b := startLive(t, proxy.Addr, []string{"*"}, useProtocol)
		c := startLive(t, other.Addr, []string{"*"}, useProtocol)
		if x, y, z := a.nodeTags()[0], b.nodeTags()[0], c.nodeTags()[0]; x != y || x == z {
			t.Errorf("two links to one server have %08x and %08x, one to another has %08x", x, y, z)
		}
		proxy.Reset()
		b.awaitEvent(t, "online", 2)
		if tags := b.nodeTags(); tags[0] != tags[1] {
			t.Errorf("one server had two tags: %08x", tags)
		}
		server.Restart()
		a.awaitEvent(t, "online", 2)
		if tags := a.nodeTags(); tags[0] == tags[1] {
			t.Errorf("a server that restarted kept its tag %08x", tags[0])
		}
	})
}
