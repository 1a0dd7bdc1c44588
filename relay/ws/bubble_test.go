package ws

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// The tests of this file run in bubbles: hub, handler, library and clients are real, the connections are pipes in memory,
// and time passes when nothing else is left to do.

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

// A bubble is a rig inside of one.
type bubble struct {
	*rig
	listener *pipes
	began    time.Time
	deliver  bool // what clients publish is handed out
}

// inBubble runs test with a rig that has the default settings, but for its options.
func inBubble(t *testing.T, test func(*bubble), options ...rigOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, options)
		test(b)
	})
}

func newBubble(t *testing.T, options []rigOption) *bubble {
	b := &bubble{
		rig:      &rig{t: t, stats: new(stats.Stats), log: &logBuffer{}},
		listener: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}, began: time.Now(), deliver: true,
	}
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	all := access.Patterns{access.MustPattern("*")}
	c := rigConfig{each: 2 << 20, total: 256 << 20, age: 10 * time.Second, slots: 10_000}
	c.hub = relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all},
		Protocols: protocol.All(), Stats: b.stats, Logger: logger, Publish: b.publish, Shards: 2,
		MaxChannels: 128, MaxPayload: 1 << 20, CommandRate: 20, CommandBurst: 50,
		PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
	}
	c.ws = Config{
		Stats: b.stats, Logger: logger, MaxInbound: 16 << 10, DefaultChannels: []string{"chat"},
		Protocols: map[string]protocol.Protocol{
			"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
		},
	}
	for _, option := range options {
		option(&c)
	}
	b.budget, b.slots = outbox.NewBudget(c.each, c.total, c.age, b.stats), relay.NewSlots(c.slots)
	c.hub.Budget, c.ws.Budget, c.ws.Slots = b.budget, b.budget, b.slots
	b.hub = relay.NewHub(c.hub)
	c.ws.Hub = b.hub
	b.handler = New(c.ws)
	b.start()
	return b
}

func (b *bubble) start() {
	server := &http.Server{Handler: b.handler}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = b.hub.Run(ctx) })
	running.Go(func() { _ = server.Serve(b.listener) })
	b.t.Cleanup(func() {
		soon, done := context.WithTimeout(context.Background(), 5*time.Second)
		b.hub.Drain(soon, 0, protocol.CloseRestart)
		done()
		b.handler.Wait()
		cancel()
		_ = server.Close()
		running.Wait()
		b.budget.Wait()
		if n, used := b.slots.Used(), b.budget.Used(); n != 0 || used != 0 {
			b.t.Errorf("at the end %d slots are taken and %d bytes charged", n, used)
		}
	})
	b.online()
	synctest.Wait()
}

// publish is Redis.
func (b *bubble) publish(ctx context.Context, channel string, payload []byte) (int64, error) {
	if !b.deliver {
		return 1, nil
	}
	return b.rig.publish(ctx, channel, payload)
}

// connect makes a connection and its handshake, and reads nothing behind the answer.
func (b *bubble) connect(target string, headers ...string) *peer {
	b.t.Helper()
	client, server := net.Pipe()
	b.t.Cleanup(func() { _ = client.Close() })
	b.listener.conns <- server
	p := &peer{t: b.t, conn: client, in: bufio.NewReader(client)}
	p.write([]byte(b.handshake(target, headers...)))
	if response := p.response(); response.StatusCode != http.StatusSwitchingProtocols {
		b.t.Fatalf("handshake: %s", response.Status)
	}
	return p
}

// An ear reads whatever a client gets, and when.
type ear struct {
	*peer
	ended chan struct{}

	mu    sync.Mutex
	heard []sound
	end   time.Time // when the connection ended
}

type sound struct {
	at      time.Time
	op      byte
	payload string
}

// listen reads on until the connection ends. answer gives what to send for each frame, and may be nil.
func (b *bubble) listen(p *peer, answer func(sound) []byte) *ear {
	e := &ear{peer: p, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		for {
			op, payload, err := p.read()
			now := time.Now()
			e.mu.Lock()
			if err != nil {
				e.end = now
				e.mu.Unlock()
				return
			}
			s := sound{now, op, payload}
			e.heard = append(e.heard, s)
			e.mu.Unlock()
			if answer != nil {
				if frame := answer(s); frame != nil {
					_, _ = p.conn.Write(frame)
				}
			}
		}
	}()
	return e
}

// sounds returns what was heard, of one type or of all (0).
func (e *ear) sounds(op byte) (list []sound) {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.heard {
		if op == 0 || s.op == op {
			list = append(list, s)
		}
	}
	return list
}

func (e *ear) endedAt() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.end
}

// pong answers pings, and closes when the relay does.
func pong(s sound) []byte {
	switch s.op {
	case 8:
		return frame(0x88, s.payload)
	case 9:
		return frame(0x8a, s.payload)
	}
	return nil
}

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

// sweepStep is how late the relay may look.
const sweepStep = time.Second
