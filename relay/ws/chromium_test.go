package ws

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/browser"
	"sidecast/relay/transport"
)

// Chromium splits large messages. The relay allows twice as many frames as it
// sends, whatever the limit on the size of a message.
func TestChromiumSendsFewerFragments(t *testing.T) {
	received := make(chan int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsUpgrade(r) {
			countFrames(t, w, r, received)
		}
	}))
	t.Cleanup(server.Close)
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(server.URL))
	browser.Eval[any](ctx, t, fmt.Sprintf("window.socket = new WebSocket('ws://%s/'); null", server.Listener.Addr()))
	browser.Await(ctx, t, "socket.readyState === WebSocket.OPEN")
	for _, size := range []int{16 << 10, 100_000, 128 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20} {
		for _, message := range []string{"'x'.repeat(%d)", "new Uint8Array(%d)", "new Blob([new Uint8Array(%d)])"} {
			browser.Eval[any](ctx, t, fmt.Sprintf("socket.send("+message+"); null", size))
			frames := <-received
			if most := int((&guard{limit: uint32(size)}).maxFragments()); 2*frames > most {
				t.Errorf("%d bytes are sent in %d frames; the relay allows %d", size, frames, most)
			}
		}
	}
}

// countFrames answers a handshake, and sends the number of frames of each
// message to received.
func countFrames(t *testing.T, w http.ResponseWriter, r *http.Request, received chan int) {
	conn, _, err := transport.Hijack(w)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = conn.Write(switchingProtocols(r.Header.Get(headerKey), ""))
	c := &frameCounter{received: received}
	c.decoder.limit = 64 << 20
	buffer := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil || decodeBytes(&c.decoder, buffer[:n], time.Now(), c) != 0 {
			return
		}
	}
}

// A frameCounter counts the frames of each message.
type frameCounter struct {
	decoder  decoder
	received chan int
}

func (c *frameCounter) add([]byte, bool)    { c.received <- int(c.decoder.fragments) }
func (c *frameCounter) receivePing([]byte)  {}
func (c *frameCounter) receiveClose(uint16) {}
