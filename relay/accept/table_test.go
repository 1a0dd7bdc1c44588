package accept

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/stats"
)

// A service is an http.Server in a synctest bubble whose connections a table
// limits. A request for /claim claims its connection, as a handshake does.
type service struct {
	t        *testing.T
	slots    *Slots
	limiter  *IPLimiter
	listener *inmemory.Listener

	stats stats.Stats
	log   bytes.Buffer

	mu      sync.Mutex
	claimed []func() // end the connections that were claimed
}

// inBubble runs test with a service that has so many slots and connections per
// address. At the end, nothing may be counted any more.
func inBubble(t *testing.T, slots, perAddress int, test func(*service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &service{t: t, slots: NewSlots(slots), limiter: NewIPLimiter(perAddress, 0)}
		s.listener = inmemory.Listen()
		table := NewTable(Config{
			Slots: s.slots, Limiter: s.limiter, Address: addressOf,
			Refusals: NewRefusals(&s.stats, slog.New(slog.NewTextHandler(&s.log, nil)), nil),
		})
		server := &http.Server{Handler: s, IdleTimeout: 10 * time.Second, ReadHeaderTimeout: 5 * time.Second}
		table.Track(server)
		done := make(chan struct{})
		go func() { _ = server.Serve(table.Listener(s.listener)); close(done) }()
		test(s)
		for _, end := range s.claimed {
			end()
		}
		_ = server.Close()
		<-done
		synctest.Wait()
		if n := s.slots.Used(); n != 0 || len(s.limiter.open) != 0 || len(table.conns) != 0 {
			t.Errorf("at the end, %d slots are in use, addresses %v, connections %d", n, s.limiter.open, len(table.conns))
		}
		if n := table.waiting.Len() + table.extra.Len() + table.limited.Len() + table.busy.Len(); n != 0 {
			t.Errorf("at the end, %d connections are listed", n)
		}
	})
}

// addressOf exempts private addresses.
func addressOf(peer netip.Addr) netip.Addr {
	if peer.IsPrivate() {
		return netip.Addr{}
	}
	return peer
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := FromContext(r.Context())
	switch {
	case conn.OverLimit():
		w.WriteHeader(http.StatusTooManyRequests)
	case r.URL.Path != "/claim":
		_, _ = io.WriteString(w, "ok")
	case !conn.Claim(s.slots):
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		address := conn.Counted()
		hijacked, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			s.t.Error(err)
			return
		}
		_, _ = io.WriteString(hijacked, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.claimed = append(s.claimed, func() {
			_ = hijacked.Close()
			s.limiter.Free(address)
			s.slots.Free()
		})
	}
}

// A client is one connection to a service.
type client struct {
	s    *service
	conn net.Conn
	in   *bufio.Reader
}

// connect connects from an address, and waits until the service has accepted
// the connection.
func (s *service) connect(from string) *client {
	ours, theirs := net.Pipe()
	s.listener.Connect(&peerConn{Conn: theirs, peer: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1))})
	synctest.Wait()
	return &client{s, ours, bufio.NewReader(ours)}
}

// get requests a path, and returns the status, or 0 if the connection ends.
func (c *client) get(path string) int {
	status := c.request(path)
	synctest.Wait()
	return status
}

// request is get without waiting until the service has nothing more to do.
func (c *client) request(path string) int {
	if _, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: relay\r\n\r\n"); err != nil {
		return 0
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, response.Body)
	}
	return response.StatusCode
}

func (c *client) want(path string, status int, comment string) {
	c.s.t.Helper()
	if got := c.get(path); got != status {
		c.s.t.Errorf("%s: status %d, want %d", comment, got, status)
	}
}

// wantLog checks the last line of the log.
func (s *service) wantLog(comment, reason, peer string) {
	s.t.Helper()
	synctest.Wait()
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.Contains(last, "reason="+reason+" remote="+peer+" problem=") || !strings.Contains(last, " do=") {
		s.t.Errorf("%s: the log is %q, want the reason %s and the address %s", comment, s.log.String(), reason, peer)
	}
}

type peerConn struct {
	net.Conn
	peer net.Addr
}

func (c *peerConn) RemoteAddr() net.Addr { return c.peer }

// If no slot is free, the connection without a client that has done nothing for
// the longest time is closed.
func TestOldestIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, 3, 0, func(s *service) {
		a, b, c := s.connect("10.0.0.1"), s.connect("10.0.0.2"), s.connect("10.0.0.3")
		a.want("/", 200, "with a free slot")
		if n := s.slots.Used(); n != 3 {
			t.Errorf("%d slots are in use by 3 connections", n)
		}
		<-time.After(patience)
		d := s.connect("10.0.0.4")
		d.want("/claim", 101, "the fourth, instead of the second")
		b.want("/", 0, "the second, which never sent anything")
		s.wantLog("the second", "idle", "10.0.0.2")
		s.connect("10.0.0.5").want("/", 200, "the fifth, instead of the third")
		c.want("/", 0, "the third")
		a.want("/", 200, "the first, whose request was later")
		if n := s.slots.Used(); n != 3 {
			t.Errorf("%d slots are in use at the end", n)
		}
	})
}

// A wave of connections whose handshakes arrive a moment later does not keep
// clients from taking the slots that are free.
func TestWaveOfConnections(t *testing.T) {
	inBubble(t, 100, 0, func(s *service) {
		for range 90 {
			s.connect("10.0.0.1").want("/claim", 101, "a client before the wave")
		}
		statuses := s.wave(1000)
		if n := len(s.claimed); n != 100 || statuses[101] != 10 {
			t.Errorf("%d of 100 slots belong to clients; the wave got %v", n, statuses)
		}
	})
}

// Every connection that a full table cannot serve is counted, whether or not its
// request has arrived.
func TestFullTableCounts(t *testing.T) {
	inBubble(t, 10, 0, func(s *service) {
		for range 10 {
			s.connect("10.0.0.1").want("/claim", 101, "a client before the wave")
		}
		const wave = 500
		statuses := s.wave(wave)
		if closed := s.stats.Rejected[stats.RejectCapacity].Load(); statuses[503] == 0 || int(closed)+statuses[503] != wave {
			t.Errorf("%d connections of %d are counted as closed; the wave got %v", closed, wave, statuses)
		}
	})
}

// wave opens 500 connections a second, whose handshakes arrive a tenth of a
// second later, and returns how many got which status. 0 stands for none.
func (s *service) wave(n int) map[int]int {
	got := make(chan int)
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range n {
		c := s.connect("10.0.0.2")
		all.Go(func() {
			<-time.After(100 * time.Millisecond)
			got <- c.request("/claim")
		})
		select {
		case <-time.After(2 * time.Millisecond):
		case status := <-got:
			statuses[status]++
		}
	}
	go func() { all.Wait(); close(got) }()
	for status := range got {
		statuses[status]++
	}
	return statuses
}

// If clients have all slots, further connections get answers, but cannot become
// clients until a slot is free. They are few.
func TestExtraConnections(t *testing.T) {
	inBubble(t, 2, 0, func(s *service) {
		s.connect("10.0.0.1").want("/claim", 101, "first client")
		s.connect("10.0.0.2").want("/claim", 101, "second client")
		extra := s.connect("10.0.0.3")
		extra.want("/", 200, "a probe")
		extra.want("/claim", 503, "a third client")
		var more []*client
		for i := range 2 * MaxExtra {
			more = append(more, s.connect(fmt.Sprintf("10.0.1.%d", i)))
		}
		extra.want("/", 0, "the oldest extra connection")
		open := 0
		for _, c := range more {
			if c.get("/") == 200 {
				open++
			}
		}
		if open != MaxExtra {
			t.Errorf("%d extra connections are open, want %d", open, MaxExtra)
		}
		s.claimed[0]()
		s.claimed = s.claimed[1:]
		more[len(more)-1].want("/claim", 101, "an extra connection, when a slot is free")
	})
}

// Connections count for the limits of their address when they are accepted,
// unless the peer may be a proxy.
func TestAddressCountsWhenAccepted(t *testing.T) {
	inBubble(t, 100, 5, func(s *service) {
		var five []*client
		for range 5 {
			five = append(five, s.connect("192.0.2.1"))
		}
		s.connect("192.0.2.1").want("/claim", 429, "the sixth of an address")
		s.wantLog("the sixth of an address", "address", "192.0.2.1")
		s.connect("192.0.2.2").want("/claim", 101, "another address")
		for range 20 {
			s.connect("10.0.0.1").want("/", 200, "a peer that may be a proxy")
		}
		five[0].want("/claim", 101, "one of the five")
		five[1].conn.Close()
		synctest.Wait()
		s.connect("192.0.2.1").want("/claim", 101, "the sixth, after one was closed")
		for range 200 {
			s.connect("192.0.2.1")
		}
		if n := s.slots.Used(); n != 26 {
			t.Errorf("%d slots are in use, want 26: the limited address must take none", n)
		}
		s.connect("192.0.2.3").want("/", 200, "an honest client during the flood")
	})
}

// A connection that is idle ends with the timeouts of the server, and its slot
// is free again.
func TestIdleConnectionFreesItsSlot(t *testing.T) {
	inBubble(t, 2, 5, func(s *service) {
		s.connect("192.0.2.1").want("/", 200, "a connection that stays open")
		s.connect("192.0.2.1")
		<-time.After(11 * time.Second)
		synctest.Wait()
		if n := s.slots.Used(); n != 0 {
			t.Errorf("after the timeout, %d slots are in use", n)
		}
	})
}

// Requests that the HTTP server rejects itself are logged and counted. Those
// that a handler answers are not, and neither are connections without a
// request.
func TestMalformedRequests(t *testing.T) {
	cookies := "GET / HTTP/1.1\r\nHost: relay\r\nCookie: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"
	for name, test := range map[string]struct {
		sent   string
		status int
		logged bool
	}{
		"headers that are too large":    {cookies, 431, true},
		"not HTTP":                      {"SSH-2.0-scanner\r\n\r\n", 400, true},
		"no Host":                       {"GET / HTTP/1.1\r\n\r\n", 400, true},
		"an unknown version":            {"GET / HTTP/3.0\r\nHost: relay\r\n\r\n", 505, true},
		"an unknown transfer encoding":  {"GET / HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: zip\r\n\r\n", 501, true},
		"a second request is too large": {"GET / HTTP/1.1\r\nHost: relay\r\n\r\n" + cookies, 200, true},
		"incomplete headers":            {"GET / HTTP/1.1\r\nHost:", 0, true},
		"a valid request":               {"GET / HTTP/1.1\r\nHost: relay\r\n\r\n", 200, false},
		"two valid requests":            {"GET / HTTP/1.1\r\nHost: relay\r\n\r\nGET / HTTP/1.1\r\nHost: relay\r\n\r\n", 200, false},
		"no request":                    {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 5, 0, func(s *service) {
				c := s.connect("192.0.2.7")
				go func() { _, _ = io.WriteString(c.conn, test.sent) }()
				if test.status != 0 {
					response, err := http.ReadResponse(c.in, nil)
					if err != nil || response.StatusCode != test.status {
						t.Errorf("the response is %v, %v, want status %d", response, err, test.status)
					}
				}
				go func() { _, _ = io.Copy(io.Discard, c.in) }()
				<-time.After(20 * time.Second)
				_ = c.conn.Close()
				if test.logged {
					s.wantLog(name, "malformed", "192.0.2.7")
				} else if synctest.Wait(); s.log.Len() > 0 {
					t.Errorf("the log is %q, want nothing", s.log.String())
				}
			})
		})
	}
}

// A nil *Conn belongs to a server without a table.
func TestNoTable(t *testing.T) {
	var c *Conn
	slots := NewSlots(1)
	if c.OverLimit() || c.Counted().IsValid() || !c.Claim(slots) || c.Claim(slots) {
		t.Error("a nil *Conn does not just take slots")
	}
}
