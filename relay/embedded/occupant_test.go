package embedded

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

func TestStartWhereTaken(t *testing.T) {
	tests := []struct {
		name   string
		listen func(t *testing.T) (addr string)
		notice string // begins so; the address is put for %
	}{
		{"by nobody", func(t *testing.T) string { return redistest.FreeAddr(t) }, ""},
		{"by a Redis", func(t *testing.T) string { return redistest.Start(t).Addr },
			"a Redis answers on %; to use it: SIDECAST_REDIS_URL=redis://% SIDECAST_CHANNELS="},
		{"by a Redis with a password", func(t *testing.T) string { return redistest.Start(t, "--requirepass", "secret").Addr },
			"a Redis answers on %; to use it: "},
		{"by the Redis of another relay", func(t *testing.T) string { return start(t).Addr() },
			"another relay has its Redis in memory on %; "},
		{"by a web server", webServer, "something that is not Redis has %; "},
		{"by something that hangs up", hangsUp, "something that is not Redis has %; "},
		{"by something that never answers", mute, "something that is not Redis has %; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wanted := tt.listen(t)
			s, err := Start(wanted, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := s.Addr(); (got == wanted) != (tt.notice == "") || ask(got) != neighbour {
				t.Errorf("it is on %s, asked for %s", got, wanted)
			}
			notice := strings.ReplaceAll(tt.notice, "%", wanted)
			if got := s.Notice(); (notice == "") != (got == "") || !strings.HasPrefix(got, notice) {
				t.Errorf("Notice = %q, want %q", got, notice)
			}
			if tt.notice != "" && !strings.Contains(s.Notice(), s.Addr()) {
				t.Errorf("Notice = %q does not name %s", s.Notice(), s.Addr())
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", ":6379", "192.0.2.1:6379", "example.com:6379", "127.0.0.1"} {
		if s, err := Start(addr, nil); err == nil {
			s.Close()
			t.Errorf("Start(%q) listens", addr)
		}
	}
}

// webServer answers everything with an error, as web servers do.
func webServer(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// hangsUp accepts connections and closes them.
func hangsUp(t *testing.T) string { return listener(t, func(c net.Conn) { _ = c.Close() }) }

// mute accepts connections and says nothing.
func mute(t *testing.T) string { return listener(t, func(net.Conn) {}) }

// listener calls accepted for each connection, and closes all of them in the end.
func listener(t *testing.T, accepted func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
	})
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			accepted(c)
		}
	})
	return l.Addr().String()
}
