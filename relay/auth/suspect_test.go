package auth

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// A page that is rejected because of a proxy or of two names of one machine gets
// the advice that helps.
func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		comment, origin, host, forwarded string
		want                             error
	}{
		{"a foreign page", "https://evil.example", "app.example.com", "", ErrFirstOrigin},
		{"a file", "null", "localhost:8080", "", ErrOpaque},
		{"127.0.0.1 to localhost", "http://127.0.0.1:8000", "localhost:8080", "", ErrLoopbackNames},
		{"localhost to 127.0.0.1", "http://localhost:8000", "127.0.0.1:8080", "", ErrLoopbackNames},
		{"localhost to IPv6", "http://localhost:8000", "[::1]:8080", "", ErrLoopbackNames},
		{"nginx's default Host", "https://app.example.com", "127.0.0.1:8080", "", ErrProxyHost},
		{"the name of an upstream", "https://app.example.com", "sidecast:8080", "", ErrProxyHost},
		{"the name of a Kubernetes service", "https://app.example.com", "sidecast.web.svc.cluster.local", "", ErrProxyHost},
		{"a public name", "https://app.example.com", "live.example.com", "", ErrFirstOrigin},
		{"two addresses", "http://192.0.2.1", "192.0.2.2:8080", "", ErrFirstOrigin},
		{"a proxy that is not trusted", "https://app.example.com", "127.0.0.1:8080", "app.example.com", ErrProxyUntrusted},
		{"a proxy for another host", "https://app.example.com", "127.0.0.1:8080", "other.example.com", ErrProxyHost},
	} {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.Host = tt.host
		r.Header.Set("Origin", tt.origin)
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-Host", tt.forwarded)
		}
		o, err := NewOrigins(OriginsConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Explain(r, o.Check(r)); !errors.Is(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.comment, got, tt.want)
		}
	}
}

// Where the Host header does not decide, it is not suspected.
func TestExplainOtherRules(t *testing.T) {
	r := httptest.NewRequest("GET", "/ws", nil)
	r.Host = "127.0.0.1:8080"
	r.Header.Set("Origin", "https://app.example.com")
	for _, c := range []OriginsConfig{{Allowed: []string{"https://other.example.com"}}, {Embedded: true}} {
		o, err := NewOrigins(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Explain(r, o.Check(r)); got != ErrOrigin {
			t.Errorf("%+v: %v", c, got)
		}
	}
	// The hosts are equal, and the scheme is wrong.
	o, err := NewOrigins(OriginsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewRequest("GET", "https://localhost/ws", nil) // over TLS
	app.Header.Set("Origin", "capacitor://localhost")
	if got := o.Explain(app, o.Check(app)); got != ErrFirstOrigin {
		t.Errorf("an app shell over TLS: %v", got)
	}
	// A trusted proxy names the host itself.
	r.RemoteAddr = "192.0.2.1:1"
	r.Header.Set("X-Forwarded-Host", "app.example.com")
	o, err = NewOrigins(OriginsConfig{Proxies: NewProxies([]netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")})})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Explain(r, o.Check(r)); err != nil {
		t.Errorf("with a trusted proxy: %v", err)
	}
}
