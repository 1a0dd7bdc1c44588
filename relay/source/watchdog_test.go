package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/stats"
)

// pipeTap returns a tap over an in-memory conn, and the server's end of it. The tap is as if go-redis had subscribed.
func pipeTap(t *testing.T, sink Sink) (*tap, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := testLink(t, sink)
	tap := newTap(ours, l)
	tap.subscribing.Store(tap.now())
	if err := l.adopt(tap); err != nil {
		t.Fatal(err)
	}
	return tap, theirs
}

// verdictOf returns why the tap was cut, or nil.
func verdictOf(tap *tap) *lossError {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return tap.verdict
}

// TestSilence runs the watchdog in a bubble against a server that behaves as each case says.
func TestSilence(t *testing.T) {
	tests := []struct {
		why    string
		serve  func(server net.Conn) // after the confirmations
		cut    bool
		within time.Duration
	}{
		{"a server that answers PINGs", answerPings, false, time.Minute},
		{"a server that answers nothing", discard, true, detectionBound},
		{"a server that does not even read", func(net.Conn) {}, true, detectionBound},
		{"a server that talks without being asked", func(server net.Conn) {
			go discard(server)
			for range 100 {
				time.Sleep(time.Second)
				if _, err := io.WriteString(server, pubsub(2, "pmessage", "*", "c", "m")); err != nil {
					return
				}
			}
		}, false, time.Minute},
		{"a server that sends a message a byte at a time", func(server net.Conn) {
			go discard(server)
			for _, c := range []byte(pubsub(2, "pmessage", "*", "c", "m")) {
				time.Sleep(2 * time.Second)
				if _, err := server.Write([]byte{c}); err != nil {
					return
				}
			}
		}, false, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tap, server := pipeTap(t, new(nobody))
				go func() {
					_, _ = io.WriteString(server, head(2))
					test.serve(server)
				}()
				go readAll(tap)
				began := time.Now()
				for time.Since(began) < test.within && verdictOf(tap) == nil {
					time.Sleep(watchTick)
					tap.watch(tap.now())
				}
				switch verdict := verdictOf(tap); {
				case test.cut && verdict == nil:
					t.Errorf("not found within %v", test.within)
				case !test.cut && verdict != nil:
					t.Errorf("cut after %v: %v", time.Since(began), verdict)
				}
				tap.cut(stats.CauseShutdown, net.ErrClosed)
				server.Close()
				time.Sleep(2 * time.Minute) // lets everybody find out
			})
		})
	}
}

const detectionBound = 10 * time.Second

func readAll(conn net.Conn) {
	p := make([]byte, 512)
	for {
		if _, err := conn.Read(p); err != nil {
			return
		}
	}
}

// beginEpoch begins an epoch on a tap in a bubble, and reads until it ends, which closes done.
func beginEpoch(tap *tap, server net.Conn) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		readAll(tap)
		close(done)
	}()
	_, _ = io.WriteString(server, head(2))
	synctest.Wait()
	return done
}

func discard(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// answerPings answers as RESP2 does.
func answerPings(server net.Conn) {
	r := bufio.NewReader(server)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if nonce := strings.TrimSpace(line); strings.HasPrefix(nonce, noncePrefix) {
			fmt.Fprintf(server, "*2\r\n$4\r\npong\r\n$%d\r\n%s\r\n", len(nonce), nonce)
		}
	}
}

// busySink does not return from the first message for a while.
type busySink struct {
	nobody
	busy time.Duration
}

func (b *busySink) Publish(_, _ []byte) {
	time.Sleep(b.busy)
	b.busy = 0
}

// TestBusySinkIsNotSilence blocks the reader for longer than any silence may last.
func TestBusySinkIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap, server := pipeTap(t, &busySink{busy: time.Minute})
		go func() {
			_, _ = io.WriteString(server, head(2)+pubsub(2, "pmessage", "*", "c", "m"))
			answerPings(server)
		}()
		go readAll(tap)
		for range 240 {
			time.Sleep(watchTick)
			tap.watch(tap.now())
		}
		if verdict := verdictOf(tap); verdict != nil {
			t.Errorf("cut: %v", verdict)
		}
		tap.cut(stats.CauseShutdown, net.ErrClosed)
		server.Close()
	})
}

// TestPausedProcessIsNotSilence lets the watchdog itself stand still, as a suspended machine does.
func TestPausedProcessIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap, server := pipeTap(t, new(nobody))
		go func() {
			_, _ = io.WriteString(server, head(2))
			answerPings(server)
		}()
		go readAll(tap)
		for range 10 {
			time.Sleep(watchTick)
			tap.watch(tap.now())
		}
		tap.heard.Store(tap.heard.Load() - int64(time.Hour)) // as if nothing came in the pause
		tap.waiting.Store(1)
		time.Sleep(time.Hour)
		tap.watch(tap.now())
		if verdict := verdictOf(tap); verdict != nil {
			t.Errorf("cut: %v", verdict)
		}
		tap.cut(stats.CauseShutdown, net.ErrClosed)
		server.Close()
	})
}

// TestUnconfirmedSubscriptions gives up a server that accepts everything and confirms nothing.
func TestUnconfirmedSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap, server := pipeTap(t, new(nobody))
		go discard(server)
		go readAll(tap)
		for range int(detectionBound / watchTick) {
			time.Sleep(watchTick)
			tap.watch(tap.now())
		}
		if verdict := verdictOf(tap); verdict == nil || !errors.Is(verdict, errUnconfirmed) {
			t.Errorf("cut: %v", verdict)
		}
		server.Close()
	})
}

// TestGate checks the bounds of the back-off, and that it starts over.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if g.closed() {
			t.Fatal("closed before the first failure")
		}
		longest := time.Duration(0)
		for i := range 2000 {
			g.fail()
			ceiling := min(maxBackoff, minBackoff<<min(i, 10))
			delay := time.Until(g.opens)
			if delay < 0 || delay >= ceiling {
				t.Fatalf("failure %d: %v, the ceiling is %v", i, delay, ceiling)
			}
			longest = max(longest, delay)
			began := time.Now()
			g.wait(t.Context())
			if g.closed() || time.Since(began) < delay {
				t.Fatal("the gate opened early, or not at all")
			}
		}
		if longest < maxBackoff*9/10 {
			t.Errorf("in 2000 failures the longest back-off was %v: no full jitter", longest)
		}
		g.reset()
		g.fail()
		if delay := time.Until(g.opens); delay >= minBackoff {
			t.Errorf("%v after a reset", delay)
		}
	})
}

// TestOnlyALongEpochResetsTheGate keeps a server that takes us and drops us at once from being dialled without a pause.
func TestOnlyALongEpochResetsTheGate(t *testing.T) {
	for lasted, want := range map[time.Duration]int{time.Second: 7, steadyEpoch + time.Second: 0} {
		l := testLink(t, new(nobody))
		l.gate.failures = 7
		l.online(newTap(new(script), l), false)
		l.began = time.Now().Add(-lasted)
		l.offline(stats.CauseError, io.EOF)
		if got := l.gate.failures; got != want {
			t.Errorf("after an epoch of %v there are %d failures, want %d", lasted, got, want)
		}
	}
}

// TestDialerRefusesWhileTheGateIsClosed keeps go-redis from spinning inside Receive.
func TestDialerRefusesWhileTheGateIsClosed(t *testing.T) {
	l := testLink(t, new(nobody))
	l.gate.opens = time.Now().Add(time.Hour)
	began := time.Now()
	_, err := l.dial(t.Context(), t.Context(), "tcp", "192.0.2.1:1")
	if !errors.Is(err, errGated) || time.Since(began) > time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestPingNeedsAnEpoch keeps a PING from coming between two writes of one command of go-redis's.
func TestPingNeedsAnEpoch(t *testing.T) {
	tap, server := pipeTap(t, new(nobody))
	defer server.Close()
	if _, err := tap.ping(); !errors.Is(err, errNoEpoch) {
		t.Errorf("ping returned %v", err)
	}
}

// TestARefusalAnswersOnePing takes as many refusals as there are PINGs, and no more.
func TestARefusalAnswersOnePing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap, server := pipeTap(t, new(nobody))
		done := beginEpoch(tap, server)
		go discard(server)
		for seq := range uint64(3) {
			if got, err := tap.ping(); got != seq+1 || err != nil {
				t.Fatalf("ping returned %d, %v", got, err)
			}
		}
		for seq := range uint64(3) {
			_, _ = io.WriteString(server, "-NOPERM no\r\n")
			synctest.Wait()
			if got := tap.ponged.Load(); got != seq+1 || !tap.epoch.Load() {
				t.Fatalf("%d refusals answered %d PINGs; the epoch runs: %v", seq+1, got, tap.epoch.Load())
			}
		}
		_, _ = io.WriteString(server, "-NOPERM no\r\n")
		<-done
		if tap.epoch.Load() {
			t.Error("a refusal of nothing is taken for an answer")
		}
	})
}

// TestPongs takes the answers to our PINGs in either form, once and in order, and nothing that only looks like one.
func TestPongs(t *testing.T) {
	nonce := func(seq int) string { return fmt.Sprintf("%s%016x", noncePrefix, seq) }
	for _, form := range []string{"*2\r\n$4\r\npong\r\n$24\r\n%s\r\n", ">2\r\n$4\r\npong\r\n$24\r\n%s\r\n", "$24\r\n%s\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			tap, server := pipeTap(t, new(nobody))
			passed := make(chan string, 100)
			go func() {
				p := make([]byte, 512)
				for {
					n, err := tap.Read(p)
					if err != nil {
						close(passed)
						return
					}
					passed <- string(p[:n])
				}
			}()
			_, _ = io.WriteString(server, head(2))
			synctest.Wait()
			go discard(server)
			for range 2 {
				if _, err := tap.ping(); err != nil {
					t.Fatal(err)
				}
			}
			var wrong strings.Builder
			for len(passed) > 0 {
				<-passed
			}
			for _, n := range []string{
				nonce(3), nonce(0), strings.Repeat("x", 24), strings.Repeat("0", 23) + "1", noncePrefix + "000000000000000g",
			} {
				fmt.Fprintf(server, form, n)
				wrong.WriteString(fmt.Sprintf(form, n))
			}
			synctest.Wait()
			if tap.ponged.Load() != 0 {
				t.Errorf("%q: a foreign PONG was taken", form)
			}
			fmt.Fprintf(server, form, nonce(1))
			fmt.Fprintf(server, form, nonce(2))
			synctest.Wait()
			if tap.ponged.Load() != 2 {
				t.Errorf("%q: PONGs up to %d were taken", form, tap.ponged.Load())
			}
			server.Close()
			var got strings.Builder
			for p := range passed {
				got.WriteString(p)
			}
			if got.String() != wrong.String() {
				t.Errorf("go-redis got %q, want %q", got.String(), wrong.String())
			}
		})
	}
}

// TestHandshakeDeadlines holds until when go-redis's deadlines work.
func TestHandshakeDeadlines(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go discard(theirs)
	tap := newTap(ours, testLink(t, new(nobody)))
	_ = tap.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := tap.Read(make([]byte, 1)); err == nil {
		t.Error("a deadline of the handshake does nothing")
	}
	if _, err := tap.Write([]byte("*2\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = tap.SetReadDeadline(time.Now().Add(-time.Second))
	done := make(chan error, 1)
	go func() {
		_, err := tap.Read(make([]byte, 64))
		done <- err
	}()
	if _, err := io.WriteString(theirs, head(2)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("a deadline, the old or the new one, fired behind the handshake: %v", err)
	}
}
