package source

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/stats"
)

// pipeConn returns a pubsubConn over an in-memory connection, as if go-redis
// had subscribed, and the server's end of the connection.
func pipeConn(t *testing.T, sink Sink) (*pubsubConn, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := testLink(t, sink)
	conn := newPubsubConn(ours, l)
	conn.subscribedAt.Store(conn.age())
	if err := l.setConn(conn); err != nil {
		t.Fatal(err)
	}
	return conn, theirs
}

// cutErrOf returns why the connection was cut, or nil.
func cutErrOf(conn *pubsubConn) *lossError {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.cutErr
}

// TestSilenceIsDetected runs the watchdog with a fake clock against servers
// that behave differently.
func TestSilenceIsDetected(t *testing.T) {
	tests := []struct {
		why    string
		sink   Sink
		serve  func(server net.Conn) // after the confirmations
		cut    bool
		within time.Duration
	}{
		{"a server that answers PINGs", new(discardSink), answerPings, false, time.Minute},
		{"a server that answers nothing", new(discardSink), discard, true, detectionBound},
		{"a server that does not even read", new(discardSink), func(net.Conn) {}, true, detectionBound},
		{"a server that sends messages but answers no PING", new(discardSink), func(server net.Conn) {
			go discard(server)
			for range 100 {
				time.Sleep(time.Second)
				if _, err := io.WriteString(server, encodeReply(2, "pmessage", "*", "c", "m")); err != nil {
					return
				}
			}
		}, false, time.Minute},
		{"a sink that is busy for longer than silence may last", &busySink{busy: time.Minute}, func(server net.Conn) {
			_, _ = io.WriteString(server, encodeReply(2, "pmessage", "*", "c", "m"))
			answerPings(server)
		}, false, 2 * time.Minute},
		{"a server that sends a message a byte at a time", new(discardSink), func(server net.Conn) {
			go discard(server)
			for _, c := range []byte(encodeReply(2, "pmessage", "*", "c", "m")) {
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
				conn, server := pipeConn(t, test.sink)
				go func() {
					_, _ = io.WriteString(server, subscribedHead(2))
					test.serve(server)
				}()
				go readAll(conn)
				began := time.Now()
				for time.Since(began) < test.within && cutErrOf(conn) == nil {
					tickWatchdog(conn, 1)
				}
				switch cutErr := cutErrOf(conn); {
				case test.cut && cutErr == nil:
					t.Errorf("not detected within %v", test.within)
				case !test.cut && cutErr != nil:
					t.Errorf("cut after %v: %v", time.Since(began), cutErr)
				}
				conn.cut(stats.CauseShutdown, net.ErrClosed)
				server.Close()
				time.Sleep(2 * time.Minute) // lets all goroutines end
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

// beginEpoch begins an epoch on a connection in a synctest bubble, and reads
// until the connection ends, which closes done.
func beginEpoch(conn *pubsubConn, server net.Conn) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		readAll(conn)
		close(done)
	}()
	_, _ = io.WriteString(server, subscribedHead(2))
	synctest.Wait()
	return done
}

// tickWatchdog lets the watchdog check the connection n times.
func tickWatchdog(conn *pubsubConn, n int) {
	for range n {
		time.Sleep(watchdogInterval)
		conn.watchdog.check(conn, conn.age())
	}
}

func discard(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// answerPings answers in RESP2.
func answerPings(server net.Conn) {
	for p := newPingServer(server); p.answer(); {
	}
}

// busySink blocks for some time in the first message.
type busySink struct {
	discardSink
	busy time.Duration
}

func (b *busySink) Publish(_, _ []byte) {
	time.Sleep(b.busy)
	b.busy = 0
}

// TestPausedProcessIsNotSilence pauses the watchdog itself, as on a suspended
// machine.
func TestPausedProcessIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := pipeConn(t, new(discardSink))
		go func() {
			_, _ = io.WriteString(server, subscribedHead(2))
			answerPings(server)
		}()
		go readAll(conn)
		tickWatchdog(conn, 10)
		conn.lastRead.Store(conn.lastRead.Load() - int64(time.Hour)) // as if nothing arrived during the pause
		conn.waitingSince.Store(1)
		time.Sleep(time.Hour)
		conn.watchdog.check(conn, conn.age())
		if cutErr := cutErrOf(conn); cutErr != nil {
			t.Errorf("cut: %v", cutErr)
		}
		conn.cut(stats.CauseShutdown, net.ErrClosed)
		server.Close()
	})
}

// TestUnconfirmedSubscriptionsEndTheConn uses a server that accepts everything
// and confirms nothing.
func TestUnconfirmedSubscriptionsEndTheConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := pipeConn(t, new(discardSink))
		go discard(server)
		go readAll(conn)
		tickWatchdog(conn, int(detectionBound/watchdogInterval))
		if cutErr := cutErrOf(conn); cutErr == nil || !errors.Is(cutErr, errUnconfirmed) {
			t.Errorf("cut: %v", cutErr)
		}
		server.Close()
	})
}
