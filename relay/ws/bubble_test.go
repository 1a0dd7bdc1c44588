package ws

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/relaytest/readers"
)

// A bubble is a relay in a synctest bubble. The hub, the handler, the library,
// the event loops and the clients are real. The connections are in memory, and
// time passes only when all goroutines wait.
type bubble struct {
	*testRelay
	listener *inmemory.Listener
	pipe     func(net.Addr) (client, relay net.Conn)
	began    time.Time
}

// inBubble runs test in a bubble, with a relay that has the default settings,
// changed by options.
func inBubble(t *testing.T, test func(*bubble), options ...relayOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newBubble(t, options)) })
}

func newBubble(t *testing.T, options []relayOption) *bubble {
	reader, pipe := readers.InMemory(t)
	defaults := func(c *relayConfig) { c.hub.Shards, c.ws.Reader = 2, reader }
	b := &bubble{
		testRelay: buildRelay(t, append([]relayOption{defaults}, options...)),
		listener:  inmemory.Listen(), pipe: pipe, began: time.Now(),
	}
	server := &http.Server{Handler: b.handler}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(b.listener) })
	b.run(func() { _ = server.Close(); serving.Wait(); reader.Close() })
	synctest.Wait()
	return b
}

// connect connects and completes a handshake. It reads nothing after the
// response.
func (b *bubble) connect(target string, headers ...string) *peer {
	b.t.Helper()
	client, server := b.pipe(b.listener.Addr())
	b.t.Cleanup(func() { _ = client.Close() })
	b.listener.Connect(server)
	p := &peer{t: b.t, conn: client, in: bufio.NewReader(client)}
	p.shakeHands(target, headers...)
	return p
}

// A recorder reads everything that a client receives, and records when.
type recorder struct {
	*peer
	ended chan struct{}

	mu       sync.Mutex
	received []receivedFrame
	end      time.Time // when the connection ended
}

type receivedFrame struct {
	at      time.Time
	op      byte
	payload string
}

// record reads until the connection ends. answer returns what to send after
// each frame, and may be nil.
func (b *bubble) record(p *peer, answer func(receivedFrame) []byte) *recorder {
	r := &recorder{peer: p, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for {
			op, payload, err := p.read()
			now := time.Now()
			r.mu.Lock()
			if err != nil {
				r.end = now
				r.mu.Unlock()
				return
			}
			f := receivedFrame{now, op, payload}
			r.received = append(r.received, f)
			r.mu.Unlock()
			if answer != nil {
				if frame := answer(f); frame != nil {
					_, _ = p.conn.Write(frame)
				}
			}
		}
	}()
	return r
}

// frames returns the received frames with opcode op, or all if op is 0.
func (r *recorder) frames(op byte) (list []receivedFrame) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.received {
		if op == 0 || f.op == op {
			list = append(list, f)
		}
	}
	return list
}

func (r *recorder) endedAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end
}

// reply answers pings and close frames.
func reply(f receivedFrame) []byte {
	switch f.op {
	case 8:
		return frame(0x88, f.payload)
	case 9:
		return frame(0x8a, f.payload)
	}
	return nil
}

func sleep(d time.Duration) { <-time.After(d) }

// sweepStep is the interval between two sweeps of the relay: it can be late by
// that much.
const sweepStep = time.Second
