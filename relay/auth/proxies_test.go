package auth

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func from(peer string, headers ...string) *http.Request {
	r := request(headers...)
	r.RemoteAddr = peer
	return r
}

// Whose address a request has, and which address limits are counted by.
func TestProxies(t *testing.T) {
	trusting := NewProxies(prefixes("10.0.0.0/8", "127.0.0.1/32", "2001:db8:1::/48"))
	const xff = "X-Forwarded-For"
	for _, tt := range []struct {
		comment         string
		proxies         Proxies
		request         *http.Request
		client, limited string
	}{
		{"the open Internet", Proxies{}, from("203.0.113.9:1"), "203.0.113.9", "203.0.113.9"},
		{"an untrusted peer says what it likes", Proxies{}, from("203.0.113.9:1", xff, "198.51.100.7"), "203.0.113.9", "203.0.113.9"},
		{"a private peer may be a proxy", Proxies{}, from("192.168.1.1:1"), "192.168.1.1", ""},
		{"loopback", Proxies{}, from("127.0.0.1:1", xff, "198.51.100.7"), "127.0.0.1", ""},
		{"IPv6 loopback", Proxies{}, from("[::1]:1"), "::1", ""},
		{"link-local with a zone", Proxies{}, from("[fe80::1%eth0]:1"), "fe80::1", ""},
		{"unique local", Proxies{}, from("[fd00::1]:1"), "fd00::1", ""},
		{"carrier NAT", Proxies{}, from("100.64.0.1:1"), "100.64.0.1", ""},
		{"just outside carrier NAT", Proxies{}, from("100.128.0.1:1"), "100.128.0.1", "100.128.0.1"},
		{"IPv4 in IPv6", Proxies{}, from("[::ffff:203.0.113.9]:1"), "203.0.113.9", "203.0.113.9"},
		{"IPv6 by /64", Proxies{}, from("[2001:db8:2:3:4:5:6:7]:1"), "2001:db8:2:3:4:5:6:7", "2001:db8:2:3::"},
		{"a trusted proxy", trusting, from("10.0.0.1:1", xff, "198.51.100.7"), "198.51.100.7", "198.51.100.7"},
		{"a trusted proxy on loopback", trusting, from("127.0.0.1:1", xff, "198.51.100.7"), "198.51.100.7", "198.51.100.7"},
		{"the rightmost that is no proxy", trusting, from("10.0.0.1:1", xff, "1.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7", "198.51.100.7"},
		{"in several headers", trusting, from("10.0.0.1:1", xff, "1.1.1.1", xff, "198.51.100.7", xff, "10.0.0.2"), "198.51.100.7", "198.51.100.7"},
		{"a spoofed entry further left", trusting, from("10.0.0.1:1", xff, "127.0.0.1, 198.51.100.7"), "198.51.100.7", "198.51.100.7"},
		{"garbage is the end of belief", trusting, from("10.0.0.1:1", xff, "198.51.100.7, garbage, 10.0.0.2"), "10.0.0.2", ""},
		{"a forwarded private address counts", trusting, from("10.0.0.1:1", xff, "192.168.1.5"), "192.168.1.5", "192.168.1.5"},
		{"forwarded IPv6 with a port", trusting, from("10.0.0.1:1", xff, "[2001:db8:2:3::9]:443"), "2001:db8:2:3::9", "2001:db8:2:3::"},
		{"forwarded IPv4 in IPv6", trusting, from("10.0.0.1:1", xff, "::ffff:198.51.100.7"), "198.51.100.7", "198.51.100.7"},
		{"a proxy that does not say", trusting, from("10.0.0.1:1"), "10.0.0.1", ""},
		{"an empty header", trusting, from("10.0.0.1:1", xff, ""), "10.0.0.1", ""},
		{"nobody trusts everybody on the way", trusting, from("203.0.113.9:1", xff, "10.0.0.5"), "203.0.113.9", "203.0.113.9"},
	} {
		text := func(a netip.Addr) string {
			if !a.IsValid() {
				return ""
			}
			return a.String()
		}
		if got := text(tt.proxies.Client(tt.request)); got != tt.client {
			t.Errorf("%s: client %q, want %q", tt.comment, got, tt.client)
		}
		if got := text(tt.proxies.Limited(tt.request)); got != tt.limited {
			t.Errorf("%s: limited %q, want %q", tt.comment, got, tt.limited)
		}
	}
}

func TestDisbelieved(t *testing.T) {
	trusting := NewProxies(prefixes("10.0.0.0/8"))
	for comment, tt := range map[string]struct {
		request *http.Request
		want    bool
	}{
		"a stranger that forwards": {from("192.168.0.1:1", "X-Forwarded-For", "1.1.1.1"), true},
		"a stranger that does not": {from("192.168.0.1:1"), false},
		"a proxy that is trusted":  {from("10.0.0.1:1", "X-Forwarded-For", "1.1.1.1"), false},
	} {
		if _, got := trusting.Disbelieved(tt.request); got != tt.want {
			t.Errorf("%s: %v", comment, got)
		}
	}
}

// Which pages may connect.
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
	anywhere := origins(OriginsConfig{Allowed: []string{"*"}})
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
		{"another scheme, as cookies do not care", same, "good.com", headers{"http://good.com"}, "", true},
		{"another port, as cookies do not care", same, "good.com:8443", headers{"https://good.com:444"}, "", true},
		{"upper case", same, "GOOD.com", headers{"https://Good.COM"}, "", true},
		{"IPv6", same, "[2001:db8::1]:80", headers{"http://[2001:db8::1]:3000"}, "", true},
		{"another host", same, "good.com", headers{"https://evil.com"}, "", false},
		{"null", same, "good.com", headers{"null"}, "", false},
		{"empty", same, "good.com", headers{""}, "", false},
		{"a prefix", same, "good.com", headers{"https://evil-good.com"}, "", false},
		{"a suffix", same, "good.com", headers{"https://good.com.evil.com"}, "", false},
		{"a subdomain", same, "good.com", headers{"https://evil.good.com"}, "", false},
		{"a parent", same, "www.good.com", headers{"https://good.com"}, "", false},
		{"a user part", same, "good.com", headers{"https://good.com@evil.com"}, "", false},
		{"a user part that is the host", same, "good.com", headers{"https://evil.com@good.com"}, "", false},
		{"a path", same, "good.com", headers{"https://good.com/x"}, "", false},
		{"a backslash", same, "good.com", headers{`https://evil.com\good.com`}, "", false},
		{"a dot at the end", same, "good.com", headers{"https://good.com."}, "", false},
		{"two", same, "good.com", headers{"https://good.com", "https://evil.com"}, "", false},
		{"two in one", same, "good.com", headers{"https://good.com, https://evil.com"}, "", false},
		{"two in one with a space", same, "good.com", headers{"https://good.com https://evil.com"}, "", false},
		{"no scheme", same, "good.com", headers{"good.com"}, "", false},
		{"a line break", same, "good.com", headers{"https://good.com\nx"}, "", false},

		{"listed", listed, "relay.com", headers{"https://good.com"}, "", true},
		{"listed, with its scheme's port", listed, "relay.com", headers{"https://good.com:443"}, "", true},
		{"listed with a port", listed, "relay.com", headers{"http://dev.test:3000"}, "", true},
		{"listed in another scheme", listed, "relay.com", headers{"http://good.com"}, "", false},
		{"listed with another port", listed, "relay.com", headers{"https://good.com:444"}, "", false},
		{"the list replaces the same host", listed, "relay.com", headers{"https://relay.com"}, "", false},
		{"below a wildcard", listed, "relay.com", headers{"https://a.wide.com"}, "", true},
		{"deep below a wildcard", listed, "relay.com", headers{"https://a.b.wide.com"}, "", true},
		{"the wildcard's parent", listed, "relay.com", headers{"https://wide.com"}, "", false},
		{"beside a wildcard", listed, "relay.com", headers{"https://evilwide.com"}, "", false},
		{"below a wildcard in another scheme", listed, "relay.com", headers{"http://a.wide.com"}, "", false},
		{"behind a wildcard", listed, "relay.com", headers{"https://a.wide.com.evil.com"}, "", false},
		{"punycode as browsers send it", listed, "relay.com", headers{"https://xn--bcher-kva.example"}, "", true},
		{"a star in a page's mouth", listed, "relay.com", headers{"https://*.wide.com"}, "", true}, // it is below wide.com
		{"null is not listed", listed, "relay.com", headers{"null"}, "", false},

		{"everybody", anywhere, "relay.com", headers{"https://evil.com"}, "", true},
		{"everybody, but one at a time", anywhere, "relay.com", headers{"https://a.com", "https://b.com"}, "", false},

		{"the host that a trusted proxy forwards", proxied, "internal", headers{"https://good.com", "X-Forwarded-Host", "good.com"}, "10.0.0.1:1", true},
		{"the first of several", proxied, "internal", headers{"https://good.com", "X-Forwarded-Host", "good.com, other"}, "10.0.0.1:1", true},
		{"not the one behind the proxy", proxied, "internal", headers{"https://internal", "X-Forwarded-Host", "good.com"}, "10.0.0.1:1", false},
		{"the host that anybody forwards", proxied, "internal", headers{"https://evil.com", "X-Forwarded-Host", "evil.com"}, "203.0.113.9:1", false},

		{"embedded: a file", embedded, "localhost:8080", headers{"null"}, "", true},
		{"embedded: another port", embedded, "localhost:8080", headers{"http://127.0.0.1:3000"}, "", true},
		{"embedded: a page elsewhere", embedded, "localhost:8080", headers{"https://evil.com"}, "", false},
		{"embedded: a name that looks local", embedded, "localhost:8080", headers{"https://localhost.evil.com"}, "", false},
		{"embedded: DNS rebinding", embedded, "evil.com:8080", headers{"http://evil.com:8080"}, "", false},
		{"embedded: DNS rebinding without Origin", embedded, "evil.com:8080", nil, "", false},
		{"embedded: no browser", embedded, "127.0.0.1:8080", nil, "", true},
		{"embedded: IPv6", embedded, "[::1]:8080", headers{"http://[::1]:8080"}, "", true},
		{"embedded: a number that is no loopback", embedded, "0.0.0.0:8080", nil, "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/ws", nil)
		r.Host, r.RemoteAddr = tt.host, tt.peer
		for i := 0; i < len(tt.headers); i++ {
			if tt.headers[i] == "X-Forwarded-Host" {
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
			t.Errorf("%q is taken", bad)
		}
	}
}
