package transport_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// A hookedKernel calls hooks that inmemory.Kernel does not have.
type hookedKernel struct {
	*inmemory.Kernel
	afterClose func(fd int32)
	beforeWait func() // of each turn
}

// Close implements [transport.Kernel].
func (k *hookedKernel) Close(fd int32, discard bool) {
	k.Kernel.Close(fd, discard)
	if k.afterClose != nil {
		k.afterClose(fd)
	}
}

// NewPoller implements [transport.Kernel].
func (k *hookedKernel) NewPoller() (transport.Poller, error) {
	p, err := k.Kernel.NewPoller()
	return &hookedPoller{p, k}, err
}

type hookedPoller struct {
	transport.Poller
	kernel *hookedKernel
}

// Wait implements [transport.Poller].
func (p *hookedPoller) Wait(events []transport.Event, wait bool) (int, error) {
	if p.kernel.beforeWait != nil {
		p.kernel.beforeWait()
	}
	return p.Poller.Wait(events, wait)
}

// An event of a connection that has been closed reaches no other client, neither
// the next one with its slot in the table nor the next one with its descriptor.
func TestStaleEvents(t *testing.T) {
	for _, test := range []struct {
		name   string
		closed bool // the next client connects as soon as the descriptor is closed, while the slot is still used
	}{
		{"the slot and the descriptor are used again", false},
		{"only the descriptor is used again", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var k *hookedKernel
			var connected atomic.Bool // the next client
			var reads atomic.Int32    // after that
			inBubble(t, 1, func(inner *inmemory.Kernel) transport.Kernel {
				inner.BeforeRead = func(int32) error {
					if connected.Load() {
						reads.Add(1)
					}
					return nil
				}
				k = &hookedKernel{Kernel: inner}
				return k
			}, func(s *setup) {
				busy, done, stale := make(chan struct{}), make(chan struct{}), make(chan struct{})
				var next *receiver
				var nextClient *inmemory.Conn
				connectNext := func() {
					connected.Store(true)
					next, nextClient = s.connect(nil)
				}
				old, oldClient := s.connect(func(r *receiver) { r.onWork = func(string) { <-done; panic("ends") } })
				_, first := s.connect(func(r *receiver) {
					r.onReceive = func(got string) {
						if got == "busy" {
							<-busy
							return
						}
						// The event of the old client is in the list that the
						// loop is handling now.
						close(done)
						<-stale
					}
				})
				if test.closed {
					k.afterClose = func(int32) { k.afterClose = nil; connectNext(); close(stale); sleep(time.Second) }
				} else {
					go func() { <-old.closed; connectNext(); close(stale) }()
				}
				s.send(oldClient, "command\n")
				synctest.Wait()
				s.send(first, "busy")
				synctest.Wait()
				s.send(first, "go")
				s.send(oldClient, "late")
				close(busy)
				<-old.closed
				<-stale
				sleep(time.Minute)
				if n := reads.Load(); n != 0 {
					t.Errorf("the loop reads %d times because of the event", n)
				}
				s.send(nextClient, "own\n")
				s.want(next, "own")
			})
		})
	}
}

// What arrives while a command is running is read after it, whenever its event
// arrives.
func TestEventsWhileLent(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after bool // also one while the loop gets the connection back
	}{
		{"while the command runs", false, false},
		{"before the loop is asked to look again", true, false},
		{"after the loop was asked to look again", false, true},
		{"both", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var late func(text string)
			hook := func(enabled bool, text string) func(int32) error {
				used := false
				return func(int32) error {
					if enabled && !used {
						used = true
						late(text)
						sleep(time.Second) // until the loop has handled the event
					}
					return nil
				}
			}
			inBubble(t, 1, func(k *inmemory.Kernel) transport.Kernel {
				k.BeforeRearm, k.AfterRearm = hook(test.before, "before\n"), hook(test.after, "after\n")
				return k
			}, func(s *setup) {
				release := make(chan struct{})
				r, client := s.connect(func(r *receiver) { r.onWork = func(string) { <-release } })
				late = func(text string) { s.send(client, text) }
				s.send(client, "first\n")
				synctest.Wait()
				s.send(client, "second\n")
				synctest.Wait()
				close(release)
				sleep(time.Minute)
				want := "first second"
				if test.before {
					want += " before"
				}
				if test.after {
					want += " after"
				}
				s.want(r, want)
			})
		})
	}
}

// A client's last bytes are received although they arrive together with the end
// of its connection, also if a command is running.
func TestLastBytes(t *testing.T) {
	big := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
	for _, test := range []struct {
		name string
		end  func(*inmemory.Conn)
	}{
		{"half-closed", func(c *inmemory.Conn) { _ = c.CloseWrite() }},
		{"closed", func(c *inmemory.Conn) { _ = c.Close() }},
		{"reset", func(c *inmemory.Conn) { c.Reset() }},
	} {
		for _, text := range []string{"", "a\n", "a\nb\nrest", "a part", big} {
			inBubble(t, 1, nil, func(s *setup) {
				r, client := s.newReceiver()
				s.send(client, text)
				test.end(client)
				s.serve(r, "")
				s.wantEnd(r, false)
				want := strings.Split(text, "\n")
				if last := len(want) - 1; want[last] == "" {
					want = want[:last]
				} else {
					want[last] = "..." + want[last]
				}
				s.want(r, strings.Join(want, " "))
			})
		}
	}
}

// A command that waits delays no other client of its loop. The client's later
// commands are handled in order after it.
func TestSlowCommand(t *testing.T) {
	inBubble(t, 1, nil, func(s *setup) {
		release := make(chan struct{})
		slow, slowClient := s.connect(func(r *receiver) { r.onWork = func(string) { <-release } })
		fast, fastClient := s.connect(nil)
		s.send(slowClient, "1\n2\n")
		synctest.Wait()
		s.send(slowClient, "3\n4\n")
		s.send(fastClient, "a\nb\n")
		s.want(slow, "")
		s.want(fast, "a b")
		close(release)
		s.want(slow, "1 2 3 4")
	})
}

// A client may send more than the loop reads at once.
func TestManyBytes(t *testing.T) {
	inBubble(t, 1, nil, func(s *setup) {
		long := strings.Repeat("x", 100<<10)
		r, client := s.newReceiver()
		s.send(client, "a\n"+long+"\nb\n"+long)
		s.serve(r, "")
		s.want(r, "a "+long+" b ..."+long)
	})
}

// Bytes that arrive together with the request may contain several commands, and
// a part of one. They are handled before what arrives later.
func TestEarlyBytes(t *testing.T) {
	for _, test := range []struct{ early, later, want string }{
		{"a", "b\n", "ab"},
		{"a\n", "b\n", "a b"},
		{"a\nb\nc", "d\ne\n", "a b cd e"},
		{"a\nend\nb\n", "c\n", "a"},
		{"", "a\n", "a"},
	} {
		inBubble(t, 1, nil, func(s *setup) {
			r, client := s.newReceiver()
			r.onWork = func(string) { sleep(time.Second) }
			s.send(client, test.later)
			s.serve(r, test.early)
			sleep(time.Minute)
			s.want(r, test.want)
		})
	}
}

// After a panic the client is disconnected, and others are not.
func TestPanics(t *testing.T) {
	for _, early := range []bool{false, true} {
		for _, work := range []bool{false, true} {
			inBubble(t, 1, nil, func(s *setup) {
				other, otherClient := s.connect(nil)
				r, client := s.newReceiver()
				if hook := func(string) { panic("a fault") }; work {
					r.onWork = hook
				} else {
					r.onReceive = hook
				}
				if early {
					s.serve(r, "a\n")
				} else {
					s.serve(r, "")
					s.send(client, "a\n")
				}
				s.wantEnd(r, false)
				if len(r.panics) != 1 || r.panics[0] != "a fault" {
					t.Errorf("early %t, work %t: the panics are %v", early, work, r.panics)
				}
				s.send(otherClient, "a\n")
				s.want(other, "a")
			})
		}
	}
}

// Expire ends a connection after its time. A later call replaces an earlier one.
func TestExpire(t *testing.T) {
	closing := func(o *outbox.Outbox) { o.Close([]byte("closed")) } // expires after a second
	evict := func(o *outbox.Outbox) { o.Evict(stats.EvictAge) }     // so does this
	abort := func(o *outbox.Outbox) { o.Abort() }                   // expires at once
	nothing := func(*outbox.Outbox) {}                              // does not expire
	for name, test := range map[string]struct {
		first, then func(*outbox.Outbox)
		busy, ends  time.Duration // a command is running until then
	}{
		"once":                          {closing, nothing, 0, time.Second},
		"later":                         {closing, evict, 0, 1500 * time.Millisecond},
		"earlier":                       {evict, abort, 0, 500 * time.Millisecond},
		"at once":                       {abort, nothing, 0, 0},
		"while a command runs":          {closing, nothing, 3 * time.Second, 3 * time.Second},
		"replaced while it runs":        {closing, evict, 3 * time.Second, 3 * time.Second},
		"after a command":               {closing, nothing, 100 * time.Millisecond, time.Second},
		"replaced after a command":      {closing, evict, 100 * time.Millisecond, 1500 * time.Millisecond},
		"at once, while a command runs": {abort, nothing, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, nil, func(s *setup) {
				r, client := s.connect(func(r *receiver) { r.onWork = func(string) { sleep(test.busy) } })
				go func() { _, _ = io.Copy(io.Discard, client) }()
				began := time.Now()
				if test.busy > 0 {
					s.send(client, "command\n")
					synctest.Wait()
				}
				test.first(&r.Outbox)
				time.AfterFunc(500*time.Millisecond, func() { test.then(&r.Outbox) })
				s.wantEnd(r, true)
				if took := time.Since(began); took != test.ends {
					t.Errorf("the connection ends after %v, want %v", took, test.ends)
				}
				sleep(time.Second)
			})
		})
	}
}

// After the session has ended, the client has a moment to close its half. What
// it sends is ignored.
func TestLingering(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(*setup, *inmemory.Conn)
		ends   time.Duration
	}{
		"never":                 {func(*setup, *inmemory.Conn) {}, transport.LingerTime},
		"sends and keeps open":  {func(s *setup, c *inmemory.Conn) { s.send(c, lines(100)) }, transport.LingerTime},
		"has closed its half":   {nil, 0},
		"closes its half":       {func(_ *setup, c *inmemory.Conn) { _ = c.CloseWrite() }, 0},
		"closes its half later": {func(_ *setup, c *inmemory.Conn) { sleep(time.Second / 2); _ = c.CloseWrite() }, time.Second / 2},
		"sends and closes":      {func(s *setup, c *inmemory.Conn) { s.send(c, lines(10_000)); _ = c.Close() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, nil, func(s *setup) {
				r, client := s.connect(func(r *receiver) { r.onLeave = func() transport.Farewell { return transport.Linger } })
				began := time.Now()
				if s.send(client, "a\n"); test.answer == nil {
					_ = client.CloseWrite()
				} else {
					s.send(client, "end\nb\n")
					synctest.Wait()
					test.answer(s, client)
				}
				s.wantEnd(r, false)
				if took := time.Since(began); took != test.ends {
					t.Errorf("the connection ends after %v, want %v", took, test.ends)
				}
				s.want(r, "a")
			})
		})
	}
}

// A connection can be closed before it is served.
func TestShutBeforeServe(t *testing.T) {
	inBubble(t, 1, nil, func(s *setup) {
		for _, sent := range []bool{false, true} {
			r, client := s.newReceiver()
			if sent {
				r.Outbox.Send([]byte("not read"))
			}
			r.Outbox.Close(nil) // its timer must not touch the next connection
			r.Shut()
			if _, err := client.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is open")
			}
			next, nextClient := s.connect(nil)
			sleep(time.Minute)
			s.send(nextClient, "a\n")
			s.want(next, "a")
		}
	})
}

// A failing read ends the connection.
func TestReadFails(t *testing.T) {
	inBubble(t, 1, func(k *inmemory.Kernel) transport.Kernel {
		k.BeforeRead = func(int32) error { return errors.New("timed out") }
		return k
	}, func(s *setup) {
		r, client := s.connect(nil)
		s.send(client, "a\n")
		s.wantEnd(r, false)
		s.want(r, "")
	})
}

// However many connections end at once, few goroutines end them.
func TestManyEndAtOnce(t *testing.T) {
	inBubble(t, 2, nil, func(s *setup) {
		var running, most atomic.Int32
		var clients []*inmemory.Conn
		for range 1000 {
			_, client := s.connect(func(r *receiver) {
				r.onLeave = func() transport.Farewell {
					n := running.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					sleep(time.Millisecond)
					running.Add(-1)
					return transport.CloseNow
				}
			})
			clients = append(clients, client)
		}
		synctest.Wait()
		for _, c := range clients {
			_ = c.Close()
		}
		for _, r := range s.list {
			<-r.closed
		}
		if n := most.Load(); n > 2*16 {
			t.Errorf("%d sessions are ended at once", n)
		}
	})
}

// Close waits for the goroutines that end connections.
func TestReaderCloseWaits(t *testing.T) {
	inBubble(t, 2, nil, func(s *setup) {
		var running sync.WaitGroup
		for _, text := range []string{"", "a\n"} { // ended by the worker pool, and after a command
			_, client := s.connect(func(r *receiver) {
				r.onLeave = func() transport.Farewell { sleep(time.Second); running.Done(); return transport.CloseNow }
				r.onWork = func(string) { panic("ends") }
			})
			running.Add(1)
			s.send(client, text)
			if text == "" {
				_ = client.Close()
			}
		}
		synctest.Wait()
		began := time.Now()
		s.reader.Close()
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close returns after %v", took)
		}
		running.Wait()
	})
}

// A client that does not read gets everything in order when it reads again, and
// the outbox never keeps a goroutine.
func TestSending(t *testing.T) {
	inBubble(t, 1, nil, func(s *setup) {
		r, client := s.connect(nil)
		var want bytes.Buffer
		for i := range 1000 {
			frame := bytes.Repeat([]byte{byte(i)}, i)
			want.Write(frame)
			r.Outbox.Send(frame)
		}
		synctest.Wait()
		r.Outbox.Close([]byte("the end"))
		want.WriteString("the end")
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%d bytes are received, want %d; %v", len(got), want.Len(), err)
		}
	})
}
