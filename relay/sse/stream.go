package sse

import (
	"log/slog"
	"net/http"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

// A stream is one request for an event stream, and the session that serves
// it.
type stream struct {
	handler *Handler
	query   query
	client  relay.Client
	place   place

	channels []string
	session  *relay.Session

	remote, origin string
	began          time.Time
}

// read reads the request, or returns the mistake in it.
func (s *stream) read(r *http.Request) (mistake *refusal) {
	s.query, mistake = parseQuery(r)
	return mistake
}

// join starts the session, whose frames follow the beginning of the answer, and
// subscribes it.
func (s *stream) join(o *outbox.Outbox, head []byte) {
	s.began = time.Now()
	o.Hold(append(head, retryLine(1000, 4000)...))
	s.client.Transport, s.client.Outbox, s.client.NoPongs = protocol.ServerSentEvents, o, true
	s.session = s.handler.cfg.Hub.Join(s.client)
	s.subscribe()
	// Parts of the URL are forgotten: it may be long, and contain a token.
	s.query, s.channels, s.client = query{}, nil, relay.Client{Protocol: s.client.Protocol}
	o.Release()
}

// slowFrame returns the last block for a client that is evicted.
func (s *stream) slowFrame() []byte { return slowFrames[s.client.Protocol.ID()] }

// slowFrames has the slowFrame of each protocol. All streams share them.
var slowFrames = map[protocol.ID][]byte{
	protocol.SSEID:     protocol.SSE{}.Close(protocol.CloseSlow),
	protocol.SSEJSONID: protocol.SSEJSON{}.Close(protocol.CloseSlow),
}

// release gives back the stream's share of the limits on connections.
func (s *stream) release() {
	s.place.free(s.handler)
	s.handler.conns.Add(-1)
}

func (s *stream) logClosed(o *outbox.Outbox) {
	sent, messages := o.Sent()
	code := s.session.CloseCode()
	attrs := []any{
		"session", s.session, "remote", s.remote, "transport", protocol.ServerSentEvents.String(),
		"protocol", s.client.Protocol.ID().String(), "code", code.Number(),
		"duration", time.Since(s.began).Round(time.Millisecond), "messages", messages, "bytes", sent,
	}
	if code != code.Plain() {
		attrs = append(attrs, "reason", code.Reason())
	}
	if s.origin != "" {
		attrs = append(attrs, "origin", s.origin)
	}
	s.handler.cfg.Logger.Log(s.handler.ctx, slog.LevelInfo, "connection closed", attrs...)
}
