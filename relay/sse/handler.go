// Package sse is the transport for event streams (Server-Sent Events, HTML
// section 9.2), which browsers read with EventSource. A stream is a session like
// any other, with the same outbox, but its client sends nothing after its
// request.
//
// Over HTTP/1.1 the relay takes the connection over from net/http, and ends the
// body by closing the connection, so that all streams share the same frames.
// Over HTTP/2 the session writes through net/http.
package sse

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// Config holds the settings and dependencies of a [Handler].
type Config struct {
	Hub      *relay.Hub
	Access   *access.Rules
	Budget   *outbox.Budget
	Slots    *accept.Slots
	Stats    *stats.Stats
	Logger   *slog.Logger
	Refusals *accept.Refusals // nil: the handler has its own

	// Identify authenticates a client from its request and from the token in
	// its URL (nil if there is no token). If it rejects the client, it returns
	// the close code. It may wait. If Identify is nil, all clients are anonymous.
	Identify func(r *http.Request, token *string) (access.Principal, protocol.CloseCode)

	Reader          *transport.Reader // may be nil
	Listened        bool              // connections are from a listener that [transport.Listen] returned
	MaxChannels     int               // per stream
	DefaultChannels []string          // for a client that names no channel

	// Limited returns the client address that IPLimiter counts; the zero Addr
	// is not counted. It may be nil if IPLimiter is nil.
	Limited   func(*http.Request) netip.Addr
	IPLimiter *accept.IPLimiter

	// Remote returns the client's name in the log. If it is nil, the log has
	// the address of the peer.
	Remote func(*http.Request) string
}

// A Handler serves streams. Its caller checks the origin first.
type Handler struct {
	cfg   Config
	ctx   context.Context // ends when the handler stops admitting clients
	stop  context.CancelFunc
	conns transport.Count
}

// New returns a handler. Its caller stops it with [Handler.Wait].
func New(cfg Config) *Handler {
	cfg.Refusals = cmp.Or(cfg.Refusals, accept.NewRefusals(cfg.Stats, cfg.Logger, nil))
	h := &Handler{cfg: cfg}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Wait stops admitting clients and returns when every stream has ended, with
// every write to it. Clients that are not admitted yet are rejected.
func (h *Handler) Wait() {
	h.stop()
	h.conns.Wait()
	h.cfg.Budget.Wait()
}

// readHeaders are the headers that the relay reads. EventSource sends none of
// them; a page that reads the stream with fetch may.
var readHeaders = []string{"Authorization", "Cache-Control", "Last-Event-ID"}

// ServeHTTP serves one stream, or answers the preflight request of a page that
// sends headers with its request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	transport.AllowOrigin(w, r)
	switch r.Method {
	case http.MethodOptions:
		transport.AnswerPreflight(w, []string{http.MethodGet}, readHeaders)
		return
	case http.MethodGet:
	default:
		h.refuse(w, r, wrongMethod)
		return
	}
	// Over HTTP/2, unread bytes delay the bodies of other requests on the
	// connection for as long as the stream lasts.
	if r.ContentLength != 0 {
		h.refuse(w, r, hasBody)
		return
	}
	s := &stream{handler: h, remote: h.remote(r), origin: r.Header.Get("Origin")}
	if refused := s.read(r); refused != nil {
		h.refuse(w, r, refused)
		return
	}
	if limit := s.place.take(h, r); limit != nil {
		h.refuseLimit(w, r, limit)
		return
	}
	h.conns.Add(1)
	served := false // by a goroutine of its own, which releases it
	defer func() {
		if !served {
			s.release() // also after a panic
		}
	}()
	if refused := h.admit(w, r, s); refused != nil {
		h.refuse(w, r, refused)
		return
	}
	if r.ProtoMajor >= 2 {
		s.serveHTTP2(w, r)
		return
	}
	err := s.serveHTTP1(w, r)
	if served = err == nil; !served {
		h.cfg.Refusals.Count(stats.RejectHandshake) // the client has gone
	}
}

// admit authenticates the client and authorizes its channels, or returns the
// answer to refuse it with. It may wait for the application, for a limited
// time, while the client holds its slot.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, s *stream) *refusal {
	if code := h.cfg.Hub.Leaving(); code != 0 {
		return refuseCode(code)
	}
	ctx := transport.NewAdmitContext(r.Context(), h.ctx, w)
	defer ctx.End()
	s.client.Began = time.Now()
	if h.cfg.Identify != nil {
		var code protocol.CloseCode
		if s.client.Principal, code = h.cfg.Identify(r.WithContext(ctx), s.query.token); code != 0 {
			return refuseCode(cmp.Or(h.cfg.Hub.Leaving(), code))
		}
	}
	if refused := s.chooseChannels(); refused != nil {
		return refused
	}
	s.client.Signatures = s.query.signed
	if code := h.cfg.Hub.Admit(ctx, &s.client, s.channels); code != 0 {
		return refuseCode(code)
	}
	return nil
}

func (h *Handler) remote(r *http.Request) string {
	if h.cfg.Remote != nil {
		return h.cfg.Remote(r)
	}
	return r.RemoteAddr
}
