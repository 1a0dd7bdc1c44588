package ws

import (
	"strings"
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// When both sides have sent a close frame, the relay closes the connection at
// once, also if it cannot be half-closed, as with TLS (or the pipes of this test
// without event loops): a browser waits for that.
func TestConnectionEndsAfterBothCloseFrames(t *testing.T) {
	t.Run("the client begins", func(t *testing.T) {
		inBubble(t, func(b *bubble) {
			r := b.record(b.connect("/"), nil)
			sleep(6 * time.Second)
			began := time.Now()
			r.write(frame(0x88, "\x03\xe8"))
			<-r.ended
			if took := r.endedAt().Sub(began); took != 0 || len(r.frames(8)) != 1 {
				t.Errorf("the connection ends after %v with %d close frames", took, len(r.frames(8)))
			}
		})
	})
	t.Run("much is queued", func(t *testing.T) {
		inBubble(t, func(b *bubble) {
			p := b.connect("/?channel=a")
			message := strings.Repeat("x", 100_000)
			b.publish("a", message)
			p.write(frame(0x88, "\x03\xe8"))
			sleep(500 * time.Millisecond) // the relay waits for the client to read
			p.want(1, message)
			read := time.Now()
			p.wantClose(protocol.CloseNormal)
			if took := time.Since(read); took != 0 {
				t.Errorf("the connection ends %v after the client has read", took)
			}
		})
	})
}
