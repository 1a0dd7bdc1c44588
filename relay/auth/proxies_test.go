package auth

import (
	"net/http"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// TestProxies checks the address of a client, and the address to which limits
// apply.
func TestProxies(t *testing.T) {
	trusting := NewProxies(prefixes("10.0.0.0/8", "127.0.0.1/32", "2001:db8:1::/48"))
	const xff = "X-Forwarded-For"
	for _, tt := range []struct {
		comment         string
		proxies         Proxies
		request         *http.Request
		client, limited string
	}{
		{"a public address", Proxies{}, from("203.0.113.9:1"), "203.0.113.9", "203.0.113.9"},
		{"an untrusted peer with a forged header", Proxies{}, from("203.0.113.9:1", xff, "198.51.100.7"), "203.0.113.9", "203.0.113.9"},
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
		{"the rightmost address that is not a proxy", trusting, from("10.0.0.1:1", xff, "1.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7", "198.51.100.7"},
		{"addresses in several headers", trusting, from("10.0.0.1:1", xff, "1.1.1.1", xff, "198.51.100.7", xff, "10.0.0.2"), "198.51.100.7", "198.51.100.7"},
		{"a forged entry on the left", trusting, from("10.0.0.1:1", xff, "127.0.0.1, 198.51.100.7"), "198.51.100.7", "198.51.100.7"},
		{"an invalid entry", trusting, from("10.0.0.1:1", xff, "198.51.100.7, garbage, 10.0.0.2"), "10.0.0.2", ""},
		{"a forwarded private address", trusting, from("10.0.0.1:1", xff, "192.168.1.5"), "192.168.1.5", "192.168.1.5"},
		{"forwarded IPv6 with a port", trusting, from("10.0.0.1:1", xff, "[2001:db8:2:3::9]:443"), "2001:db8:2:3::9", "2001:db8:2:3::"},
		{"forwarded IPv4 in IPv6", trusting, from("10.0.0.1:1", xff, "::ffff:198.51.100.7"), "198.51.100.7", "198.51.100.7"},
		{"a proxy without the header", trusting, from("10.0.0.1:1"), "10.0.0.1", ""},
		{"an empty header", trusting, from("10.0.0.1:1", xff, ""), "10.0.0.1", ""},
		{"an untrusted peer that names a trusted proxy", trusting, from("203.0.113.9:1", xff, "10.0.0.5"), "203.0.113.9", "203.0.113.9"},
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

func TestUntrustedForwarder(t *testing.T) {
	trusting := NewProxies(prefixes("10.0.0.0/8"))
	for comment, tt := range map[string]struct {
		request *http.Request
		want    bool
	}{
		"an untrusted peer that forwards": {from("192.168.0.1:1", "X-Forwarded-For", "1.1.1.1"), true},
		"an untrusted peer that does not": {from("192.168.0.1:1"), false},
		"a trusted proxy":                 {from("10.0.0.1:1", "X-Forwarded-For", "1.1.1.1"), false},
	} {
		if _, got := trusting.UntrustedForwarder(tt.request); got != tt.want {
			t.Errorf("%s: %v", comment, got)
		}
	}
}

// FuzzForwarded checks that the header of an untrusted peer never changes the
// client's address.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.9:1", "1.2.3.4, 10.0.0.1")
	f.Add("10.0.0.1:1", "garbage, [::1]:4, ::ffff:1.2.3.4")
	trusting := NewProxies(prefixes("10.0.0.0/8"))
	f.Fuzz(func(t *testing.T, peerText, header string) {
		r := from(peerText)
		r.Header["X-Forwarded-For"] = []string{header}
		client := trusting.Client(r)
		trusting.Limited(r)
		if port, err := netip.ParseAddrPort(peerText); err == nil {
			if address := port.Addr().Unmap().WithZone(""); !trusting.trusts(address) && client != address {
				t.Errorf("peer %q with header %q: client %v", peerText, header, client)
			}
		}
	})
}
