package ws

import (
	"context"
	"strings"
	"testing"

	"sidecast/relay/protocol"
)

// A panic while the relay handles what a client sends disconnects this client
// only, and the log says where it was.
func TestPanicWhileReading(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) {
		c.hub.Publish = func(context.Context, string, []byte) (int64, error) { panic("a fault") }
	})
	other := r.dial("/?channel=a")
	p := r.dial("/?channel=a&publish=a")
	p.write(text("x"))
	p.wantClose(protocol.CloseProtocol)
	await(t, "the end of the session", func() bool { return r.hub.Sessions() == 1 })
	if log := r.log.String(); !strings.Contains(log, "a fault") || !strings.Contains(log, "TestPanicWhileReading") {
		t.Errorf("the log does not say where the panic was:\n%s", log)
	}
	r.hub.Publish([]byte("a"), []byte("y"))
	r.hub.Flush()
	other.want(1, "y")
}
