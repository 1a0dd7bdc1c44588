package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// A walker is one client of a random walk, with a model of its connection.
type walker struct {
	*receiver
	name   string
	client *inmemory.Conn

	sent     strings.Builder // by the client
	owed     bytes.Buffer    // sent by the relay
	complete bool            // the client ended the connection, and nothing else did: the relay receives everything
	gone     bool            // the client is closed

	reads   chan struct{} // closed when the client may read
	reading bool
	got     bytes.Buffer // received by the client; owned by its reader until ended is closed
	ended   chan struct{}
}

// A walk does what next says: it returns a number below n.
type walk struct {
	*setup
	next    func(n int) int
	failing bool // some reads fail
	slow    bool // asking for an event again takes a moment, in which it may arrive
	clients []*walker
}

// connect connects a client, which may have sent something before.
func (w *walk) connect() {
	r, client := w.newReceiver()
	c := &walker{
		receiver: r, name: fmt.Sprint("client", len(w.clients)), client: client, complete: !w.failing,
		reads: make(chan struct{}), ended: make(chan struct{}),
	}
	pause := time.Duration(w.next(3)) * time.Millisecond
	r.onWork = func(line string) {
		if line != "" && !strings.HasPrefix(line, c.name+":") {
			w.t.Errorf("%s receives %q", c.name, line)
		}
		sleep(pause)
	}
	farewell, wait := transport.Farewell(w.next(3)), time.Duration(w.next(2))*time.Millisecond
	r.onLeave = func() transport.Farewell { sleep(wait); return farewell }
	w.clients = append(w.clients, c)
	early := ""
	if w.next(3) == 0 {
		early = c.text(w.next(4))
		c.sent.WriteString(early)
	}
	if w.next(3) == 0 {
		w.write(c)
	}
	w.serve(r, early)
	go func() {
		defer close(c.ended)
		<-c.reads
		_, _ = io.Copy(&c.got, client)
	}()
}

// text returns n lines that name the client.
func (c *walker) text(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s:%d\n", c.name, c.sent.Len()+i)
	}
	return b.String()
}

func (w *walk) write(c *walker) {
	if c.gone {
		return
	}
	text := c.text(1 + w.next(5))
	if w.next(8) == 0 {
		text = c.name + ":" + strings.Repeat("x", 20_000) + "\n"
	}
	if cut := w.next(2 * len(text)); cut < len(text) { // the rest follows, so that lines are whole
		_, _ = c.client.Write([]byte(text[:cut]))
		c.sent.WriteString(text[:cut])
		text = text[cut:]
	}
	if _, err := c.client.Write([]byte(text)); err != nil {
		c.complete = false // the relay has closed the connection
	}
	c.sent.WriteString(text)
}

// step does one thing.
func (w *walk) step() {
	if len(w.clients) == 0 || w.next(6) == 0 {
		w.connect()
		return
	}
	c := w.clients[len(w.clients)-1-w.next(min(len(w.clients), 8))]
	switch action := w.next(16); action {
	case 0:
		c.leave(c.client.CloseWrite)
	case 1:
		c.complete = c.complete && c.owed.Len() == 0 // sending may fail before everything is read
		c.leave(c.client.Close)
	case 2:
		c.complete = c.complete && c.owed.Len() == 0
		c.leave(func() error { c.client.Reset(); return nil })
	case 3:
		c.complete = false
		c.Outbox.Close([]byte(c.name + " closed"))
	case 4:
		c.complete = false
		c.Outbox.Evict(stats.EvictAge)
	case 5:
		c.complete = false
		c.Outbox.Abort()
	case 6:
		c.read()
	case 7:
		sleep(time.Duration(w.next(300)) * time.Millisecond)
	case 8:
		synctest.Wait()
	case 9, 10, 11:
		frame := fmt.Appendf(nil, "%s gets %d;%s", c.name, w.next(1000), strings.Repeat(".", w.next(8)*100))
		c.complete = c.complete && !c.gone
		if c.Outbox.Send(frame) {
			c.owed.Write(frame)
		}
	case 12:
		if !c.gone {
			c.complete = false
			c.sent.WriteString("end\n")
			_, _ = c.client.Write([]byte("end\n"))
		}
	default:
		w.write(c)
	}
}

// leave ends the connection from the client's side.
func (c *walker) leave(end func() error) {
	if !c.gone {
		c.gone = true
		_ = end()
	}
}

// read lets the client read.
func (c *walker) read() {
	if !c.reading {
		c.reading = true
		close(c.reads)
	}
}

// check ends all clients, and compares them with the model.
func (w *walk) check() {
	for _, c := range w.clients {
		c.read()
		c.leave(c.client.CloseWrite)
	}
	sleep(time.Minute)
	for _, c := range w.clients {
		select {
		case <-c.closed:
		default:
			w.t.Errorf("%s is not closed", c.name)
			continue
		}
		<-c.ended
		c.check(w.t)
	}
}

func (c *walker) check(t *testing.T) {
	sent := strings.TrimSuffix(c.sent.String(), "\n")
	got := strings.ReplaceAll(strings.Join(c.received(), "\n"), "...", "")
	if c.complete && got != sent || !strings.HasPrefix(sent, got) {
		t.Errorf("%s sends %d bytes, %.200q, and the relay receives %d bytes, %.200q", c.name, len(sent), sent, len(got), got)
	}
	if !c.receivedOwn() {
		t.Errorf("%s receives %.200q, and the relay sends %.200q", c.name, c.got.String(), c.owed.String())
	}
}

// receivedOwn reports whether the client has received the beginning of what was
// sent to it, and the beginning of a last frame.
func (c *walker) receivedOwn() bool {
	got, owed := c.got.String(), c.owed.String()
	for _, last := range []string{"slow", c.name + " closed"} {
		for n := range len(last) + 1 {
			if rest, ok := strings.CutSuffix(got, last[:n]); ok && strings.HasPrefix(owed, rest) {
				return true
			}
		}
	}
	return false
}

// walkLoop runs a random walk with the event loops. Each client's bytes must be
// received by its receiver, in order and once, and each connection must end
// once.
func walkLoop(t *testing.T, next func(n int) int, steps func() bool) {
	w := &walk{next: next, failing: next(4) == 0, slow: next(2) == 0}
	inBubble(t, 2, func(k *inmemory.Kernel) transport.Kernel {
		var reads atomic.Int32
		if w.failing {
			k.BeforeRead = func(int32) error {
				if reads.Add(1)%50 == 0 {
					return errors.New("timed out")
				}
				return nil
			}
		}
		if w.slow {
			var calls atomic.Int32
			k.BeforeRearm = func(int32) error { sleep(time.Millisecond); return nil }
			k.AfterRearm = func(int32) error {
				if calls.Add(1)%2 == 0 { // otherwise the loop would be faster forever
					sleep(time.Millisecond)
				}
				return nil
			}
		}
		return k
	}, func(s *setup) {
		w.setup = s
		for steps() {
			w.step()
		}
		w.check()
	})
}

func TestRandomWalk(t *testing.T) {
	walks := 150
	if testing.Short() {
		walks = 30
	}
	for range walks {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			source := rand.New(rand.NewPCG(seed, 0))
			left := 300
			walkLoop(t, source.IntN, func() bool { left--; return left >= 0 })
		})
	}
}

// The fuzzer chooses the steps of the walk.
func FuzzRandomWalk(f *testing.F) {
	for seed := range byte(5) {
		b := make([]byte, 500)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		walkLoop(t, func(n int) (chosen int) {
			limit := n
			for ; n > 0 && len(b) > 0; n >>= 8 {
				chosen, b = chosen<<8|int(b[0]), b[1:]
			}
			return chosen % max(limit, 1)
		}, func() bool { return len(b) > 0 })
	})
}
