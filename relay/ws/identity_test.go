package ws

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// withChannelAuth makes all clients the user 42, and ask the application that
// authorizes channels.
func withChannelAuth(ask func(ctx context.Context, user, channel string) (time.Time, protocol.Code)) relayOption {
	return func(c *relayConfig) {
		c.hub.Access.Public, c.hub.Access.Login = access.Patterns{access.MustPattern("public")}, true
		c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) {
			return access.Principal{Identity: &access.Identity{User: "42"}, Ask: ask}, 0
		}
	}
}

// The relay asks the application about a channel, with the user's name, if no
// grant permits it. It does not ask if a grant does, if the client is subscribed
// to the channel, or if the name is invalid. It asks again after the client has
// left the channel.
func TestChannelAuth(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	r := newTestRelay(t, withChannelAuth(func(_ context.Context, user, channel string) (time.Time, protocol.Code) {
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
	p := r.dialV1()
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
	if got := strings.Join(asked, ", "); len(asked) != 4 || !strings.HasSuffix(got, "42 order:7") || !strings.Contains(got, "42 order:7") || strings.Contains(got, "sidecast") {
		t.Errorf("the application was asked about %s", got)
	}
}

// The relay asks about a raw client before it admits it, and closes it with a
// code that depends on the answer.
func TestChannelAuthForRaw(t *testing.T) {
	r := newTestRelay(t, withChannelAuth(func(_ context.Context, _, channel string) (time.Time, protocol.Code) {
		return time.Time{}, map[string]protocol.Code{"yes": protocol.CodeOK, "no": protocol.CodeForbidden, "away": protocol.CodeUnavailable}[channel]
	}))
	p := r.dial("/?channel=yes&channel=public")
	r.publish("yes", "hello")
	p.want(1, "hello")
	r.dial("/?channel=yes&channel=no").wantClose(protocol.CloseForbidden)
	r.dial("/?channel=yes&channel=away").wantClose(protocol.CloseTryLater)
}

// A session ends when the application's permission for one of its channels
// expires.
func TestChannelAuthExpires(t *testing.T) {
	r := newTestRelay(t, withChannelAuth(func(context.Context, string, string) (time.Time, protocol.Code) {
		return time.Now().Add(1500 * time.Millisecond), protocol.CodeOK
	}))
	raw, v1, other := r.dial("/?channel=order:7"), r.dialV1(), r.dialV1()
	v1.write(text(`{"type":"subscribe","channels":[{"channel":"order:7"}]}`))
	v1.wantText(`{"type":"subscribed"`)
	raw.wantClose(protocol.CloseUnauthorized.Because(protocol.ReasonExpired))
	v1.wantClose(protocol.CloseUnauthorized.Because(protocol.ReasonExpired))
	other.write(text(`{"type":"ping"}`))
	other.wantText(`{"type":"pong"}`)
}

// The relay asks about a few channels of one client at a time, so that the
// client does not fill the queue that all clients share. It asks about no more
// channels than the client may have.
func TestChannelAuthIsLimited(t *testing.T) {
	var now, most, all atomic.Int64
	r := newTestRelay(t, withChannelAuth(func(context.Context, string, string) (time.Time, protocol.Code) {
		n := now.Add(1)
		defer now.Add(-1)
		all.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(time.Millisecond)
		return time.Time{}, protocol.CodeOK
	}), func(c *relayConfig) { c.hub.MaxChannels = 20 })
	var channels []string
	for i := range 100 {
		channels = append(channels, `{"channel":"order:`+strings.Repeat("x", i)+`"}`)
	}
	p := r.dialV1()
	p.write(text(`{"type":"subscribe","channels":[` + strings.Join(channels, ",") + `]}`))
	p.wantText(`"code":"too_many_channels"`)
	for some := range slices.Chunk(channels, 15) {
		p.write(text(`{"type":"subscribe","channels":[` + strings.Join(some, ",") + `]}`))
	}
	for i := range channels {
		want := `{"type":"subscribed"`
		if i >= 20 {
			want = `{"type":"error"`
		}
		p.wantText(want)
	}
	if most.Load() > 4 || all.Load() != 20 {
		t.Errorf("the application was asked %d times, %d of them concurrently", all.Load(), most.Load())
	}
}

// If Identify returns a close code, the relay accepts the handshake and closes
// the connection without a session.
func TestIdentifyRejects(t *testing.T) {
	for _, code := range []protocol.CloseCode{protocol.CloseUnauthorized, protocol.CloseForbidden, protocol.CloseTryLater} {
		r := newTestRelay(t, func(c *relayConfig) {
			c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) { return access.Principal{}, code }
		})
		r.dial("/").wantClose(code)
		r.dial("/", v1Header).wantClose(code)
		if n := r.stats.Opened.Load(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	}
}

// Identify receives the token as the client offered it, and the response does
// not contain it.
func TestTokenOffer(t *testing.T) {
	tokens := make(chan string, 1)
	r := newTestRelay(t, func(c *relayConfig) {
		c.ws.Identify = func(_ *http.Request, token *string) (access.Principal, protocol.CloseCode) {
			if token == nil {
				token = new("no token")
			}
			tokens <- *token
			return access.Principal{}, 0
		}
	})
	const header = "Sec-WebSocket-Protocol: "
	for _, test := range []struct{ offer, token, echoed string }{
		{"sidecast.v1", "no token", "sidecast.v1"},
		{"sidecast.token.a.b.c, sidecast.v1", "a.b.c", "sidecast.v1"},
		{"sidecast.raw, sidecast.token.a.b.c", "a.b.c", "sidecast.raw"},
		{"sidecast.token., sidecast.v1", "", "sidecast.v1"},
	} {
		p := r.connect()
		p.write([]byte(handshakeText("/", header+test.offer)))
		response := p.response()
		if token, echoed := <-tokens, response.Header.Get("Sec-WebSocket-Protocol"); token != test.token || echoed != test.echoed {
			t.Errorf("offer %q: the token is %q and the response has %q", test.offer, token, echoed)
		}
	}
}

// A relay that stops does not wait for the application's answers: it closes the
// clients with a code that makes them reconnect.
func TestIdentifyEndsWithTheRelay(t *testing.T) {
	asking := make(chan struct{})
	r := newTestRelay(t, func(c *relayConfig) {
		c.ws.Identify = func(r *http.Request, _ *string) (access.Principal, protocol.CloseCode) {
			close(asking)
			<-r.Context().Done()
			return access.Principal{}, protocol.CloseTryLater
		}
	})
	p := r.connect()
	p.write([]byte(handshakeText("/")))
	<-asking
	r.hub.Drain(t.Context(), 0, protocol.CloseRestart)
	r.handler.Wait()
	if response := p.response(); response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response.Status)
	}
	p.wantClose(protocol.CloseRestart)
}

// If the code that decides about a client fails, its places are free again, and
// the relay can stop.
func TestPanicInIdentify(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) {
		c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) { panic("a fault") }
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		request.Header.Set(name, value)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		t.Errorf("the answer is %s", response.Status)
		_ = response.Body.Close()
	}
	await(t, "the client's slot to be free", func() bool { return r.slots.Used() == 0 })
}
