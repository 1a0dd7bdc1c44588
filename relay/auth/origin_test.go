package auth

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestOrigins checks which pages may connect.
func TestOrigins(t *testing.T) {
	origins := func(c OriginsConfig) *Origins {
		t.Helper()
		o, err := NewOrigins(c)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	same := origins(OriginsConfig{})
	listed := origins(OriginsConfig{Allowed: []string{"https://good.com", "http://dev.test:3000", "https://*.wide.com", "https://xn--bcher-kva.example"}})
	opaque := origins(OriginsConfig{Allowed: []string{"null", "file://"}})
	all := origins(OriginsConfig{Allowed: []string{"*"}})
	proxied := origins(OriginsConfig{Proxies: NewProxies(prefixes("10.0.0.0/8"))})
	embedded := origins(OriginsConfig{Embedded: true})
	type headers []string
	for _, tt := range []struct {
		comment string
		origins *Origins
		host    string
		headers headers
		peer    string
		want    bool
	}{
		{"no Origin: not a browser", same, "good.com", nil, "", true},
		{"same host", same, "good.com", headers{"https://good.com"}, "", true},
		{"http, without TLS", same, "good.com", headers{"http://good.com"}, "", true},
		{"another port: cookies ignore it", same, "good.com:8443", headers{"https://good.com:444"}, "", true},
		{"upper case", same, "GOOD.com", headers{"https://Good.COM"}, "", true},
		{"IPv6", same, "[2001:db8::1]:80", headers{"http://[2001:db8::1]:3000"}, "", true},
		{"another host", same, "good.com", headers{"https://evil.com"}, "", false},
		{"null, as a file sends it", same, "good.com", headers{"null"}, "", false},
		{"an empty Origin", same, "good.com", headers{""}, "", false},
		{"a prefix", same, "good.com", headers{"https://evil-good.com"}, "", false},
		{"a suffix", same, "good.com", headers{"https://good.com.evil.com"}, "", false},
		{"a subdomain", same, "good.com", headers{"https://evil.good.com"}, "", false},
		{"a parent", same, "www.good.com", headers{"https://good.com"}, "", false},
		{"a user part", same, "good.com", headers{"https://good.com@evil.com"}, "", false},
		{"a user part that is the host", same, "good.com", headers{"https://evil.com@good.com"}, "", false},
		{"a path", same, "good.com", headers{"https://good.com/x"}, "", false},
		{"a backslash", same, "good.com", headers{`https://evil.com\good.com`}, "", false},
		{"a dot at the end", same, "good.com", headers{"https://good.com."}, "", false},
		{"two Origin headers", same, "good.com", headers{"https://good.com", "https://evil.com"}, "", false},
		{"two origins in one header", same, "good.com", headers{"https://good.com, https://evil.com"}, "", false},
		{"two origins in one header, with a space", same, "good.com", headers{"https://good.com https://evil.com"}, "", false},
		{"no scheme", same, "good.com", headers{"good.com"}, "", false},
		{"a line break", same, "good.com", headers{"https://good.com\nx"}, "", false},

		{"listed", listed, "relay.com", headers{"https://good.com"}, "", true},
		{"listed, with its scheme's port", listed, "relay.com", headers{"https://good.com:443"}, "", true},
		{"listed with a port", listed, "relay.com", headers{"http://dev.test:3000"}, "", true},
		{"listed with another scheme", listed, "relay.com", headers{"http://good.com"}, "", false},
		{"listed with another port", listed, "relay.com", headers{"https://good.com:444"}, "", false},
		{"the same host, which is not listed", listed, "relay.com", headers{"https://relay.com"}, "", false},
		{"below a wildcard", listed, "relay.com", headers{"https://a.wide.com"}, "", true},
		{"two labels below a wildcard", listed, "relay.com", headers{"https://a.b.wide.com"}, "", true},
		{"the parent of a wildcard", listed, "relay.com", headers{"https://wide.com"}, "", false},
		{"a suffix of letters, not of labels", listed, "relay.com", headers{"https://evilwide.com"}, "", false},
		{"below a wildcard with another scheme", listed, "relay.com", headers{"http://a.wide.com"}, "", false},
		{"a wildcard followed by another domain", listed, "relay.com", headers{"https://a.wide.com.evil.com"}, "", false},
		{"punycode as browsers send it", listed, "relay.com", headers{"https://xn--bcher-kva.example"}, "", true},
		{"a star in the Origin header", listed, "relay.com", headers{"https://*.wide.com"}, "", true}, // it is below wide.com
		{"null is listed", opaque, "relay.com", headers{"null", "Cookie", "session=1"}, "", true},
		{"file:// is listed", opaque, "relay.com", headers{"file://"}, "", true},
		{"null in upper case", opaque, "relay.com", headers{"NULL"}, "", false},
		{"null twice", opaque, "relay.com", headers{"null", "null"}, "", false},
		{"null is not listed", listed, "relay.com", headers{"null"}, "", false},

		{"all origins are allowed", all, "relay.com", headers{"https://evil.com"}, "", true},
		{"all origins are allowed, but only one for each request", all, "relay.com", headers{"https://a.com", "https://b.com"}, "", false},

		{"the host that a trusted proxy forwards", proxied, "internal", headers{"https://good.com", "X-Forwarded-Host", "good.com"}, "10.0.0.1:1", true},
		{"the first of several forwarded hosts", proxied, "internal", headers{"https://good.com", "X-Forwarded-Host", "good.com, other"}, "10.0.0.1:1", true},
		{"not the Host header behind a proxy", proxied, "internal", headers{"https://internal", "X-Forwarded-Host", "good.com"}, "10.0.0.1:1", false},
		{"the host that an untrusted peer forwards", proxied, "internal", headers{"https://evil.com", "X-Forwarded-Host", "evil.com"}, "203.0.113.9:1", false},

		{"http and TLS", same, "TLS good.com", headers{"http://good.com"}, "", false},
		{"https and TLS", same, "TLS good.com", headers{"https://good.com"}, "", true},
		{"another scheme and TLS", same, "TLS good.com", headers{"capacitor://good.com"}, "", false},
		{"http and TLS, but listed", listed, "TLS relay.com", headers{"http://dev.test:3000"}, "", true},
		{"http and TLS, but all origins are allowed", all, "TLS relay.com", headers{"http://evil.com"}, "", true},
		{"http and TLS at a trusted proxy", proxied, "good.com", headers{"http://good.com", "X-Forwarded-Proto", "https"}, "10.0.0.1:1", false},
		{"http and TLS at a proxy that says wss", proxied, "good.com", headers{"http://good.com", "X-Forwarded-Proto", "WSS"}, "10.0.0.1:1", false},
		{"http and TLS at the first of two proxies", proxied, "good.com", headers{"http://good.com", "X-Forwarded-Proto", "https, http"}, "10.0.0.1:1", false},
		{"https and TLS at a trusted proxy", proxied, "good.com", headers{"https://good.com", "X-Forwarded-Proto", "https"}, "10.0.0.1:1", true},
		{"http at a trusted proxy", proxied, "good.com", headers{"http://good.com", "X-Forwarded-Proto", "http"}, "10.0.0.1:1", true},
		{"http, and an untrusted peer claims TLS", proxied, "good.com", headers{"http://good.com", "X-Forwarded-Proto", "https"}, "203.0.113.9:1", true},

		{"embedded: a file", embedded, "localhost:8080", headers{"null"}, "", true},
		{"embedded: a frame of any site, with cookies", embedded, "localhost:8080", headers{"null", "Cookie", "session=1"}, "", false},
		{"embedded: a file of an app", embedded, "localhost:8080", headers{"file://"}, "", true},
		{"embedded: a file of an app, with cookies", embedded, "localhost:8080", headers{"file://", "Cookie", "session=1"}, "", false},
		{"embedded: a page of localhost, with cookies", embedded, "localhost:8080", headers{"http://localhost:3000", "Cookie", "session=1"}, "", true},
		{"embedded: another port", embedded, "localhost:8080", headers{"http://127.0.0.1:3000"}, "", true},
		{"embedded: a page of another host", embedded, "localhost:8080", headers{"https://evil.com"}, "", false},
		{"embedded: a name that looks local", embedded, "localhost:8080", headers{"https://localhost.evil.com"}, "", false},
		{"embedded: DNS rebinding", embedded, "evil.com:8080", headers{"http://evil.com:8080"}, "", false},
		{"embedded: DNS rebinding without Origin", embedded, "evil.com:8080", nil, "", false},
		{"embedded: not a browser", embedded, "127.0.0.1:8080", nil, "", true},
		{"embedded: IPv6", embedded, "[::1]:8080", headers{"http://[::1]:8080"}, "", true},
		{"embedded: an address that is not loopback", embedded, "0.0.0.0:8080", nil, "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/ws", nil)
		host, secured := strings.CutPrefix(tt.host, "TLS ")
		r.Host, r.RemoteAddr = host, tt.peer
		if secured {
			r.TLS = new(tls.ConnectionState)
		}
		for i := 0; i < len(tt.headers); i++ {
			if strings.HasPrefix(tt.headers[i], "X-Forwarded-") || tt.headers[i] == "Cookie" {
				r.Header.Set(tt.headers[i], tt.headers[i+1])
				break
			}
			r.Header.Add("Origin", tt.headers[i])
		}
		if err := tt.origins.Check(r); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.comment, err)
		}
	}
	for _, bad := range []string{"good.com", "https://", "https://good.com/", "https://*.*.com", "https://a.*.com", "https://u@good.com", "https://good.com:"} {
		if _, err := NewOrigins(OriginsConfig{Allowed: []string{bad}}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestOriginAdvice checks that what the error of a rejected page advises to add
// to the setting makes the page accepted, and that nothing is advised with which
// Sidecast does not start.
func TestOriginAdvice(t *testing.T) {
	for _, tt := range []struct {
		config OriginsConfig
		origin string
		want   string // what to add; empty: nothing
	}{
		{OriginsConfig{}, "https://evil.com", "https://evil.com"},
		{OriginsConfig{Allowed: []string{"https://good.com"}}, "https://evil.com", "https://evil.com"},
		{OriginsConfig{Allowed: []string{"https://good.com"}}, "capacitor://localhost", "capacitor://localhost"},
		{OriginsConfig{Embedded: true}, "https://evil.com", "https://evil.com"},
		{OriginsConfig{}, "null", "null"},
		{OriginsConfig{}, "file://", "file://"},
		{OriginsConfig{Allowed: []string{"https://good.com"}}, "null", "null"},
		{OriginsConfig{Cookies: true}, "null", ""},
		{OriginsConfig{Cookies: true}, "file://", ""},
		{OriginsConfig{Cookies: true, Embedded: true}, "null", ""}, // with cookies
		{OriginsConfig{}, "", ""},
		{OriginsConfig{}, "good.com", ""},
		{OriginsConfig{}, "https://good.com, https://evil.com", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/ws", nil)
		r.Host = "localhost"
		r.Header.Set("Origin", tt.origin)
		r.Header.Set("Cookie", "session=1")
		o, err := NewOrigins(tt.config)
		if err != nil {
			t.Fatal(err)
		}
		err = o.Check(r)
		if err == nil {
			t.Errorf("%+v: %q is accepted", tt.config, tt.origin)
			continue
		}
		const setting = "SIDECAST_ALLOWED_ORIGINS"
		if tt.want == "" {
			if strings.Contains(err.Error(), setting) {
				t.Errorf("%+v: %q: %v", tt.config, tt.origin, err)
			}
			continue
		}
		others := len(tt.config.Allowed) == 0 && !tt.config.Embedded
		if !strings.Contains(err.Error(), setting) || strings.Contains(err.Error(), "the origins of all your other pages") != others {
			t.Errorf("%+v: %q: %v", tt.config, tt.origin, err)
		}
		tt.config.Allowed = append(tt.config.Allowed, tt.want)
		if o, err = NewOrigins(tt.config); err != nil || o.Check(r) != nil {
			t.Errorf("%+v: %q is still rejected: %v", tt.config, tt.origin, err)
		}
	}
}
