package loopback

import (
	"net"
	"testing"
)

func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		comment, host      string
		wantHost, wantPage bool
	}{
		{"the usual name", "localhost", true, true},
		{"the usual name, in another case", "LocalHost", false, true},
		{"a name that only browsers resolve to loopback", "app.localhost", false, true},
		{"IPv4", "127.0.0.1", true, true},
		{"another address of the loopback network", "127.8.9.1", true, true},
		{"IPv6", "::1", true, true},
		{"IPv4 in IPv6", "::ffff:127.0.0.1", true, true},
		{"with brackets", "[::1]", false, false},
		{"with a port", "localhost:80", false, false},
		{"every address", "0.0.0.0", false, false},
		{"an address in a private network", "10.0.0.1", false, false},
		{"a name that only begins like localhost", "localhost.evil.com", false, false},
		{"a name that only ends like localhost", "evillocalhost", false, false},
		{"a name that only begins like an address", "127.0.0.1.evil.com", false, false},
		{"a short form that some resolvers accept", "127.1", false, false},
		{"empty", "", false, false},
	} {
		if got := Host(tt.host); got != tt.wantHost {
			t.Errorf("%s: Host(%q) = %v", tt.comment, tt.host, got)
		}
		if got := PageHost(tt.host); got != tt.wantPage {
			t.Errorf("%s: PageHost(%q) = %v", tt.comment, tt.host, got)
		}
	}
}

func TestNameIsNoAddress(t *testing.T) {
	if Name("127.0.0.1") || !Name("app.localhost") {
		t.Error("names and addresses are confused")
	}
}

func TestAddr(t *testing.T) {
	for _, tt := range []struct {
		comment string
		addr    net.Addr
		want    bool
	}{
		{"loopback", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9190}, true},
		{"IPv6 loopback", &net.TCPAddr{IP: net.IPv6loopback}, true},
		{"every address", &net.TCPAddr{IP: net.IPv6zero}, false},
		{"no address", &net.TCPAddr{}, false},
		{"a socket of another kind", &net.UnixAddr{Name: "/run/x.sock"}, false},
		{"nil", nil, false},
	} {
		if got := Addr(tt.addr); got != tt.want {
			t.Errorf("%s: %v", tt.comment, got)
		}
	}
}
