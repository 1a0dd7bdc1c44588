package auth

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// TestForwardedHeaders checks that the application receives the listed headers,
// and no other header of the browser.
func TestForwardedHeaders(t *testing.T) {
	var got http.Header
	a := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		fmt.Fprint(w, `{}`)
	})
	r := request("Cookie", "a=1", "Cookie", "b=2", "Authorization", "Basic Zm9vOmJhcg==", "Origin", "https://app.example.com",
		"User-Agent", "Firefox", "X-Forwarded-For", "6.6.6.6", "X-Sidecast-User", "admin", "Sec-WebSocket-Protocol", "sidecast.token.x",
		"Sec-WebSocket-Key", "k", "X-Evil", "1", "Host", "evil", "Referer", "https://x/?token=1", "X-Requested-With", "no")
	r.RemoteAddr = "203.0.113.9:1234"
	authorize := a.ChannelAuthorizer(r, &access.Identity{User: "4 2%\u00fc"})
	if _, code := authorize(t.Context(), "4 2%\u00fc", " chat:1 "); code != protocol.CodeOK {
		t.Fatal(code)
	}
	want := http.Header{
		"Accept": {"application/json"}, "X-Requested-With": {"XMLHttpRequest"}, "Cookie": {"a=1", "b=2"},
		"Authorization": {"Basic Zm9vOmJhcg=="}, "Origin": {"https://app.example.com"}, "User-Agent": {"Firefox"},
		"X-Forwarded-For": {"203.0.113.9"}, "X-Sidecast-Channel": {"%20chat:1%20"}, "X-Sidecast-User": {"4%202%25%C3%BC"},
	}
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %q must not be forwarded", name, got[name])
		}
	}
}

// TestNoCredentials checks that a client without credentials is anonymous and
// causes no request.
func TestNoCredentials(t *testing.T) {
	a := newTestApp(t, respond(200, `{"user":"1"}`))
	if id, code := a.Login(t.Context(), request("Origin", "https://x")); id != nil || code != protocol.CodeOK {
		t.Errorf("%v, %v", id, code)
	}
	if a.ChannelAuthorizer(request(), nil) != nil || a.ChannelAuthorizer(request(), &access.Identity{User: "1"}) == nil {
		t.Error("want no authorizer without credentials and identity, and one for a user with a token")
	}
	if n := a.requests.Load(); n != 0 {
		t.Errorf("%d requests, want 0", n)
	}
}
