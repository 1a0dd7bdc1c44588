package through

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sidecast/relay/protocol"
	"sidecast/relay/source"
)

// checkQuery finds out whether the query of a WebSocket's URL reaches the relay:
// the relay refuses this one. The Pusher protocol does not need it.
func (c *check) checkQuery(ctx context.Context) {
	if c.dialect() == pusher {
		return
	}
	f := source.Finding{Subject: "query of the URL", Text: "reaches the relay"}
	s, _, err := c.handshake(ctx, protocol.SubprotocolRaw, "last=none")
	if err == nil && s != nil {
		defer s.close()
		_, err = s.await()
	}
	refused := protocol.ClosePolicy.Because(protocol.ReasonLast)
	end, ok := errors.AsType[*closed](err)
	switch {
	case s == nil || ok && end.Code != refused.Plain():
		return // a limit, or a restart: the handshake without a query did not fail
	case ok && end.Reason == refused.Reason():
	default:
		f.Level, f.Text = source.LevelFail, "does not reach the relay: pages without a library name their channel there, and /sse its channels"
		f.Do = "let the proxy pass the query:\n" + c.fix(fixQuery)
	}
	c.report(ctx, f)
}

// sizes are those of the messages that checkSizes sends. The relay accepts 16 KiB
// by default, and a little of it is for the rest of the command.
var sizes = []int{1 << 10, 4 << 10, 8 << 10, 15 << 10}

// checkSizes finds out which messages of a page reach the relay. A relay ignores
// fields that it does not know.
func (c *check) checkSizes(ctx context.Context) {
	s, _, err := c.handshake(ctx, c.dialect().subprotocol, "")
	if err != nil || s == nil {
		return // a limit, or a restart: the first handshake did not fail
	}
	defer s.close()
	f := source.Finding{Subject: "messages of pages", Text: fmt.Sprintf("%d KiB reach the relay", sizes[len(sizes)-1]>>10)}
	for _, size := range sizes {
		if err := c.ping(s, size); err != nil {
			f = tooLarge(size, err)
			break
		}
	}
	c.report(ctx, f)
}

// ping sends a ping of about this size, and waits for the answer.
func (c *check) ping(s *socket, size int) error {
	if err := s.send(opText, []byte(c.dialect().padded(size))); err != nil {
		return err
	}
	for {
		text, err := s.await()
		if err != nil || strings.Contains(text, c.dialect().pong) {
			return err
		}
	}
}

// tooLarge explains why a message did not pass.
func tooLarge(size int, err error) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: "messages of pages"}
	if end, ok := errors.AsType[*closed](err); ok && end.Code == protocol.CloseTooBig && end.Reason == protocol.CloseTooBig.Reason() {
		return source.Finding{
			Subject: f.Subject, Text: fmt.Sprintf("of %d KiB are larger than SIDECAST_MAX_INBOUND_BYTES", size>>10),
		}
	}
	f.Text = fmt.Sprintf("of %d KiB do not pass: %s", size>>10, ended(err))
	f.Do = "nginx, HAProxy, Apache and Caddy pass messages of any size: look for a limit in what else is on the way, such as a " +
		"firewall for web applications, a gateway or a CDN"
	return f
}
