package sse

import (
	"bufio"
	"context"
	"errors"
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

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/relaytest/readers"
	"sidecast/relay/stats"
)

// A bubble is a relay in a synctest bubble. The hub, the handler, net/http, the
// event loops and the clients are real; Redis is simulated. The connections are
// in memory, and time passes only when all goroutines wait.
type bubble struct {
	t        *testing.T
	version  int // of HTTP
	hub      *relay.Hub
	budget   *outbox.Budget
	stats    *stats.Stats
	slots    *accept.Slots
	limiter  *accept.IPLimiter
	handler  *Handler
	log      *inmemory.Log
	listener *inmemory.Listener
	pipe     func(net.Addr) (client, relay net.Conn)
	peer     netip.Addr
	client   *http.Client
}

type options struct {
	hub         relay.HubConfig
	sse         Config
	each, total int // bytes of one outbox and of all outboxes
	slots       int
	perAddress  int
	perSecond   int
	peer        netip.Addr // counted when a connection is accepted; may be zero
}

type option func(*options)

// inBubble runs test over HTTP/1.1 and over HTTP/2, each with a relay that has
// the default settings, changed by change.
func inBubble(t *testing.T, test func(*testing.T, *bubble), change ...option) {
	t.Helper()
	for name, version := range map[string]int{"HTTP1": 1, "HTTP2": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newBubble(t, version, change)) })
		})
	}
}

func newBubble(t *testing.T, version int, change []option) *bubble {
	b := &bubble{
		t: t, version: version, stats: new(stats.Stats), log: new(inmemory.Log),
		listener: inmemory.Listen(),
	}
	reader, pipe := readers.InMemory(t)
	b.pipe = pipe
	b.build(append([]option{func(o *options) { o.sse.Reader = reader }}, change...))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = b.hub.Run(ctx) })
	server := b.server()
	table := accept.NewTable(accept.Config{
		Slots: b.slots, Limiter: b.limiter, Refusals: b.handler.cfg.Refusals,
		Address: func(netip.Addr) netip.Addr { return b.peer },
	})
	table.Track(server)
	running.Go(func() { _ = server.Serve(table.Listener(b.listener)) })
	t.Cleanup(func() {
		soon, done := context.WithTimeout(context.Background(), 5*time.Second)
		b.hub.Drain(soon, 0, protocol.CloseRestart)
		done()
		b.handler.Wait()
		cancel()
		b.client.CloseIdleConnections()
		_ = server.Close()
		running.Wait()
		reader.Close()
		synctest.Wait()
		if n, used := b.slots.Used(), b.budget.Used(); n != 0 || used != 0 {
			t.Errorf("at the end %d slots are in use and %d bytes are charged", n, used)
		}
	})
	b.hub.Online(1)
	b.mark("marker00")
	synctest.Wait()
	return b
}

// build creates the parts of the relay.
func (b *bubble) build(change []option) {
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	all := access.Patterns{access.MustPattern("*")}
	c := options{each: 3 << 20, total: 256 << 20, slots: 10_000}
	c.hub = relay.HubConfig{
		Access: &access.Rules{
			Names: access.NewNames("", ""), Channels: all, Public: all, Durable: access.Patterns{access.MustPattern("order:*")},
		},
		Protocols: protocol.All(), Stats: b.stats, Logger: logger, Shards: 2, MaxChannels: 128,
		PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second, HistoryBytes: 1 << 20, HistoryAge: time.Hour,
	}
	c.sse = Config{Stats: b.stats, Logger: logger, MaxChannels: 128, DefaultChannels: []string{"chat"}}
	for _, f := range change {
		f(&c)
	}
	b.budget, b.slots = outbox.NewBudget(c.each, c.total, 10*time.Second, b.stats), accept.NewSlots(c.slots)
	c.hub.Budget, c.sse.Budget, c.sse.Slots, c.sse.Access = b.budget, b.budget, b.slots, c.hub.Access
	if b.peer = c.peer; c.perAddress+c.perSecond > 0 {
		b.limiter = accept.NewIPLimiter(c.perAddress, c.perSecond)
		c.sse.IPLimiter = b.limiter
	}
	b.hub = relay.NewHub(c.hub)
	c.sse.Hub = b.hub
	b.handler = New(c.sse)
}

// server returns a server as the relay has it.
func (b *bubble) server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(b.version == 1)
	protocols.SetUnencryptedHTTP2(b.version == 2)
	b.client = &http.Client{Transport: &http.Transport{
		Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return b.dial(), nil },
		DisableCompression: true, // a request for compression would not be one of EventSource
	}}
	return &http.Server{
		Handler: b.handler, Protocols: protocols, WriteTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}

// dial returns a new connection to the relay.
func (b *bubble) dial() net.Conn {
	client, server := b.pipe(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1})
	b.listener.Connect(server)
	return client
}

// publish publishes a message as the application does.
func (b *bubble) publish(channel, payload string) {
	b.hub.Publish([]byte(channel), []byte(payload))
	b.hub.Flush()
}

// mark lets the relay receive a marker.
func (b *bubble) mark(id string) {
	b.hub.Marker([]byte(id))
	b.hub.Flush()
}

// A reader is a client of one stream.
type reader struct {
	*http.Response
	t      *testing.T
	lines  *bufio.Reader
	cancel context.CancelFunc
	lastID string
}

// open requests a stream, or another answer. headers are names and values.
func (b *bubble) open(target string, headers ...string) *reader {
	b.t.Helper()
	return b.request(http.MethodGet, target, headers...)
}

func (b *bubble) request(method, target string, headers ...string) *reader {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, method, "http://relay"+target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatalf("GET %s: %v", target, err)
	}
	b.t.Cleanup(func() { cancel(); _ = response.Body.Close() })
	return &reader{Response: response, t: b.t, lines: bufio.NewReader(response.Body), cancel: cancel}
}

// next returns the next block, without the line that sets the time to reconnect.
// io.EOF means that the stream has ended.
func (r *reader) next() (block string, err error) {
	for {
		line, err := r.lines.ReadString('\n')
		switch {
		case err != nil && block+line == "":
			return "", err
		case err != nil:
			return "", errors.New("the stream ends within a block: " + block + line)
		case line == "\n" && block != "":
			return strings.TrimSuffix(block, "\n"), nil
		case line == "\n", strings.HasPrefix(line, "retry: "):
			continue
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			r.lastID = strings.TrimSuffix(id, "\n")
		}
		block += line
	}
}

// want reads blocks, and compares them with the lines of each, without ids.
func (r *reader) want(blocks ...string) {
	r.t.Helper()
	for _, want := range blocks {
		block, err := r.next()
		if err != nil {
			r.t.Fatalf("the stream ends with %v, want %q", err, want)
		}
		if got := withoutID(block); got != want {
			r.t.Fatalf("block %q, want %q", block, want)
		}
	}
}

// withoutID replaces the id of a block.
func withoutID(block string) string {
	if rest, ok := strings.CutPrefix(block, "id: "); ok {
		_, rest, _ := strings.Cut(rest, "\n")
		return strings.TrimSuffix("id\n"+rest, "\n")
	}
	return block
}

// wantEnd reads to the end of the stream.
func (r *reader) wantEnd() {
	r.t.Helper()
	if block, err := r.next(); err != io.EOF {
		r.t.Fatalf("block %q, %v; want the end of the stream", block, err)
	}
}

// body reads the whole answer.
func (r *reader) body() string {
	b, err := io.ReadAll(r.lines)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// leave ends the stream as a browser does, and waits until the relay has noticed.
func (r *reader) leave() {
	r.cancel()
	_ = r.Body.Close()
	synctest.Wait()
}

// Every test runs on both readers.
func TestWithGoroutines(t *testing.T) { readers.RunWithGoroutines(t) }
