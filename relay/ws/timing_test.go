package ws

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/readers"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// Heartbeats are sent every 25 s +-10 %, together with a ping. They are spread
// over time even if all clients connect at the same moment.
func TestHeartbeats(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var recorders []*recorder
		for range 100 {
			recorders = append(recorders, b.record(b.connect("/", v1Header), reply), b.record(b.connect("/"), reply))
		}
		sleep(10 * time.Minute)
		moments := map[time.Duration]int{}
		for i, e := range recorders {
			heartbeats, pings := e.frames(1), e.frames(9)
			if v1 := i%2 == 0; v1 {
				heartbeats = heartbeats[1:] // after the welcome
			} else if len(heartbeats) > 0 {
				t.Fatalf("a raw client receives %q", heartbeats[0].payload)
			}
			last := b.began
			for k, ping := range pings {
				gap := ping.at.Sub(last)
				if gap < 22500*time.Millisecond || gap > 27500*time.Millisecond+sweepStep {
					t.Errorf("client %d: %v between two pings", i, gap)
				}
				last = ping.at
				moments[ping.at.Sub(b.began)]++
				if i%2 == 0 && (heartbeats[k].payload != `{"type":"heartbeat"}` || !heartbeats[k].at.Equal(ping.at)) {
					t.Errorf("client %d: ping at %v, heartbeat %+v", i, ping.at, heartbeats[k])
				}
			}
			if n := len(pings); n < 21 || n > 26 || !e.endedAt().IsZero() {
				t.Errorf("client %d: %d pings in 10 min, ended %v", i, n, e.endedAt())
			}
		}
		for at, n := range moments {
			if n > len(recorders)/2 {
				t.Errorf("%d of %d clients are pinged at %v", n, len(recorders), at)
			}
		}
	})
}

// The relay disconnects a client that does not answer a ping for 10 s. Any
// bytes that it sends are an answer, even at the last moment; but a message must
// be complete in 10 s.
func TestPongTimeout(t *testing.T) {
	for _, test := range []struct {
		why    string
		answer func(p *peer, f receivedFrame) []byte
		stays  bool
	}{
		{"never", func(*peer, receivedFrame) []byte { return nil }, false},
		{"with a pong", func(_ *peer, f receivedFrame) []byte { return reply(f) }, true},
		{"with a pong after 9.9 s", func(p *peer, f receivedFrame) []byte { return replyLate(p, f, 9900*time.Millisecond) }, true},
		{"with a pong after 11.1 s", func(p *peer, f receivedFrame) []byte { return replyLate(p, f, 11100*time.Millisecond) }, false},
		{"with a ping", func(*peer, receivedFrame) []byte { return frame(0x89, "") }, true},
		{"with a message", func(*peer, receivedFrame) []byte { return text("x") }, true},
		{"with half a frame", func(*peer, receivedFrame) []byte { return []byte{0x81} }, false},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				p := b.connect("/?channel=a&publish=b")
				half := false
				e := b.record(p, func(f receivedFrame) []byte {
					if f.op != 9 || half {
						return nil
					}
					half = strings.Contains(test.why, "half")
					return test.answer(p, f)
				})
				sleep(5 * time.Minute)
				synctest.Wait()
				if e.endedAt().IsZero() != test.stays {
					t.Fatalf("a client that answers %s is disconnected after %v", test.why, e.endedAt().Sub(b.began))
				}
				pings := e.frames(9)
				if test.stays {
					if len(pings) < 10 {
						t.Errorf("%d pings in 5 min", len(pings))
					}
					return
				}
				if waited := e.endedAt().Sub(pings[len(pings)-1].at); waited < 10*time.Second || waited > 10*time.Second+sweepStep {
					t.Errorf("the client is disconnected %v after the ping", waited)
				}
				code := "code=1006"
				if half {
					code = "code=1008"
				}
				if log := b.log.String(); !strings.Contains(log, code) || b.hub.Sessions() != 0 {
					t.Errorf("%d sessions, log:\n%s", b.hub.Sessions(), log)
				}
			})
		})
	}
}

// A client must finish a message in 10 s, and a second more for each 32 KiB that
// its headers announce, even if it sends bytes and answers pings all the time.
func TestMessageTime(t *testing.T) {
	whole := text(strings.Repeat("x", 64<<10))
	for _, test := range []struct {
		why   string
		pause time.Duration
		send  [][]byte
		stays time.Duration // 0: the client stays connected
	}{
		{"a byte at a time", 6 * time.Second, pieces(text("12345678"), 1), 10 * time.Second},
		{"a small message, just in time", 9900 * time.Millisecond, pieces(text("x"), 4), 0},
		{"64 KiB in 11 s", time.Second, pieces(whole, len(whole)/11), 0},
		{"64 KiB in 13 s", time.Second, pieces(whole, len(whole)/13), 12 * time.Second},
		{"fragments and pongs", 4 * time.Second, [][]byte{frame(0x01, "a"), frame(0x8a, ""), frame(0x00, "b"), frame(0x8a, ""), frame(0x80, "c")}, 10 * time.Second},
		{"fragments in time", 3 * time.Second, [][]byte{frame(0x01, "a"), frame(0x8a, ""), frame(0x00, "b"), frame(0x80, "c")}, 0},
		{"half a pong", 11 * time.Second, pieces(frame(0x8a, "12"), 4), 10 * time.Second},
		// Each read ends within a message, so it is never between two.
		{"messages across reads", 6 * time.Second, pieces(bytes.Repeat(text("1234"), 10), 11), 0},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				p := b.connect("/?channel=a&publish=b")
				e := b.record(p, nil)
				began := time.Now()
				for _, piece := range test.send {
					_, _ = p.conn.Write(piece)
					sleep(test.pause)
				}
				if test.stays == 0 {
					if !e.endedAt().IsZero() {
						t.Errorf("the client is disconnected after %v", e.endedAt().Sub(began))
					}
					return
				}
				sleep(5 * time.Second)
				if stayed := e.endedAt().Sub(began); stayed < test.stays || stayed > test.stays+2*time.Second {
					t.Errorf("the client is disconnected after %v, want %v", stayed, test.stays)
				}
				if log := b.log.String(); !strings.Contains(log, "code=1008") {
					t.Errorf("log:\n%s", log)
				}
			}, func(c *relayConfig) { c.ws.MaxInbound, c.hub.PingInterval = 64<<10, time.Hour })
		})
	}
}

// While the relay handles a complete message, the time does not count.
func TestMessageTimeExceptWaiting(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect("/?channel=a&publish=a")
		e := b.record(p, nil)
		send := bytes.Repeat(text("1234"), 15)
		_, _ = p.conn.Write(send[:5]) // the first message arrives in two parts
		_, _ = p.conn.Write(send[5:])
		sleep(time.Minute)
		if !e.endedAt().IsZero() {
			t.Errorf("the client is disconnected after %v:\n%s", e.endedAt().Sub(b.began), b.log)
		}
	}, func(c *relayConfig) {
		c.hub.PingInterval = time.Hour
		c.hub.Publish = func(context.Context, string, []byte) (int64, error) {
			<-time.After(time.Second) // Redis is slow
			return 1, nil
		}
	})
}

// If the process was suspended when a message should have been complete, the
// relay reads what has arrived, for a second, before it disconnects a client.
func TestMessageTimeAfterSuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := &messageTimer{timer: time.NewTimer(time.Hour)}
		m.set(began.Add(messageTime), began)
		sleep(time.Minute) // the timer runs late
		if m.late() {
			t.Fatal("the client is disconnected before what has arrived is read")
		}
		sleep(900 * time.Millisecond)
		m.set(began.Add(messageTime), began) // what has arrived does not complete the message
		if m.late() {
			t.Error("the client has less than a second")
		}
		sleep(100 * time.Millisecond)
		if !m.late() {
			t.Error("the client has more than a second")
		}
	})
}

// A timer exists only while a message is incomplete.
func TestMessageTimerIsNotKept(t *testing.T) {
	now := time.Now()
	var l messageLimit
	c := new(conn)
	for _, step := range []struct {
		why   string
		began int64
		kept  bool
	}{
		{"nothing has arrived", 0, false},
		{"a part has arrived", now.UnixNano(), true},
		{"another part of it", now.UnixNano(), true},
		{"a part of the next message", now.UnixNano() + 1, true},
		{"the rest", 0, false},
	} {
		before := l.current
		c.decoder.began = step.began
		if l.update(c, now); (l.current != nil) != step.kept {
			t.Errorf("%s: there is a timer: %t", step.why, l.current != nil)
		}
		if before != nil && before != l.current && before.timer.Stop() {
			t.Errorf("%s: the timer before is running", step.why)
		}
	}
	if l.stop(); l.current != nil {
		t.Error("a timer is left")
	}
}

// replyLate answers after a delay.
func replyLate(p *peer, f receivedFrame, after time.Duration) []byte {
	time.AfterFunc(after, func() { _, _ = p.conn.Write(reply(f)) })
	return nil
}

// A timeout that is only slightly shorter than the interval is still counted
// from the first unanswered ping.
func TestPongTimeoutNearInterval(t *testing.T) {
	const timeout = 59 * time.Second
	inBubble(t, func(b *bubble) {
		var recorders []*recorder
		for range 100 {
			recorders = append(recorders, b.record(b.connect("/"), nil))
		}
		sleep(5 * time.Minute)
		for i, e := range recorders {
			pings := e.frames(9)
			if len(pings) == 0 {
				t.Fatalf("client %d receives no ping", i)
			}
			if waited := e.endedAt().Sub(pings[0].at); waited < timeout || waited > timeout+sweepStep {
				t.Errorf("client %d is disconnected %v after its first ping, want %v", i, waited, timeout)
			}
		}
	}, func(c *relayConfig) { c.hub.PingInterval, c.hub.PongTimeout = time.Minute, timeout })
}

// A client that does not read is evicted when the kernel has accepted no byte
// for it for ten seconds.
func TestWriteTimeout(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.connect("/?channel=a") // never reads
		reader := b.record(b.connect("/?channel=a"), reply)
		sleep(3 * time.Second)
		published := time.Now()
		b.publish("a", "one")
		sleep(9900 * time.Millisecond)
		b.publish("a", "two")
		synctest.Wait()
		if n := b.hub.Sessions(); n != 2 {
			t.Fatalf("after 9.9 s there are %d sessions", n)
		}
		for b.stats.Evictions[stats.EvictAge].Load() == 0 && time.Since(published) < time.Minute {
			sleep(10 * time.Millisecond)
		}
		if waited := time.Since(published); waited < 10*time.Second || waited > 10*time.Second+sweepStep+10*time.Millisecond {
			t.Errorf("the client is evicted after %v", waited)
		}
		sleep(time.Second + time.Millisecond) // an evicted client has a second to read the rest
		synctest.Wait()
		if n := b.hub.Sessions(); n != 1 || !strings.Contains(b.log.String(), "code=4408") {
			t.Errorf("%d sessions, log:\n%s", n, b.log)
		}
		if got := reader.frames(1); len(got) != 2 || b.budget.Used() != 0 {
			t.Errorf("the other client received %+v, and %d bytes are charged", got, b.budget.Used())
		}
	})
}

// A client that reads slowly, but lets no byte wait for 10 s, stays connected.
// An evicted client that reads within a second receives the rest of the current
// frame, and the close frame.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(b *bubble) {
		slow := b.connect("/?channel=a")
		for i := range 20 {
			b.publish("a", fmt.Sprint(i))
			sleep(9 * time.Second)
			slow.want(1, fmt.Sprint(i))
			if i%2 == 1 {
				slow.write(frame(0x8a, ""))
			}
		}
		b.publish("a", strings.Repeat("x", 100_000))
		b.publish("a", "dropped")
		sleep(time.Second)
		begun := make([]byte, 1000)
		if _, err := slow.in.Read(begun[:1]); err != nil {
			t.Fatal(err)
		}
		for b.stats.Evictions[stats.EvictAge].Load() == 0 {
			sleep(10 * time.Millisecond)
		}
		sleep(900 * time.Millisecond)
		if err := slow.in.UnreadByte(); err != nil {
			t.Fatal(err)
		}
		slow.want(1, strings.Repeat("x", 100_000))
		slow.wantClose(protocol.CloseSlow)
	}, func(c *relayConfig) { c.hub.PingInterval = 0 })
}

// The relay does not return a message published without echo to its publisher
// if Redis delivers it within 10 s. If Redis delivers it later, the publisher
// receives it.
func TestEchoSuppressionExpires(t *testing.T) {
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
				b.setLossy(true)
				me := b.record(b.connect("/?channel=a&echo=false"), reply)
				me.write(text("mine"))
				sleep(test.after)
				synctest.Wait()
				b.setLossy(false)
				b.publish("a", "mine")
				b.publish("a", "end")
				var got []string
				for _, f := range me.frames(1) {
					got = append(got, f.payload)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("received %q, want %q", got, test.want)
				}
			})
		})
	}
}

// The burst is 50 commands, and the rate is 20 per second. A client that
// exceeds it receives one error per second.
func TestRateLimit(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect("/", v1Header)
		e := b.record(p, reply)
		ping := func(n int) (pongs, rejected int) {
			before := len(e.frames(1))
			for range n {
				p.write(text(`{"type":"ping"}`))
			}
			for _, f := range e.frames(1)[before:] {
				switch {
				case f.payload == `{"type":"pong"}`:
					pongs++
				case strings.Contains(f.payload, `"rate_limited"`):
					rejected++
				}
			}
			return pongs, rejected
		}
		for _, step := range []struct {
			wait            time.Duration
			send            int
			pongs, rejected int
		}{
			{0, 55, 50, 1},
			{500 * time.Millisecond, 12, 10, 0}, // the last error was half a second ago
			{500 * time.Millisecond, 12, 10, 1},
			{time.Second, 20, 20, 0},
			{10 * time.Second, 52, 50, 1},
			{time.Minute, 50, 50, 0},
		} {
			sleep(step.wait)
			if pongs, rejected := ping(step.send); pongs != step.pongs || rejected != step.rejected {
				t.Errorf("after %v, %d commands return %d pongs and %d errors, want %d and %d",
					step.wait, step.send, pongs, rejected, step.pongs, step.rejected)
			}
		}
	})
}

// After the relay has sent its close frame, the client has a second to send its
// own, or to close the connection. The relay does not wait longer than the
// client needs.
func TestLinger(t *testing.T) {
	both := transport.LingerTime // after both close frames
	if readers.Goroutines() {
		both = 0 // because the pipe cannot be half-closed: see TestConnectionEndsAfterBothCloseFrames
	}
	for _, test := range []struct {
		why    string
		answer func(*peer)
		want   time.Duration
	}{
		{"closes", func(p *peer) { _ = p.conn.Close() }, 0},
		{"closes half a second later", func(p *peer) { time.AfterFunc(time.Second/2, func() { _ = p.conn.Close() }) }, time.Second / 2},
		{"keeps open", func(*peer) {}, transport.LingerTime},
		{"answers and keeps open", func(p *peer) { p.write(reply(receivedFrame{op: 8, payload: "\x03\xf4"})) }, both},
		{"keeps open and sends a message", func(p *peer) { p.write(text("x")) }, transport.LingerTime},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				p := b.connect("/?channel=a&publish=b")
				b.record(p, func(f receivedFrame) []byte {
					if f.op == 8 {
						test.answer(p)
					}
					return nil
				})
				began := time.Now()
				b.hub.Drain(context.Background(), 0, protocol.CloseRestart)
				b.handler.Wait()
				if took := time.Since(began); took.Truncate(100*time.Millisecond) != test.want { // a drain polls every 50 ms
					t.Errorf("the connection ends after %v, want %v", took, test.want)
				}
			})
		})
	}
}
