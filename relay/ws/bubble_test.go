package ws

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/protocol"
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
		rig:      &rig{t: t, stats: new(relay.Stats), log: &logBuffer{}},
		listener: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}, began: time.Now(), deliver: true,
	}
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	all := relay.Patterns{relay.MustPattern("*")}
	c := rigConfig{each: 2 << 20, total: 256 << 20, age: 10 * time.Second, slots: 10_000}
	c.hub = relay.HubConfig{
		Access:    &relay.Access{Names: relay.NewNames("", ""), Channels: all, Public: all, Publish: all},
		Protocols: protocol.All(), Stats: b.stats, Logger: logger, Publish: b.publish, Shards: 2,
		MaxChannels: 128, MaxPayload: 1 << 20, CommandRate: 20, CommandBurst: 50,
		PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
	}
	c.ws = Config{
		Stats: b.stats, Logger: logger, MaxInbound: 16 << 10, DefaultChannels: []string{"chat"},
		Protocols: map[string]relay.Protocol{
			"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
		},
	}
	for _, option := range options {
		option(&c)
	}
	b.budget, b.slots = relay.NewBudget(c.each, c.total, c.age, b.stats), relay.NewSlots(c.slots)
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
		b.hub.Drain(soon, 0, relay.CloseRestart)
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

// Heartbeats come every 25 s +-10 %, together with a ping, and spread although all clients came at once.
func TestBubbleHeartbeats(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var ears []*ear
		for range 100 {
			ears = append(ears, b.listen(b.connect("/", v1Header), pong), b.listen(b.connect("/"), pong))
		}
		pass(10 * time.Minute)
		moments := map[time.Duration]int{}
		for i, e := range ears {
			beats, pings := e.sounds(1), e.sounds(9)
			if v1 := i%2 == 0; v1 {
				beats = beats[1:] // the welcome
			} else if len(beats) > 0 {
				t.Fatalf("a raw client hears %q", beats[0].payload)
			}
			last := b.began
			for k, ping := range pings {
				gap := ping.at.Sub(last)
				if gap < 22500*time.Millisecond || gap > 27500*time.Millisecond+sweepStep {
					t.Errorf("client %d: %v between two pings", i, gap)
				}
				last = ping.at
				moments[ping.at.Sub(b.began)]++
				if i%2 == 0 && (beats[k].payload != `{"type":"heartbeat"}` || !beats[k].at.Equal(ping.at)) {
					t.Errorf("client %d: ping at %v, heartbeat %+v", i, ping.at, beats[k])
				}
			}
			if n := len(pings); n < 21 || n > 26 || !e.endedAt().IsZero() {
				t.Errorf("client %d: %d pings in 10 min, ended %v", i, n, e.endedAt())
			}
		}
		for at, n := range moments {
			if n > len(ears)/2 {
				t.Errorf("%d of %d clients are pinged at %v", n, len(ears), at)
			}
		}
	})
}

// A client that does not answer a ping for 10 s is given up; one that says anything at all, even at the last moment, is not.
func TestBubblePongTimeout(t *testing.T) {
	for _, test := range []struct {
		why    string
		answer func(e *peer, s sound) []byte
		stays  bool
	}{
		{"never", func(*peer, sound) []byte { return nil }, false},
		{"with a pong", func(_ *peer, s sound) []byte { return pong(s) }, true},
		{"with a pong after 9.9 s", func(e *peer, s sound) []byte { return late(e, s, 9900*time.Millisecond) }, true},
		{"with a pong after 11.1 s", func(e *peer, s sound) []byte { return late(e, s, 11100*time.Millisecond) }, false},
		{"with a ping of its own", func(*peer, sound) []byte { return frame(0x89, "") }, true},
		{"with a message", func(*peer, sound) []byte { return text("x") }, true},
		{"with half a frame", func(*peer, sound) []byte { return []byte{0x81} }, false},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				p := b.connect("/?channel=a&publish=b")
				half := false
				e := b.listen(p, func(s sound) []byte {
					if s.op != 9 || half {
						return nil
					}
					half = strings.Contains(test.why, "half")
					return test.answer(p, s)
				})
				pass(5 * time.Minute)
				synctest.Wait()
				if e.endedAt().IsZero() != test.stays {
					t.Fatalf("answering %s, the client ends at %v", test.why, e.endedAt().Sub(b.began))
				}
				pings := e.sounds(9)
				if test.stays {
					if len(pings) < 10 {
						t.Errorf("%d pings in 5 min", len(pings))
					}
					return
				}
				if waited := e.endedAt().Sub(pings[len(pings)-1].at); waited < 10*time.Second || waited > 10*time.Second+sweepStep {
					t.Errorf("given up %v after the ping", waited)
				}
				if log := b.log.String(); !strings.Contains(log, "code=1006") || b.hub.Sessions() != 0 {
					t.Errorf("%d sessions, log:\n%s", b.hub.Sessions(), log)
				}
			})
		})
	}
}

// late answers after a while.
func late(p *peer, s sound, after time.Duration) []byte {
	time.AfterFunc(after, func() { _, _ = p.conn.Write(pong(s)) })
	return nil
}

// A timeout that is hardly less than the interval still counts from the first ping that was not answered.
func TestBubblePongTimeoutNearInterval(t *testing.T) {
	const timeout = 59 * time.Second
	inBubble(t, func(b *bubble) {
		var ears []*ear
		for range 100 {
			ears = append(ears, b.listen(b.connect("/"), nil))
		}
		pass(5 * time.Minute)
		for i, e := range ears {
			pings := e.sounds(9)
			if len(pings) == 0 {
				t.Fatalf("client %d hears no ping", i)
			}
			if waited := e.endedAt().Sub(pings[0].at); waited < timeout || waited > timeout+sweepStep {
				t.Errorf("client %d ends %v after its first ping, want %v", i, waited, timeout)
			}
		}
	}, func(c *rigConfig) { c.hub.PingInterval, c.hub.PongTimeout = time.Minute, timeout })
}

// A client that does not read is thrown out when its oldest byte has waited for 10 s.
func TestBubbleWriteTimeout(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.connect("/?channel=a") // never reads again
		reads := b.listen(b.connect("/?channel=a"), pong)
		pass(3 * time.Second)
		said := time.Now()
		b.say("a", "one")
		pass(9900 * time.Millisecond)
		b.say("a", "two")
		synctest.Wait()
		if n := b.hub.Sessions(); n != 2 {
			t.Fatalf("after 9.9 s there are %d sessions", n)
		}
		for b.stats.Evictions[relay.EvictAge].Load() == 0 && time.Since(said) < time.Minute {
			pass(10 * time.Millisecond)
		}
		if waited := time.Since(said); waited < 10*time.Second || waited > 10*time.Second+sweepStep+10*time.Millisecond {
			t.Errorf("thrown out after %v", waited)
		}
		pass(time.Second + time.Millisecond) // that it has to take the rest
		synctest.Wait()
		if n := b.hub.Sessions(); n != 1 || !strings.Contains(b.log.String(), "code=4408") {
			t.Errorf("%d sessions, log:\n%s", n, b.log)
		}
		if got := reads.sounds(1); len(got) != 2 || b.budget.Used() != 0 {
			t.Errorf("the other one got %+v, and %d bytes are charged", got, b.budget.Used())
		}
	})
}

// One that reads slowly, but never lets a byte wait for 10 s, stays; one that is thrown out and reads within the second
// finds the frame that was begun, whole, and the close frame.
func TestBubbleSlowReader(t *testing.T) {
	inBubble(t, func(b *bubble) {
		slow := b.connect("/?channel=a")
		for i := range 20 {
			b.say("a", fmt.Sprint(i))
			pass(9 * time.Second)
			slow.want(1, fmt.Sprint(i))
			if i%2 == 1 {
				slow.write(frame(0x8a, ""))
			}
		}
		b.say("a", strings.Repeat("x", 100_000))
		b.say("a", "behind")
		pass(time.Second)
		begun := make([]byte, 1000)
		if _, err := slow.in.Read(begun[:1]); err != nil {
			t.Fatal(err)
		}
		for b.stats.Evictions[relay.EvictAge].Load() == 0 {
			pass(10 * time.Millisecond)
		}
		pass(900 * time.Millisecond)
		if err := slow.in.UnreadByte(); err != nil {
			t.Fatal(err)
		}
		slow.want(1, strings.Repeat("x", 100_000))
		slow.wantClose(relay.CloseSlow)
	}, func(c *rigConfig) { c.hub.PingInterval = 0 })
}

// What a client published without echo is skipped if it comes within 10 s, and heard if it comes later.
func TestBubbleEchoExpires(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		want  []string
	}{
		{0, []string{"end"}},
		{9900 * time.Millisecond, []string{"end"}},
		{10100 * time.Millisecond, []string{"mine", "end"}},
	} {
		t.Run(test.after.String(), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.deliver = false
				me := b.listen(b.connect("/?channel=a&echo=false"), pong)
				me.write(text("mine"))
				pass(test.after)
				synctest.Wait()
				b.deliver = true
				b.say("a", "mine")
				b.say("a", "end")
				var got []string
				for _, s := range me.sounds(1) {
					got = append(got, s.payload)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("heard %q, want %q", got, test.want)
				}
			})
		})
	}
}

// The burst is 50, and then a second brings 20 commands. A client that is too fast is told once a second.
func TestBubbleRateLimit(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect("/", v1Header)
		e := b.listen(p, pong)
		fire := func(n int) (pongs, refused int) {
			before := len(e.sounds(1))
			for range n {
				p.write(text(`{"type":"ping"}`))
			}
			for _, s := range e.sounds(1)[before:] {
				switch {
				case s.payload == `{"type":"pong"}`:
					pongs++
				case strings.Contains(s.payload, `"rate_limited"`):
					refused++
				}
			}
			return pongs, refused
		}
		for _, step := range []struct {
			wait           time.Duration
			send           int
			pongs, refused int
		}{
			{0, 55, 50, 1},
			{500 * time.Millisecond, 12, 10, 0}, // told half a second ago
			{500 * time.Millisecond, 12, 10, 1},
			{time.Second, 20, 20, 0},
			{10 * time.Second, 52, 50, 1},
			{time.Minute, 50, 50, 0},
		} {
			pass(step.wait)
			if pongs, refused := fire(step.send); pongs != step.pongs || refused != step.refused {
				t.Errorf("after %v, of %d commands %d are answered and %d refusals told, want %d and %d",
					step.wait, step.send, pongs, refused, step.pongs, step.refused)
			}
		}
	})
}

// drained runs a drain of 25 s over n clients and returns when each got its close frame, by the order in which they came.
func drained(b *bubble, n int) (ends []time.Duration) {
	var ears []*ear
	for range n {
		ears = append(ears, b.listen(b.connect("/"), pong))
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b.hub.Drain(ctx, 25*time.Second, relay.CloseRestart)
	b.handler.Wait()
	if took := time.Since(began); took > 26*time.Second {
		b.t.Errorf("draining %d clients takes %v", n, took)
	}
	for i, e := range ears {
		closes := e.sounds(8)
		if len(closes) != 1 || closes[0].payload != "\x03\xf4"+relay.CloseRestart.Reason() {
			b.t.Fatalf("client %d got %+v", i, closes)
		}
		ends = append(ends, closes[0].at.Sub(began))
	}
	return ends
}

// A drain closes at one rate over its whole time, in an order that has nothing to do with when the clients came.
func TestBubbleDrainIsEven(t *testing.T) {
	for _, n := range []int{500, 750, 1300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				ends := drained(b, n)
				var perPart [5]int // of 5 s
				for _, at := range ends {
					perPart[min(int(at/(5*time.Second)), 4)]++
				}
				for part, closed := range perPart {
					if want := n / 5; closed < want*9/10 || closed > want*11/10 {
						t.Errorf("%d of %d clients are closed in part %d of five: %v", closed, n, part+1, perPart)
					}
				}
				if r := correlation(ends); math.Abs(r) > 0.25 {
					t.Errorf("clients are closed in the order in which they came: correlation %.2f", r)
				}
			})
		})
	}
}

// correlation is Pearson's, between the times and their places in the list.
func correlation(times []time.Duration) float64 {
	n := float64(len(times))
	var sumX, sumY, sumXX, sumYY, sumXY float64
	for i, at := range times {
		x, y := float64(i), at.Seconds()
		sumX, sumY, sumXX, sumYY, sumXY = sumX+x, sumY+y, sumXX+x*x, sumYY+y*y, sumXY+x*y
	}
	return (n*sumXY - sumX*sumY) / math.Sqrt((n*sumXX-sumX*sumX)*(n*sumYY-sumY*sumY))
}

// With few clients there is nobody to spread, and with none nothing to wait for.
func TestBubbleDrainOfFew(t *testing.T) {
	for n, most := range map[int]time.Duration{0: 0, 1: time.Second, 20: 2 * time.Second} {
		inBubble(t, func(b *bubble) {
			began := time.Now()
			for i, at := range drained(b, n) {
				if at > most {
					t.Errorf("client %d of %d is closed after %v", i, n, at)
				}
			}
			if took := time.Since(began); took > most+2*time.Second {
				t.Errorf("draining %d clients takes %v", n, took)
			}
		})
	}
}

// Clients that do not read do not keep a drain from ending in time.
func TestBubbleDrainOfStuckClients(t *testing.T) {
	inBubble(t, func(b *bubble) {
		for range 50 {
			b.connect("/?channel=a") // never reads again
		}
		var ears []*ear
		for range 50 {
			ears = append(ears, b.listen(b.connect("/?channel=a"), pong))
		}
		b.say("a", strings.Repeat("x", 10_000))
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 29*time.Second)
		defer cancel()
		b.hub.Drain(ctx, 25*time.Second, relay.CloseRestart)
		b.handler.Wait()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the drain takes %v", took)
		}
		for i, e := range ears {
			if closes := e.sounds(8); len(closes) != 1 || len(e.sounds(1)) != 1 {
				t.Errorf("client %d, which reads, got %d messages and %d close frames", i, len(e.sounds(1)), len(closes))
			}
		}
		if n := b.hub.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	}, func(c *rigConfig) { c.age = time.Hour })
}

// A client that was let in just before the drain, and joins just after it, is closed as well.
func TestBubbleDrainDoesNotMissLateJoiners(t *testing.T) {
	inBubble(t, func(b *bubble) {
		e := b.listen(b.connect("/"), pong)
		_ = e
		pass(time.Minute)
		synctest.Wait()
		if len(e.sounds(8)) != 1 || b.hub.Sessions() != 0 {
			t.Errorf("it got %d close frames, and %d sessions are left", len(e.sounds(8)), b.hub.Sessions())
		}
	}, func(c *rigConfig) {
		c.ws.Remote = func(*http.Request) string { // asked between letting in and joining
			c.ws.Hub.Drain(context.Background(), 0, relay.CloseRestart)
			return "somebody"
		}
	})
}
