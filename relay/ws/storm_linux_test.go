package ws

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stormConnects is how many clients connect. A quarter of them, and no more than
// 5,000, are connected at once.
var stormConnects = flag.Int("storm", 2000, "how many clients connect in TestStorm")

// TestStorm checks that no client receives a byte of another one while
// thousands connect, publish and leave in every way, so that descriptors are
// used again all the time. At the end nothing is left of them.
func TestStorm(t *testing.T) {
	connects := *stormConnects
	open := min(connects/4, 5000, descriptors(t)/4) // each has two, or three while it connects
	l, err := net.Listen("tcp", "127.0.0.1:0")      // the runtime opens its own descriptors
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	t.Run("clients", func(t *testing.T) { storm(t, newTestRelay(t), connects, open) })
	await(t, "the descriptors to be closed", func() bool { return openFiles(t) <= files })
	await(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func storm(t *testing.T, r *testRelay, connects, open int) {
	numbers := make(chan int)
	handshakes := make(chan struct{}, 256) // more at once would overflow the queue of the listener
	var running sync.WaitGroup
	for range open {
		running.Go(func() {
			for n := range numbers {
				if err := r.stormClient(n, handshakes); err != nil {
					t.Errorf("client %d: %v", n, err)
				}
			}
		})
	}
	for n := range connects {
		numbers <- n
	}
	close(numbers)
	running.Wait()
	await(t, "the sessions to end", func() bool { return r.hub.Sessions() == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, published := range r.published {
		if channel, payload, _ := strings.Cut(published, " "); !strings.HasPrefix(payload, channel+":") {
			t.Errorf("on channel %s the relay has received %.100q", channel, payload)
		}
	}
}

// stormClient connects, publishes on a channel of its own, and leaves in one of
// many ways.
func (r *testRelay) stormClient(n int, handshakes chan struct{}) error {
	name := fmt.Sprint("own-", n)
	handshakes <- struct{}{}
	p, err := r.dialStorm("/?channel=" + name)
	<-handshakes
	if err != nil {
		return err
	}
	defer p.conn.Close()
	random := rand.New(rand.NewPCG(uint64(n), 0))
	messages := make([]string, 1+random.IntN(3))
	for i := range messages {
		messages[i] = fmt.Sprintf("%s:%d%s", name, i, strings.Repeat(".", random.IntN(2)*random.IntN(4000)))
		frame := text(messages[i])
		if cut := random.IntN(3 * len(frame)); cut < len(frame) {
			_, _ = p.conn.Write(frame[:cut])
			frame = frame[cut:]
		}
		if _, err := p.conn.Write(frame); err != nil {
			return err
		}
	}
	if random.IntN(2) == 0 { // otherwise it leaves while the relay sends
		for len(messages) > 0 {
			if messages, err = p.receive(name, messages); err != nil {
				return err
			}
		}
	}
	return p.leave(name, messages, random.IntN(5))
}

// leave leaves in one of five ways. The client may still receive messages.
func (p *peer) leave(name string, messages []string, how int) (err error) {
	conn := p.conn.(*net.TCPConn)
	switch how {
	case 0: // with a close frame
		p.write(frame(0x88, "\x03\xe8"))
		for err == nil {
			messages, err = p.receive(name, messages)
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	case 1: // with a reset
		_ = conn.SetLinger(0)
	case 2: // with half a frame
		p.write(text(name)[:8])
	case 3: // with a half-closed connection
		_ = conn.CloseWrite()
		for err == nil {
			messages, err = p.receive(name, messages)
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return err
		}
		return nil
	}
	return nil // without a word
}

// receive reads a frame, which must be the first of messages, and returns the
// other ones.
func (p *peer) receive(name string, messages []string) ([]string, error) {
	op, payload, err := p.read()
	switch {
	case err != nil:
		return messages, err
	case op == 8 || op == 9:
		return messages, nil
	case op != 1 || len(messages) == 0 || payload != messages[0]:
		return messages, fmt.Errorf("%s receives a frame of type %x with %.100q, want %.100q", name, op, payload, messages)
	}
	return messages[1:], nil
}

func (r *testRelay) dialStorm(target string) (*peer, error) {
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	p := &peer{t: r.t, conn: conn, in: bufio.NewReader(conn)}
	p.write([]byte(handshakeText(target)))
	response, err := http.ReadResponse(p.in, nil)
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the answer is %s", response.Status)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return p, nil
}

// descriptors returns how many descriptors this process may have, which the
// runtime has raised as far as possible.
func descriptors(t *testing.T) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<20))
}

func openFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
