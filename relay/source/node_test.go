package source_test

import (
	"strings"
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
		a := startLink(t, server.Addr, []string{"*"}, useProtocol)
		b := startLink(t, proxy.Addr, []string{"*"}, useProtocol)
		c := startLink(t, other.Addr, []string{"*"}, useProtocol)
		for _, l := range []*runningLink{a, b, c} {
			l.awaitEvent(t, "online", 1)
		}
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

// TestUnknownNode checks that each epoch has a new tag, and that there is one
// warning, if the server does not identify itself.
func TestUnknownNode(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "allchannels", "+publish", "+role")
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, user)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		if tags := l.nodeTags(); tags[0] == tags[1] {
			t.Errorf("two epochs had one tag: %08x", tags)
		}
		l.expectLoggedOnce(t, "does not report its run_id")
	})
}

// TestEmbeddedNode checks that there is no warning about features that the
// in-memory server lacks.
func TestEmbeddedNode(t *testing.T) {
	t.Parallel()
	server := startEmbedded(t)
	for range 2 {
		l := startLive(t, server.Addr(), []string{"*"}, embeddedMode)
		if text := l.log.String(); strings.Contains(text, "level=WARN") {
			t.Error("there is a warning about the embedded server")
		}
	}
}
