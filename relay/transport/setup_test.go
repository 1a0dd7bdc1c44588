package transport_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// A setup is a reader with connections in memory, in a synctest bubble.
type setup struct {
	t      *testing.T
	kernel *inmemory.Kernel
	reader *transport.Reader
	budget *outbox.Budget
	list   []*receiver
}

// inBubble runs test with loops event loops. change may be nil. At the end every
// connection must have ended, once, with nothing left.
func inBubble(t *testing.T, loops int, change func(*inmemory.Kernel) transport.Kernel, test func(*setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &setup{t: t, kernel: new(inmemory.Kernel), budget: outbox.NewBudget(1<<20, 1<<30, time.Hour, new(stats.Stats))}
		var kernel transport.Kernel = s.kernel
		if change != nil {
			kernel = change(s.kernel)
		}
		var err error
		if s.reader, err = transport.NewReader(kernel, loops); err != nil {
			t.Fatal(err)
		}
		test(s)
		s.end()
	})
}

// end disconnects all clients, and checks that nothing is left.
func (s *setup) end() {
	for _, r := range s.list {
		r.Outbox.Abort()
	}
	for _, r := range s.list {
		<-r.closed
	}
	s.reader.Close()
	s.budget.Wait()
	for i, r := range s.list {
		if leaves, closes := r.left(); leaves != 1 || closes != 1 {
			s.t.Errorf("client %d: Leave is called %d times, Closed %d times", i, leaves, closes)
		}
	}
	if n, misuse := s.kernel.Open(); n != 0 || misuse != nil || s.budget.Used() != 0 {
		s.t.Errorf("at the end %d descriptors are open, %d bytes are charged, and closed descriptors were used: %q", n, s.budget.Used(), misuse)
	}
}

// A receiver handles lines, each of which is a command, and records them.
type receiver struct {
	transport.Conn
	onReceive, onWork func(string)              // may be nil, and panic
	onLeave           func() transport.Farewell // may be nil: CloseNow
	closed            chan struct{}

	line []byte // only the methods of [transport.Receiver] use it

	mu               sync.Mutex // guards the fields below
	lines            []string   // commands
	panics           []any
	expired          bool
	leaves, closings int
}

// newReceiver returns a receiver with the relay's end of a connection.
func (s *setup) newReceiver() (*receiver, *inmemory.Conn) {
	client, relay := s.kernel.Pipe(&net.UnixAddr{})
	r := &receiver{closed: make(chan struct{})}
	r.Init(s.reader, relay, s.budget, []byte("slow"))
	return r, client
}

// serve serves a receiver until the end of the test.
func (s *setup) serve(r *receiver, early string) {
	s.list = append(s.list, r)
	if early == "" {
		transport.Serve(r, nil)
		return
	}
	b := []byte(early)
	transport.Serve(r, &b)
}

// connect connects a client. change may be nil.
func (s *setup) connect(change func(*receiver)) (*receiver, *inmemory.Conn) {
	r, client := s.newReceiver()
	if change != nil {
		change(r)
	}
	s.serve(r, "")
	return r, client
}

// send sends as a client does.
func (s *setup) send(client *inmemory.Conn, text string) {
	if _, err := client.Write([]byte(text)); err != nil {
		s.t.Errorf("sending %.20q: %v", text, err)
	}
}

// Receive implements [transport.Receiver]. The line "end" ends the connection.
func (r *receiver) Receive(b []byte) (int, transport.Next) {
	if r.onReceive != nil {
		r.onReceive(string(b))
	}
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		r.line = append(r.line, b...)
		return len(b), transport.More
	}
	if r.line = append(r.line, b[:n]...); string(r.line) == "end" {
		r.line = nil
		return n + 1, transport.End
	}
	return n + 1, transport.Work
}

// Work implements [transport.Receiver].
func (r *receiver) Work() {
	line := string(r.line)
	r.line = nil
	if r.onWork != nil {
		r.onWork(line)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// Incomplete implements [transport.Receiver].
func (r *receiver) Incomplete() bool { return len(r.line) > 0 }

// Panicked implements [transport.Receiver].
func (r *receiver) Panicked(value any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.panics = append(r.panics, value)
}

// Leave implements [transport.Receiver].
func (r *receiver) Leave(expired bool) transport.Farewell {
	farewell := transport.CloseNow
	if r.onLeave != nil {
		farewell = r.onLeave()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaves++
	r.expired = expired
	return farewell
}

// Closed implements [transport.Receiver].
func (r *receiver) Closed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closings++; r.closings == 1 {
		close(r.closed)
	}
}

func (r *receiver) left() (leaves, closings int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaves, r.closings
}

// received returns the commands, and the rest of what was received.
func (r *receiver) received() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.lines)
	if len(r.line) > 0 {
		list = append(list, "..."+string(r.line))
	}
	return list
}

// want compares the commands, separated by spaces, that were received.
func (s *setup) want(r *receiver, commands string) {
	s.t.Helper()
	if got := strings.Join(r.received(), " "); got != commands {
		s.t.Errorf("the relay has received %q, want %q", got, commands)
	}
}

// wantEnd waits until the connection has ended, and checks how.
func (s *setup) wantEnd(r *receiver, expired bool) {
	s.t.Helper()
	<-r.closed
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expired != expired {
		s.t.Errorf("Leave is called with expired = %t", r.expired)
	}
}

// sleep lets time pass in a bubble. It does not receive from a timer that is due
// already: with the race detector, a bubble has one context for all its timers,
// and two goroutines that do so at once crash the runtime.
func sleep(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// lines returns n lines.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}
