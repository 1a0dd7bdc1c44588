// Package ws is the WebSocket transport, and the only package that uses the
// WebSocket library, which answers handshakes and is the client of the tools.
// What clients send is read by a decoder that allocates only for bytes that have
// arrived, and all outgoing bytes pass through the session's outbox.
package ws

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/lxzan/gws"
	"golang.org/x/time/rate"

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
	Hub       *relay.Hub
	Budget    *outbox.Budget
	Slots     *accept.Slots
	Stats     *stats.Stats
	Logger    *slog.Logger
	Refusals  *accept.Refusals             // nil: the handler has its own
	Protocols map[string]protocol.Protocol // by subprotocol; "" is for clients that offer no subprotocol

	// Identify authenticates a client from its request and from the token that
	// it offered as a subprotocol (nil if it offered no token). If it rejects
	// the client, it returns the close code. It may wait. If Identify is nil,
	// all clients are anonymous.
	Identify func(r *http.Request, token *string) (access.Principal, protocol.CloseCode)

	// App is the application whose clients speak the Pusher protocol. AskFor
	// returns how the relay asks it about the channels of the client of a
	// request. Both may be nil.
	App    *access.App
	AskFor func(r *http.Request) func(ctx context.Context, user, channel string) (time.Time, protocol.Code)

	Reader          *transport.Reader // may be nil
	Listened        bool              // connections are from a listener that [transport.Listen] returned
	MaxInbound      int               // maximum size of a client's message, in bytes
	DefaultChannels []string          // for a raw client that names no channel

	// Limited returns the client address that IPLimiter counts; the zero Addr
	// is not counted. It may be nil if IPLimiter is nil.
	Limited   func(*http.Request) netip.Addr
	IPLimiter *accept.IPLimiter

	// Remote returns the client's name in the log. If it is nil, the log has
	// the address of the peer.
	Remote func(*http.Request) string
}

// A Handler upgrades requests to WebSocket connections and serves them. It
// validates the handshake; its caller checks the origin first.
type Handler struct {
	cfg    Config
	ctx    context.Context // ends when the handler stops admitting clients
	stop   context.CancelFunc
	codecs map[string]*codec // by subprotocol
	pusher *codec
	conns  transport.Count

	// mistakes limits log entries about mistakes in URLs to the first 10, and
	// then one in each second, so that clients cannot fill the disk.
	mistakes rate.Sometimes
}

// A codec holds the data that all connections of one subprotocol share.
type codec struct {
	name     string // the subprotocol, or empty
	protocol protocol.Protocol
	upgrader *gws.Upgrader
	slow     []byte // the close frame for an evicted client
}

// New returns a handler. Its caller stops it with [Handler.Wait].
func New(cfg Config) *Handler {
	cfg.Refusals = cmp.Or(cfg.Refusals, accept.NewRefusals(cfg.Stats, cfg.Logger, nil))
	h := &Handler{cfg: cfg, codecs: make(map[string]*codec), mistakes: rate.Sometimes{First: 10, Interval: time.Second}}
	h.ctx, h.stop = context.WithCancel(context.Background())
	for name, proto := range cfg.Protocols {
		h.codecs[name] = newCodec(name, proto)
	}
	h.pusher = newCodec("", protocol.Pusher{})
	return h
}

func newCodec(subprotocol string, p protocol.Protocol) *codec {
	option := &gws.ServerOption{NewSession: func() gws.SessionStorage { return noStorage{} }}
	if subprotocol != "" {
		option.SubProtocols = []string{subprotocol}
	}
	return &codec{
		name: subprotocol, protocol: p, upgrader: gws.NewUpgrader(gws.BuiltinEventHandler{}, option),
		slow: p.Close(protocol.CloseSlow),
	}
}

// Wait stops admitting clients and returns when every connection has ended,
// with every write to it. Clients that are not admitted yet are rejected.
func (h *Handler) Wait() {
	h.stop()
	h.conns.Wait()
	h.cfg.Budget.Wait()
}

// ServeHTTP serves one handshake. An invalid handshake gets an HTTP error.
// Other rejections are reported by a close code on an accepted connection,
// because browsers do not show a page the status of a failed handshake.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(w, r, nil) }

// serve serves a handshake. If fixed is nil, the subprotocol decides which codec
// the client gets.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, fixed *codec) {
	hs := handshakes.Get().(*handshake)
	defer func() {
		*hs = handshake{}
		handshakes.Put(hs)
	}()
	hs.codec = fixed
	if invalid := hs.validate(r, h.codecs); invalid != nil {
		h.reject(w, r, invalid)
		return
	}
	if limit := h.take(r, hs); limit != nil {
		h.reject(w, r, limit)
		return
	}
	h.conns.Add(1)
	served := false // by a goroutine of its own, which releases it
	defer func() {
		if !served {
			h.release(hs.address) // also after a panic
		}
	}()
	hs.client = relay.Client{Transport: protocol.WebSocket, Protocol: hs.codec.protocol}
	if code := h.admit(w, r, hs); code != 0 {
		h.countRejection(r, code)
		acceptAndClose(w, r, hs.codec, hs.delayed(explain(r, code)))
		return
	}
	err := h.upgrade(w, r, hs)
	if served = err == nil; !served {
		h.cfg.Refusals.Add(&notUpgraded, h.remote(r))
	}
}

// reject answers a handshake that fails.
func (h *Handler) reject(w http.ResponseWriter, r *http.Request, response *httpError) {
	switch {
	case response.problem == nil:
		h.cfg.Refusals.Count(stats.RejectHandshake)
	case !accept.FromContext(r.Context()).OverLimit(): // otherwise counted when the connection was accepted
		h.cfg.Refusals.Add(response.problem, h.remote(r))
	}
	response.write(w)
}

// countRejection counts a client that gets a close code after its handshake.
func (h *Handler) countRejection(r *http.Request, code protocol.CloseCode) {
	if problem := problems[code]; problem != nil {
		h.cfg.Refusals.Add(problem, h.remote(r))
		return
	}
	h.cfg.Refusals.Count(rejections[code.Plain()])
}

// take counts the client, or returns the response for a client that exceeds a
// limit.
func (h *Handler) take(r *http.Request, hs *handshake) *httpError {
	conn := accept.FromContext(r.Context())
	if conn.OverLimit() {
		return addressLimit
	}
	hs.address = conn.Counted()
	counted := hs.address.IsValid()
	if !counted && h.cfg.IPLimiter != nil {
		hs.address = h.cfg.Limited(r)
		if !h.cfg.IPLimiter.Take(hs.address) {
			return forwardedLimit
		}
	}
	if conn.Claim(h.cfg.Slots) {
		return nil
	}
	if !counted {
		h.cfg.IPLimiter.Free(hs.address)
	}
	return connectionLimit
}

// admit authenticates the client and authorizes its requests, or returns the
// code to close it with. It may wait for the application, for a limited time,
// while the connection holds its slot.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, hs *handshake) protocol.CloseCode {
	if code := h.cfg.Hub.Leaving(); code != 0 {
		return code
	}
	ctx := transport.NewAdmitContext(r.Context(), h.ctx, w)
	defer ctx.End()
	hs.client.Began = time.Now()
	switch {
	case hs.isPusher():
		var code protocol.CloseCode
		hs.client.Principal, code = h.admitPusher(r)
		return cmp.Or(code, h.cfg.Hub.Leaving())
	case h.cfg.Identify != nil:
		var code protocol.CloseCode
		if hs.client.Principal, code = h.cfg.Identify(r.WithContext(ctx), hs.token); code != 0 {
			return cmp.Or(h.cfg.Hub.Leaving(), code)
		}
	}
	if code := hs.readJoin(r, h.cfg.DefaultChannels); code != 0 {
		return code
	}
	return h.cfg.Hub.Admit(ctx, &hs.client, hs.join.channels)
}

// upgrade upgrades the connection and starts to serve it. It returns an error
// if the connection failed, or if the library refuses the handshake.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, hs *handshake) error {
	netConn, early, err := transport.Hijack(w)
	if err != nil {
		return err
	}
	transport.SetSendBuffer(netConn, h.cfg.Listened)
	c := &conn{
		handler: h, decoder: decoder{guard: guard{limit: uint32(h.cfg.MaxInbound)}},
		address: hs.address, remote: h.remote(r), origin: r.Header.Get("Origin"), began: time.Now().UnixMilli(),
	}
	c.Init(h.cfg.Reader, netConn, h.cfg.Budget, hs.codec.slow)
	hs.canonicalize(r.Header)
	if _, err := hs.codec.upgrader.UpgradeFromConn(handshakeConn{outbox: &c.Outbox}, nil, r); err != nil {
		c.Shut()
		return err
	}
	h.logMistake(r, hs.codec.protocol.ID())
	hs.client.Outbox = &c.Outbox
	c.session = h.cfg.Hub.Join(hs.client)
	c.session.Subscribe(hs.requests(h.cfg.Hub))
	if hs.join.own {
		c.session.SubscribeOwn()
	}
	c.Outbox.Release()
	transport.Serve(c, early)
	return nil
}

// release returns a connection's slot and its place in the limits.
func (h *Handler) release(address netip.Addr) {
	h.cfg.IPLimiter.Free(address)
	h.cfg.Slots.Free()
	h.conns.Add(-1)
}

func (h *Handler) remote(r *http.Request) string {
	if h.cfg.Remote != nil {
		return h.cfg.Remote(r)
	}
	return r.RemoteAddr
}
