package ws

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A rig is a hub behind a real listener.
type rig struct {
	t       testing.TB
	hub     *relay.Hub
	budget  *outbox.Budget
	stats   *stats.Stats
	slots   *relay.Slots
	handler *Handler
	addr    string
	log     *logBuffer

	mu        sync.Mutex
	published []string
	err       error
}

type rigOption func(*rigConfig)

type rigConfig struct {
	hub         relay.HubConfig
	ws          Config
	each, total int
	age         time.Duration
	slots       int
}

func newRig(t testing.TB, options ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, stats: new(stats.Stats), log: &logBuffer{}}
	logger := slog.New(slog.NewTextHandler(r.log, nil))
	c := rigConfig{each: 2 << 20, total: 256 << 20, age: 10 * time.Second, slots: 1000}
	all, err := access.ParsePatterns([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	c.hub = relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all},
		Protocols: protocol.All(), Stats: r.stats, Logger: logger, Publish: r.publish,
		MaxChannels: 128, MaxPayload: 1 << 20, CommandRate: 20, CommandBurst: 50,
		PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
	}
	c.ws = Config{
		Stats: r.stats, Logger: logger, MaxInbound: 16 << 10, DefaultChannels: []string{"chat"},
		Protocols: map[string]protocol.Protocol{
			"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
		},
	}
	for _, option := range options {
		option(&c)
	}
	r.budget = outbox.NewBudget(c.each, c.total, c.age, r.stats)
	r.slots = relay.NewSlots(c.slots)
	c.hub.Budget, c.ws.Budget, c.ws.Slots = r.budget, r.budget, r.slots
	r.hub = relay.NewHub(c.hub)
	c.ws.Hub = r.hub
	r.handler = New(c.ws)
	server := httptest.NewServer(r.handler)
	r.addr = server.Listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(ctx) })
	t.Cleanup(func() {
		soon, done := context.WithTimeout(context.Background(), 5*time.Second)
		r.hub.Drain(soon, 0, protocol.CloseRestart)
		done()
		r.handler.Wait()
		cancel()
		running.Wait()
		server.Close()
		r.budget.Wait()
		if n := r.slots.Used(); n != 0 {
			t.Errorf("%d connection slots were not given back", n)
		}
	})
	r.online()
	return r
}

func (r *rig) online() { r.hub.Online(1); r.hub.Flush() }

// publish is Redis: it hands what is published to the hub.
func (r *rig) publish(_ context.Context, channel string, payload []byte) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	r.published = append(r.published, channel+" "+string(payload))
	r.hub.Publish([]byte(channel), payload)
	r.hub.Flush()
	return 1, nil
}

// fail makes Redis refuse what is published.
func (r *rig) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// log of what was published.
func (r *rig) publications() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.published)
}

func (r *rig) say(channel, payload string) {
	r.t.Helper()
	if _, err := r.publish(context.Background(), channel, []byte(payload)); err != nil {
		r.t.Fatal(err)
	}
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A peer is a client that writes what it likes.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

const goodKey = "dGhlIHNhbXBsZSBub25jZQ=="

func (r *rig) handshake(target string, headers ...string) string {
	var head strings.Builder
	head.WriteString("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + goodKey + "\r\n")
	for _, h := range headers {
		head.WriteString(h + "\r\n")
	}
	return head.String() + "\r\n"
}

// dial connects, and sends more with the handshake.
func (r *rig) dial(target string, headers ...string) *peer {
	r.t.Helper()
	p := r.connect()
	p.write([]byte(r.handshake(target, headers...)))
	response := p.response()
	if response.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatalf("handshake: %s", response.Status)
	}
	return p
}

const v1Header = "Sec-WebSocket-Protocol: sidecast.v1"

// v1 connects with sidecast.v1 and takes the welcome.
func (r *rig) v1() *peer {
	r.t.Helper()
	p := r.dial("/", v1Header)
	p.wantText(`{"type":"welcome"`)
	return p
}

func (r *rig) connect() *peer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{t: r.t, conn: conn, in: bufio.NewReader(conn)}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		p.t.Logf("writing: %v", err) // the relay may have closed already, which reading will show
	}
}

func (p *peer) response() *http.Response {
	p.t.Helper()
	response, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.t.Fatalf("reading the handshake's answer: %v", err)
	}
	return response
}

// frame builds a client's frame, masked with a zero key so that it is readable here.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func text(payload string) []byte { return frame(0x81, payload) }

// read returns the next frame.
func (p *peer) read() (op byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, "", err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("a frame begins with % x", head)
	}
	n := uint64(head[1])
	if n == 126 || n == 127 {
		long := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(p.in, long); err != nil {
			return 0, "", err
		}
		n = 0
		for _, c := range long {
			n = n<<8 | uint64(c)
		}
	}
	body := make([]byte, n)
	_, err = io.ReadFull(p.in, body)
	return head[0] & 0x0f, string(body), err
}

func (p *peer) want(op byte, payload string) {
	p.t.Helper()
	gotOp, got, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for %x %.80q: %v", op, payload, err)
	}
	if gotOp != op || got != payload {
		p.t.Fatalf("got %x %.200q, want %x %.200q", gotOp, got, op, payload)
	}
}

// wantText takes a text frame that contains part.
func (p *peer) wantText(part string) string {
	p.t.Helper()
	op, got, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for %.80q: %v", part, err)
	}
	if op != 1 || !strings.Contains(got, part) {
		p.t.Fatalf("got %x %.200q, want a text with %q", op, got, part)
	}
	return got
}

// wantClose skips messages up to a close frame, checks it, and that the connection ends after it.
func (p *peer) wantClose(code protocol.CloseCode) {
	p.t.Helper()
	for {
		op, got, err := p.read()
		if err != nil {
			p.t.Fatalf("waiting for close %d: %v", code, err)
		}
		if op != 8 {
			continue
		}
		want := string(binary.BigEndian.AppendUint16(nil, uint16(code))) + code.Reason()
		if got != want {
			p.t.Fatalf("close frame %q, want %q", got, want)
		}
		if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
			p.t.Fatalf("after the close frame: %d bytes, %v", len(rest), err)
		}
		return
	}
}

// await polls until ok; what it waits for happens on other goroutines without an event that a test could see.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
		<-tick.C
	}
}

// message takes a v1 message and returns its payload.
func (p *peer) message() (payload string, isBase64 bool) {
	p.t.Helper()
	_, got, err := p.read()
	if err != nil {
		p.t.Fatal(err)
	}
	var f struct {
		Type   string
		Data   string
		Base64 *[]byte
	}
	if err := json.Unmarshal([]byte(got), &f); err != nil || f.Type != "message" {
		p.t.Fatalf("got %.100q (%v), want a message", got, err)
	}
	if f.Base64 != nil {
		return string(*f.Base64), true
	}
	return f.Data, false
}
