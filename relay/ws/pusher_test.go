package ws

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// A client of the Pusher protocol reconnects at once after 4200-4299, after a
// second after 4100-4199, and never after 4000-4099. A relay that drains sends it
// away without a loop: it may be the only one that the client reaches.
func TestPusherCloseCodes(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) {
		c.ws.App = access.NewApp("1", "key", "a secret of 16 bytes")
		c.hub.Access.App = c.ws.App
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/app/{key}", r.handler.ServePusher)
	server := httptest.NewServer(mux)
	defer server.Close()
	r.addr = server.Listener.Addr().String()
	dial := func(target string) (*peer, uint16) {
		p := r.dial(target)
		for {
			switch op, payload, err := p.read(); {
			case err != nil:
				t.Fatal(err)
			case protocol.Opcode(op) == protocol.OpClose:
				return p, uint16(payload[0])<<8 | uint16(payload[1])
			default:
				return p, 0
			}
		}
	}
	p, _ := dial("/app/key?protocol=7")
	for target, want := range map[string]uint16{"/app/other?protocol=7": 4001, "/app/key?protocol=4": 4007, "/app/key": 0, "/app/key?protocol=5": 0} {
		if _, code := dial(target); code != want {
			t.Errorf("%s: %d, want %d", target, code, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var draining sync.WaitGroup
	draining.Go(func() { r.hub.Drain(ctx, 0, protocol.CloseRestart) })
	_, payload, err := p.read()
	if err != nil || len(payload) < 2 || uint16(payload[0])<<8|uint16(payload[1]) != 4200 {
		t.Errorf("the close of a client: %q %v", payload, err)
	}
	for deadline := time.Now().Add(10 * time.Second); r.hub.Leaving() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if _, code := dial("/app/key?protocol=7"); code != 4100 {
		t.Errorf("a client that reconnects to the relay that drains: %d, want 4100", code)
	}
	cancel()
	draining.Wait()
}
