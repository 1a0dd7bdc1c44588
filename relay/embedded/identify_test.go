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

func TestStartOnUsedPort(t *testing.T) {
	tests := []struct {
		name   string
		listen func(t *testing.T) (addr string)
		notice string // the expected beginning; % stands for the requested address, @ for the actual one
	}{
		{"free port", func(t *testing.T) string { return redistest.FreeAddr(t) }, ""},
		{"Redis", func(t *testing.T) string { return redistest.Start(t).Addr },
			"a Redis server already runs on %; this relay uses its own in-memory Redis on @\n" +
				"To use that server, stop this relay and run:\n\nSIDECAST_REDIS_URL=redis://% \\\nSIDECAST_CHANNELS="},
		{"Redis with a password", func(t *testing.T) string { return redistest.Start(t, "--requirepass", "secret").Addr },
			"a Redis server already runs on %; this relay uses its own in-memory Redis on @\n" +
				"To use that server, stop this relay and run, with its password:\n\nSIDECAST_REDIS_URL=redis://:PASSWORD@% \\\n"},
		{"Redis of another relay", func(t *testing.T) string { return start(t).Addr() },
			"another relay runs its in-memory Redis on %; "},
		{"web server", webServer, "another program, which is not Redis, uses %; "},
		{"program that closes connections", closes, "another program, which is not Redis, uses %; "},
		{"program that never answers", silent, "another program, which is not Redis, uses %; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			requested := tt.listen(t)
			s, err := Start(requested, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := s.Addr(); (got == requested) != (tt.notice == "") || identify(got) != ownerEmbedded {
				t.Errorf("listens on %s, requested %s", got, requested)
			}
			notice := strings.NewReplacer("%", requested, "on @", "on "+s.Addr()).Replace(tt.notice)
			if got := s.Notice(); (notice == "") != (got == "") || !strings.HasPrefix(got, notice) {
				t.Errorf("Notice = %q, want %q", got, notice)
			}
			if tt.notice != "" && !strings.Contains(s.Notice(), s.Addr()) {
				t.Errorf("Notice = %q does not contain %s", s.Notice(), s.Addr())
			}
		})
	}
}

func TestStartRejectsAddress(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", ":6379", "192.0.2.1:6379", "example.com:6379", "127.0.0.1"} {
		if s, err := Start(addr, nil); err == nil {
			s.Close()
			t.Errorf("Start(%q) succeeded", addr)
		}
	}
}

// webServer answers every request with an HTTP error.
func webServer(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// closes accepts connections and closes them.
func closes(t *testing.T) string { return listener(t, func(c net.Conn) { _ = c.Close() }) }

// silent accepts connections and sends nothing.
func silent(t *testing.T) string { return listener(t, func(net.Conn) {}) }

// listener calls accepted for each connection, and closes all connections when
// the test ends.
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
