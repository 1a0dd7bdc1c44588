package ws

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// asks lets an application of the test decide on channels.
func asks(ask func(ctx context.Context, user, channel string) (time.Time, protocol.Code)) rigOption {
	return func(c *rigConfig) {
		c.hub.Access.Public, c.hub.Access.Login = access.Patterns{access.MustPattern("public")}, true
		c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) {
			return access.Principal{Identity: &access.Identity{User: "42"}, Ask: ask}, 0
		}
	}
}

// What no grant opens is asked, with the user's name; what one opens is not, and neither is what cannot be opened at all.
func TestAsking(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	r := newRig(t, asks(func(_ context.Context, user, channel string) (time.Time, protocol.Code) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, user+" "+channel)
		switch channel {
		case "order:7":
			return time.Time{}, protocol.CodeOK
		case "order:8":
			return time.Time{}, protocol.CodeForbidden
		}
		return time.Time{}, protocol.CodeUnavailable
	}))
	p := r.v1()
	p.write(text(`{"type":"subscribe","ref":1,"channels":[{"channel":"public"},{"channel":"order:7"},{"channel":"order:8"},` +
		`{"channel":"away"},{"channel":"sidecast:x"},{"channel":"order:7"}]}`))
	for _, want := range []string{
		`{"type":"subscribed","channel":"public"`, `{"type":"subscribed","channel":"order:7"`, `{"type":"error","code":"forbidden"`,
		`{"type":"error","code":"unavailable"`, `{"type":"error","code":"bad_channel"`, `{"type":"subscribed","channel":"order:7"`,
	} {
		p.wantText(want)
	}
	p.write(text(`{"type":"unsubscribe","channel":"order:7"}`))
	p.wantText(`{"type":"unsubscribed","channel":"order:7"`)
	p.write(text(`{"type":"subscribe","channels":[{"channel":"order:7"}]}`))
	p.wantText(`{"type":"subscribed","channel":"order:7"`)
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(asked, ", "); len(asked) != 3 || !strings.Contains(got, "42 order:7") || strings.Contains(got, "sidecast") {
		t.Errorf("asked about %s", got)
	}
}

// A raw client is asked about before it is let in, and closed with what the answer comes to.
func TestAskingForRaw(t *testing.T) {
	r := newRig(t, asks(func(_ context.Context, _, channel string) (time.Time, protocol.Code) {
		return time.Time{}, map[string]protocol.Code{"yes": protocol.CodeOK, "no": protocol.CodeForbidden, "away": protocol.CodeUnavailable}[channel]
	}))
	ear := r.dial("/?channel=yes&channel=public")
	r.say("yes", "hello")
	ear.want(1, "hello")
	r.dial("/?channel=yes&channel=no").wantClose(protocol.CloseForbidden)
	r.dial("/?channel=yes&channel=away").wantClose(protocol.CloseTryLater)
}

// When what the application opened ends, so does the session.
func TestPermitEnds(t *testing.T) {
	r := newRig(t, asks(func(context.Context, string, string) (time.Time, protocol.Code) {
		return time.Now().Add(1500 * time.Millisecond), protocol.CodeOK
	}))
	raw, v1, other := r.dial("/?channel=order:7"), r.v1(), r.v1()
	v1.write(text(`{"type":"subscribe","channels":[{"channel":"order:7"}]}`))
	v1.wantText(`{"type":"subscribed"`)
	raw.wantClose(protocol.CloseUnauthorized)
	v1.wantClose(protocol.CloseUnauthorized)
	other.write(text(`{"type":"ping"}`))
	other.wantText(`{"type":"pong"}`)
}

// One client's channels are asked about a few at a time, so that it does not fill the queue that all share; and no more of
// them than it may have.
func TestAskingIsBounded(t *testing.T) {
	var now, most, all atomic.Int64
	r := newRig(t, asks(func(context.Context, string, string) (time.Time, protocol.Code) {
		n := now.Add(1)
		defer now.Add(-1)
		all.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(time.Millisecond)
		return time.Time{}, protocol.CodeOK
	}), func(c *rigConfig) { c.hub.MaxChannels = 20 })
	var channels []string
	for i := range 100 {
		channels = append(channels, `{"channel":"order:`+strings.Repeat("x", i)+`"}`)
	}
	p := r.v1()
	p.write(text(`{"type":"subscribe","channels":[` + strings.Join(channels, ",") + `]}`))
	for range 20 {
		p.wantText(`{"type":"subscribed"`)
	}
	for range 80 {
		p.wantText(`{"type":"error"`)
	}
	if most.Load() > 4 || all.Load() != 20 {
		t.Errorf("asked %d times, %d at once", all.Load(), most.Load())
	}
}

// A verdict closes before there is a session, after the handshake was accepted.
func TestIdentifyRefuses(t *testing.T) {
	for _, code := range []protocol.CloseCode{protocol.CloseUnauthorized, protocol.CloseForbidden, protocol.CloseTryLater} {
		r := newRig(t, func(c *rigConfig) {
			c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) { return access.Principal{}, code }
		})
		r.dial("/").wantClose(code)
		r.dial("/", v1Header).wantClose(code)
		if n := r.stats.Opened.Load(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	}
}

// The token reaches Identify as it was offered, and never the wire.
func TestTokenOffer(t *testing.T) {
	tokens := make(chan string, 1)
	r := newRig(t, func(c *rigConfig) {
		c.ws.Identify = func(_ *http.Request, token *string) (access.Principal, protocol.CloseCode) {
			if token == nil {
				token = new("none")
			}
			tokens <- *token
			return access.Principal{}, 0
		}
	})
	const header = "Sec-WebSocket-Protocol: "
	for _, test := range []struct{ offer, token, echoed string }{
		{"sidecast.v1", "none", "sidecast.v1"},
		{"sidecast.token.a.b.c, sidecast.v1", "a.b.c", "sidecast.v1"},
		{"sidecast.raw, sidecast.token.a.b.c", "a.b.c", "sidecast.raw"},
		{"sidecast.token., sidecast.v1", "", "sidecast.v1"},
	} {
		p := r.connect()
		p.write([]byte(r.handshake("/", header+test.offer)))
		response := p.response()
		if token, echoed := <-tokens, response.Header.Get("Sec-WebSocket-Protocol"); token != test.token || echoed != test.echoed {
			t.Errorf("%q: token %q, echoed %q", test.offer, token, echoed)
		}
	}
}

// A relay that stops does not wait for those whom the application has not answered yet: they are told to come again.
func TestIdentifyEndsWithTheRelay(t *testing.T) {
	asking := make(chan struct{})
	r := newRig(t, func(c *rigConfig) {
		c.ws.Identify = func(r *http.Request, _ *string) (access.Principal, protocol.CloseCode) {
			close(asking)
			<-r.Context().Done()
			return access.Principal{}, protocol.CloseTryLater
		}
	})
	p := r.connect()
	p.write([]byte(r.handshake("/")))
	<-asking
	r.hub.Drain(t.Context(), 0, protocol.CloseRestart)
	r.handler.Wait()
	if response := p.response(); response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response.Status)
	}
	p.wantClose(protocol.CloseRestart)
}
