package through

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/source"
)

// What became of an idle connection is explained by when it ended, how, and when
// something arrived last.
func TestJudge(t *testing.T) {
	restart := &closed{protocol.CloseRestart, protocol.CloseRestart.Reason()}
	slow := &closed{protocol.CloseSlow, protocol.CloseSlow.Reason()}
	gateway := &closed{protocol.CloseGoingAway, "idle timeout"}
	const s = time.Second
	for _, tt := range []struct {
		comment               string
		subject               string
		every, silent, lasted time.Duration
		heartbeats            int
		err                   error
		want, do              string
	}{
		{"open", "", 25 * s, 20 * s, 70 * s, 2, nil, "ok : was open for 70 s, and heartbeats arrive every 25 s", ""},
		{"not for long", "", 25 * s, 5 * s, 5 * s, 0, nil, "ok : was open for 5 s; heartbeats follow every 25 s", ""},
		{"late heartbeats", "", 25 * s, 34 * s, 70 * s, 1, nil, "ok : was open for 70 s, and", ""},
		{"silence", "", 25 * s, 40 * s, 70 * s, 1, nil, "fail : nothing arrives for 40 s, although", "a NAT or a proxy that forgets"},
		{"a stream that waits", idleStream, 25 * s, 70 * s, 70 * s, 0, nil, "fail idle event stream: nothing arrives for 70 s", "proxy_buffering off"},
		{"nginx with a short timeout", "", 25 * s, 10 * s, 10 * s, 0, io.EOF, "fail : was cut after 10 s, by a FIN without a close frame", "SIDECAST_PING_INTERVAL to less than 10 s:\nnginx: proxy_read_timeout"},
		{"a timeout near the interval", "", 25 * s, 26 * s, 51 * s, 1, io.EOF, "nothing was sent for 26 s, and the relay sends a heartbeat only every 25 s", "proxy_read_timeout"},
		{"a firewall", "", 25 * s, 10 * s, 10 * s, 0, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, "by a reset (RST)", "timeout tunnel 1h"},
		{"a limit of the whole time", "", 25 * s, 10 * s, 60 * s, 2, io.ErrUnexpectedEOF, "10 s after the last heartbeat: something limits the whole time", "a service mesh"},
		{"a gateway with a close frame", "", 25 * s, 10 * s, 10 * s, 0, gateway, `fail : was cut after 10 s, with the close frame 1001 "idle timeout"; nothing was sent`, "timeout tunnel 1h"},
		{"a restart", "", 25 * s, 10 * s, 10 * s, 0, restart, "warn : the relay ended it after 10 s, because it restarts", "again"},
		{"the relay, with a less usual reason", "", 25 * s, 10 * s, 10 * s, 0, &closed{4200, protocol.CloseRestart.Reason()}, "warn : was cut after 10 s", "not a proxy"},
		{"the relay", "", 25 * s, 10 * s, 10 * s, 0, slow, "warn : was cut after 10 s, with the close frame 4408", "not a proxy"},
		{"a limit of connections", idleStream, 25 * s, 0, 0, 0, errAtOnce, "warn idle event stream: the relay ends it at once", "again"},
	} {
		began := time.Now()
		w := &watched{tt.subject, tt.every, began, tt.heartbeats, began.Add(tt.lasted - tt.silent), tt.err, began.Add(tt.lasted)}
		f := (&check{Config: Config{URL: &url.URL{Path: "/ws"}}}).judge(w)
		if got := f.Level.String() + " " + f.Subject + ": " + f.Text; !strings.Contains(got, tt.want) || !strings.Contains(f.Do, tt.do) {
			t.Errorf("%s: %s\n%s", tt.comment, got, f.Do)
		}
	}
}

// Why there is no connection is said without the texts of Go.
func TestConnectProblem(t *testing.T) {
	leaf := &x509.Certificate{DNSNames: []string{"a.example", "b.example", "c.example", "d.example"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{IsNotFound: true}, `connection: the name "app.example.com" cannot be resolved`},
		{&net.DNSError{IsTimeout: true}, "connection: the name server does not answer"},
		{context.DeadlineExceeded, "connection: no connection within 10s"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connection: nothing listens"},
		{tls.RecordHeaderError{}, "connection: the server does not use TLS"},
		{x509.HostnameError{Certificate: leaf, Host: "app.example.com"}, "certificate: is for a.example, b.example, c.example, others, not for app.example.com"},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, "certificate: has no subject alternative name"},
		{x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}, "certificate: is valid only from "},
		{x509.CertificateInvalidError{Cert: leaf, Reason: x509.NotAuthorizedToSign}, "certificate: is not valid: "},
		{noProtocol, "connection: the server does not speak HTTP/1.1"},
		{tls.AlertError(42), "certificate: the TLS handshake fails: "},
		{errors.New("else"), "connection: there is no connection: else"},
	} {
		f := (&check{Config: Config{URL: &url.URL{Host: "app.example.com", Path: "/ws"}}}).connectProblem(tt.err)
		if got := f.Subject + ": " + f.Text; !strings.HasPrefix(got, tt.want) || f.Do == "" {
			t.Errorf("%v: %q, %q", tt.err, got, f.Do)
		}
	}
}

// Only the relay's own refusal of a large message is no fault.
func TestTooLarge(t *testing.T) {
	own := &closed{protocol.CloseTooBig, protocol.CloseTooBig.Reason()}
	if f := tooLarge(15<<10, own); f.Level.String() != "ok" || !strings.Contains(f.Text, "SIDECAST_MAX_INBOUND_BYTES") {
		t.Errorf("by the relay: %v", f)
	}
	if f := tooLarge(8<<10, &closed{protocol.CloseTooBig, "too big"}); f.Level.String() != "fail" || !strings.Contains(f.Text, `8 KiB do not pass: with the close frame 1009 "too big"`) {
		t.Errorf("by a gateway: %v", f)
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string]string{
		"https://app.example.com/ws":     "wss://app.example.com/ws",
		"http://localhost:8080":          "ws://localhost:8080/ws",
		"WSS://app.example.com/":         "wss://app.example.com/",
		"ws://[::1]:8080/live/ws":        "ws://[::1]:8080/live/ws",
		"app.example.com/ws":             "",
		"https://":                       "",
		"https://user:pass@example.com/": "",
		"wss://example.com/ws?token=a":   "",
		"ftp://example.com/ws":           "",
		"wss://exa mple.com/ws":          "",
	} {
		u, err := Parse(raw)
		if got := ""; err == nil {
			if got = u.String(); got != want {
				t.Errorf("%q: %q, want %q", raw, got, want)
			}
		} else if want != "" || strings.Contains(err.Error(), "token") || strings.Contains(err.Error(), "pass") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// A page over TLS needs a WebSocket over TLS, except on this machine.
func TestMixed(t *testing.T) {
	for _, tt := range []struct {
		origin, target string
		reported       bool
	}{
		{"https://www.example.com", "ws://live.example.com/ws", true},
		{"https://www.example.com", "wss://live.example.com/ws", false},
		{"http://www.example.com", "ws://live.example.com/ws", false},
		{"https://www.example.com", "ws://localhost:8080/ws", false},
		{"https://www.example.com", "ws://127.0.0.1:8080/ws", false},
	} {
		u, err := Parse(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		reported := false
		c := &check{Config: Config{URL: u, Origin: tt.origin, Report: func(f source.Finding) { reported = f.Level == source.LevelFail }}}
		if c.checkMixed(t.Context()); reported != tt.reported {
			t.Errorf("%s at %s: reported is %v", tt.target, tt.origin, reported)
		}
	}
}

// Only the lines of the proxy that has answered are shown, if it is known.
func TestFix(t *testing.T) {
	for _, tt := range []struct {
		name, value, want string
	}{
		{"Server", "nginx/1.22.1", "nginx"},
		{"Server", "openresty/1.25.3.1", "nginx"},
		{"Server", "Apache/2.4.71 (Debian)", "Apache"},
		{"Via", "1.1 Caddy", "Caddy"},
		{"Server", "cloudflare", "nginx HAProxy Apache Caddy"},
		{"Date", "now", "nginx HAProxy Apache Caddy"},
	} {
		c := &check{Config: Config{URL: &url.URL{Path: "/live/ws"}}}
		c.saw(http.Header{tt.name: {tt.value}})
		var shown []string
		for line := range strings.SplitSeq(c.fix(fixRoute), "\n") {
			name, text, _ := strings.Cut(line, ": ")
			if shown = append(shown, name); !strings.Contains(text, "/live/") || strings.Contains(text, "BASE") {
				t.Errorf("the path is not in %q", line)
			}
		}
		if got := strings.Join(shown, " "); got != tt.want {
			t.Errorf("%s: %s: lines for %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}

// The paths of what belongs to a WebSocket.
func TestBase(t *testing.T) {
	for path, want := range map[string]string{"/ws": "", "/live/ws": "/live", "/": "", "/live/": "/live", "/ws/": "", "/news": "/news", "/app/key": "", "/live/app/key": "/live"} {
		if got := (&check{Config: Config{URL: &url.URL{Path: path}}}).base(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// memory is the connection of a socket, and has the bytes of a server.
type memory struct {
	net.Conn
	io.Reader
	written bytes.Buffer
}

func (m *memory) Read(b []byte) (int, error)       { return m.Reader.Read(b) }
func (m *memory) Write(b []byte) (int, error)      { return m.written.Write(b) }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

func newMemory(sent []byte) (*socket, *memory) {
	m := &memory{Reader: bytes.NewReader(sent)}
	return &socket{conn: m, reader: bufio.NewReader(m)}, m
}

// A socket answers pings, reads frames of each form of length, and reports close
// frames.
func TestSocket(t *testing.T) {
	long, longer := strings.Repeat("x", 300), strings.Repeat("y", 70_000)
	sent := append([]byte{0x89, 2, 'h', 'i', 0x81, 126, 1, 44}, long...)
	sent = append(append(sent, 0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70), longer...)
	sent = append(sent, 0x88, 5, 0x03, 0xe8, 'b', 'y', 'e')
	s, m := newMemory(sent)
	for _, want := range []string{long, longer} {
		if got, err := s.next(); err != nil || got != want {
			t.Fatalf("received %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	if pong := m.written.Bytes(); len(pong) != 8 || pong[0] != 0x8a || pong[1] != 0x82 || pong[6]^pong[2] != 'h' || pong[7]^pong[3] != 'i' {
		t.Errorf("the pong is %x", pong)
	}
	_, err := s.next()
	if end, ok := err.(*closed); !ok || *end != (closed{protocol.CloseNormal, "bye"}) {
		t.Errorf("the end is %v", err)
	}
}

// What a server sends neither makes a socket panic nor reserve much memory.
func FuzzSocket(f *testing.F) {
	for _, seed := range []string{"", "\x81\x02hi", "\x81\x7e\x01", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "\x88\x00", "\x88\x01a", "\x89\x02hi", "\xc1\x00", "\x81\x80aaaa"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		s, _ := newMemory(sent)
		for {
			text, err := s.next()
			if err != nil {
				_ = ended(err)
				return
			}
			if len(text) > len(sent) {
				t.Fatalf("%d bytes of %d", len(text), len(sent))
			}
		}
	})
}
