package ws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

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
		for b.stats.Evictions[stats.EvictAge].Load() == 0 && time.Since(said) < time.Minute {
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
		for b.stats.Evictions[stats.EvictAge].Load() == 0 {
			pass(10 * time.Millisecond)
		}
		pass(900 * time.Millisecond)
		if err := slow.in.UnreadByte(); err != nil {
			t.Fatal(err)
		}
		slow.want(1, strings.Repeat("x", 100_000))
		slow.wantClose(protocol.CloseSlow)
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

// A client that keeps its half open after the relay has closed has a second; one that closes has gone at once.
func TestBubbleLinger(t *testing.T) {
	for _, test := range []struct {
		why    string
		answer func(*peer)
		want   time.Duration
	}{
		{"closes", func(p *peer) { _ = p.conn.Close() }, 0},
		{"closes half a second later", func(p *peer) { time.AfterFunc(time.Second/2, func() { _ = p.conn.Close() }) }, time.Second / 2},
		{"keeps open", func(*peer) {}, lingerTime},
		{"answers and keeps open", func(p *peer) { p.write(pong(sound{op: 8, payload: "\x03\xf4"})) }, lingerTime},
		{"keeps open and goes on talking", func(p *peer) { p.write(text("x")) }, lingerTime},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				p := b.connect("/?channel=a&publish=b")
				b.listen(p, func(s sound) []byte {
					if s.op == 8 {
						test.answer(p)
					}
					return nil
				})
				began := time.Now()
				b.hub.Drain(context.Background(), 0, protocol.CloseRestart)
				b.handler.Wait()
				if took := time.Since(began); took.Truncate(100*time.Millisecond) != test.want { // a drain looks every 50 ms
					t.Errorf("the connection ends after %v, want %v", took, test.want)
				}
			})
		})
	}
}
