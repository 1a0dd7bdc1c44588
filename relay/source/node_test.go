package source_test

import (
	"strings"
	"testing"

	"sidecast/relay/embedded"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// tags returns the node of each epoch so far.
func (r *recorder) tags() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]uint32(nil), r.nodes...)
}

// TestNodeTag holds what replicas rely on: two links to one server have one tag, and no other server has it.
func TestNodeTag(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server, other := redistest.Start(t), redistest.Start(t)
		proxy := faultproxy.Start(t, server.Addr)
		a, b, c := run(t, server.Addr, []string{"*"}, speak), run(t, proxy.Addr, []string{"*"}, speak), run(t, other.Addr, []string{"*"}, speak)
		for _, l := range []*running{a, b, c} {
			l.awaitEvent(t, "online", 1)
		}
		if x, y, z := a.tags()[0], b.tags()[0], c.tags()[0]; x != y || x == z {
			t.Errorf("two links to one server have %08x and %08x, one to another has %08x", x, y, z)
		}
		proxy.Reset()
		b.awaitEvent(t, "online", 2)
		if tags := b.tags(); tags[0] != tags[1] {
			t.Errorf("one server had two tags: %08x", tags)
		}
		server.Restart()
		a.awaitEvent(t, "online", 2)
		if tags := a.tags(); tags[0] == tags[1] {
			t.Errorf("a server that restarted kept its tag %08x", tags[0])
		}
	})
}

// TestUnknownNode has another tag for each epoch, and one warning, where the server does not tell who it is.
func TestUnknownNode(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "allchannels", "+publish", "+role")
		l := goLive(t, server.Addr, []string{"*"}, speak, user)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		if tags := l.tags(); tags[0] == tags[1] {
			t.Errorf("two epochs had one tag: %08x", tags)
		}
		l.warnedOnce(t, "does not tell which server it is")
	})
}

// TestEmbeddedNode does not warn of what our own server lacks.
func TestEmbeddedNode(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for range 2 {
		l := goLive(t, server.Addr(), []string{"*"}, func(c *source.Config) { c.Embedded = true })
		if text := l.log.String(); strings.Contains(text, "level=WARN") {
			t.Error("warned of the embedded server")
		}
	}
}
