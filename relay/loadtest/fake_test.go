package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A fake is the smallest relay that can be loaded: it hears a real Redis and hands out, rightly or wrongly.
type fake struct {
	url   string
	deed  func(*fakeClient, fakeMessage) // hands out; nil: rightly
	door  func(n int) int                // status for the n-th handshake; nil: always 101
	greet func(*fakeClient)              // follows the 101; nil: nothing

	mu         sync.Mutex
	clients    map[*fakeClient]bool // guarded by mu
	handshakes int                  // guarded by mu
	heard      int                  // guarded by mu: messages on channels of its clients
	enough     func()               // guarded by mu: called after 120 of these; nil: nothing
}

// until returns a context that ends after 120 messages: what a run is to find has happened by then, however slow this
// machine is.
func (f *fake) until(ctx context.Context) context.Context {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enough = cancel
	return ctx
}

type fakeMessage struct{ channel, payload string }

// A fakeClient is one connection. It is used with the fake's mu held.
type fakeClient struct {
	fake    *fake
	conn    net.Conn
	v1      bool
	channel string
	heard   int         // messages, this one included
	held    fakeMessage // kept back
	mute    bool        // the connection is not written to any more
}

// newFake runs one until the test ends.
func newFake(t *testing.T, redisAddr string, deed func(*fakeClient, fakeMessage)) *fake {
	f := &fake{deed: deed, clients: map[*fakeClient]bool{}}
	if f.deed == nil {
		f.deed = func(c *fakeClient, m fakeMessage) { c.send(m) }
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = strings.Replace(server.URL, "http://", "ws://", 1)
	client := redis.NewClient(&redis.Options{Addr: redisAddr, Protocol: 2})
	t.Cleanup(func() { _ = client.Close() })
	pubsub := client.PSubscribe(t.Context(), "*")
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var hearing sync.WaitGroup
	hearing.Go(func() { f.hear(ctx, pubsub) })
	t.Cleanup(func() {
		cancel()
		_ = pubsub.Close()
		hearing.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for c := range f.clients {
			_ = c.conn.Close()
		}
	})
	return f
}

func (f *fake) hear(ctx context.Context, pubsub *redis.PubSub) {
	for {
		m, err := pubsub.ReceiveMessage(ctx)
		if err != nil {
			return
		}
		f.mu.Lock()
		ours := false
		for c := range f.clients {
			ours = ours || c.channel == m.Channel
			if c.channel == m.Channel && !c.mute {
				c.heard++
				f.deed(c, fakeMessage{m.Channel, m.Payload})
			}
		}
		if ours {
			f.heard++
		}
		if f.heard == 120 && f.enough != nil {
			f.enough()
		}
		f.mu.Unlock()
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.handshakes++
	n := f.handshakes
	f.mu.Unlock()
	if f.door != nil {
		if status := f.door(n); status != http.StatusSwitchingProtocols {
			http.Error(w, "no", status)
			return
		}
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	c := &fakeClient{fake: f, conn: conn, v1: r.Header.Get("Sec-WebSocket-Protocol") == "sidecast.v1"}
	if c.v1 {
		answer += "Sec-WebSocket-Protocol: sidecast.v1\r\n"
	}
	f.mu.Lock()
	c.write([]byte(answer + "\r\n"))
	if f.greet != nil {
		f.greet(c)
	}
	if c.v1 {
		c.say(`{"type":"welcome","session":"x","heartbeat":25}`)
	}
	f.join(c, r.URL.Query().Get("channel"))
	f.mu.Unlock()
	c.read(buffered.Reader)
}

// join is called with mu held. A client of sidecast.v1 joins later.
func (f *fake) join(c *fakeClient, channel string) {
	c.channel = channel
	f.clients[c] = true
}

// read reads until the client is gone.
func (c *fakeClient) read(r *bufio.Reader) {
	defer c.conn.Close()
	for {
		var head [6]byte
		if _, err := r.Peek(6); err != nil {
			break
		}
		_, _ = r.Read(head[:])
		body := make([]byte, head[1]&0x7f)
		for i := range body {
			body[i], _ = r.ReadByte()
			body[i] ^= head[2+i%4]
		}
		c.fake.mu.Lock()
		if _, rest, found := strings.Cut(string(body), `"channels":[{"channel":"`); found {
			c.channel, _, _ = strings.Cut(rest, `"`)
			c.say(`{"type":"subscribed","channel":"` + c.channel + `","recovered":false}`)
		}
		c.fake.mu.Unlock()
	}
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	delete(c.fake.clients, c)
}

func (c *fakeClient) write(b []byte) { _, _ = c.conn.Write(b) }

func (c *fakeClient) say(text string) { c.write(relayFrame(opText, text)) }

// send hands a message out as the protocol wants.
func (c *fakeClient) send(m fakeMessage) {
	if c.v1 {
		c.say(fmt.Sprintf(`{"type":"message","channel":%q,"data":%q}`, m.channel, m.payload))
		return
	}
	c.say(m.payload)
}

// close ends the connection with a code, or without a word if that is 0.
func (c *fakeClient) close(code int) {
	if code != 0 {
		c.write(relayFrame(opClose, string([]byte{byte(code >> 8), byte(code)})))
	}
	c.mute = true
	_ = c.conn.Close()
}
