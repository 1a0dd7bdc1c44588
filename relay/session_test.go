package relay_test

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A session does not keep the request in memory in which its client named the
// channel: it may be long, and contain a token.
func TestSessionForgetsTheRequest(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 1})
	join := func() (*relay.Session, weak.Pointer[byte]) {
		url := "/?token=" + strings.Repeat("x", 1000) + "&channel=news"
		name := url[strings.LastIndexByte(url, '=')+1:]
		o := new(outbox.Outbox)
		o.Init(h.budget, outboxtest.NewFakeSocket(outboxtest.Unlimited), nil)
		s := h.Join(relay.Client{Protocol: protocol.Raw{}, Outbox: o, PublishTo: name})
		s.Subscribe(requests(name))
		return s, weak.Make(unsafe.StringData(url))
	}
	s, url := join()
	runtime.GC()
	if url.Value() != nil {
		t.Error("the URL is still in memory")
	}
	s.Leave()
	h.checkEmpty()
}
