// Package ws is the WebSocket transport. It is the only one that knows the WebSocket library: the library reads frames and
// answers handshakes, while every byte that goes out passes the session's outbox and every frame header that comes in
// passes a guard first.
package ws

import (
	"bufio"
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay"
)

// sendBuffer is the kernel's send buffer of a connection, in bytes. Left alone, Linux hides 4 MB of a slow client's
// backlog there, where no bound of ours sees it.
const sendBuffer = 128 << 10

// Config is what a [Handler] needs.
type Config struct {
	Hub       *relay.Hub
	Budget    *relay.Budget
	Slots     *relay.Slots
	Stats     *relay.Stats
	Logger    *slog.Logger
	Protocols map[string]relay.Protocol // by subprotocol; "" serves clients that offer none

	// Identify finds out who connects, by the request and by the token that came as a subprotocol (nil if none did), or the
	// code with which the client has to be closed. It may wait. Nil: everybody is anybody.
	Identify func(r *http.Request, token *string) (relay.Visitor, relay.CloseCode)

	MaxInbound      int      // bytes of a message that a client sends
	DefaultChannels []string // for a raw client that names none

	// Limited returns the address by which a client is counted, for Addresses; the zero Addr is not counted. Nil with Addresses.
	Limited   func(*http.Request) netip.Addr
	Addresses *relay.Addresses

	// Remote names the client in the log. Nil means the peer's address.
	Remote func(*http.Request) string
}

// A Handler upgrades requests to WebSocket connections and serves them. It judges the handshake; who may connect at all
// (origin, address) is judged before it is called.
type Handler struct {
	cfg       Config
	ctx       context.Context // ends when nobody new is let in any more
	leave     context.CancelFunc
	upgraders map[string]*gws.Upgrader // by subprotocol
	conns     tally
}

// New returns a handler that serves until all clients are gone; see [Handler.Wait].
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, upgraders: make(map[string]*gws.Upgrader)}
	h.ctx, h.leave = context.WithCancel(context.Background())
	for name := range cfg.Protocols {
		option := &gws.ServerOption{
			ReadMaxPayloadSize: cfg.MaxInbound,
			CheckUtf8Enabled:   true,
			NewSession:         func() gws.SessionStorage { return storage{} },
		}
		if name != "" {
			option.SubProtocols = []string{name}
		}
		h.upgraders[name] = gws.NewUpgrader(events{}, option)
	}
	return h
}

// Wait returns when every connection has ended, and everything that wrote to one. Those that still wait to be known are
// not waited for: they are refused.
func (h *Handler) Wait() {
	h.leave()
	h.conns.wait()
	h.cfg.Budget.Wait()
}

// ServeHTTP answers one handshake. What is wrong with the handshake itself is answered in HTTP; what a page has to know is
// said by a close code on an accepted connection, because browsers do not show pages the status of a failed handshake.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	offer, fault := h.judge(r)
	if fault != nil {
		h.cfg.Stats.Rejected[relay.RejectHandshake].Add(1)
		fault.answer(w)
		return
	}
	var address netip.Addr
	if h.cfg.Addresses != nil {
		address = h.cfg.Limited(r)
	}
	if !h.cfg.Addresses.Take(address) {
		h.cfg.Stats.Rejected[relay.RejectAddress].Add(1)
		tooManyHere.answer(w)
		return
	}
	if !h.cfg.Slots.Take() {
		h.cfg.Addresses.Free(address)
		h.cfg.Stats.Rejected[relay.RejectCapacity].Add(1)
		tooMany.answer(w)
		return
	}
	h.conns.add(1)
	client := relay.Client{Transport: relay.TransportWebSocket, Protocol: h.cfg.Protocols[offer.name]}
	wish, code := h.admit(w, r, offer, &client)
	if code != 0 {
		h.cfg.Stats.Rejected[rejections[code]].Add(1)
		h.refuse(w, r, offer.name, code)
		h.release(address)
		return
	}
	if !h.open(w, r, offer.name, client, wish, address) {
		h.release(address)
	}
}

// admit finds out who the client is and what it wants, or the code with which it has to be closed. It may wait for the
// application, a bounded time; meanwhile the connection has its slot.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, offer offer, client *relay.Client) (wish, relay.CloseCode) {
	if code := h.cfg.Hub.Leaving(); code != 0 {
		return wish{}, code
	}
	// The deadline for the request's headers has been met; running out now, it would end the request's context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	if h.cfg.Identify != nil {
		var code relay.CloseCode
		if client.Visitor, code = h.cfg.Identify(r.WithContext(ctx), offer.token); code != 0 {
			return wish{}, cmp.Or(h.cfg.Hub.Leaving(), code)
		}
	}
	wish := h.wishOf(r, client.Protocol, client.Identity)
	if wish.refused != 0 {
		return wish, wish.refused
	}
	client.PublishTo, client.NoEcho, client.GapClose = wish.publishTo, wish.noEcho, wish.gapClose
	return wish, h.cfg.Hub.Admit(ctx, client, wish.channels)
}

// release gives back what a connection holds of the handler.
func (h *Handler) release(address netip.Addr) {
	h.cfg.Addresses.Free(address)
	h.cfg.Slots.Free()
	h.conns.add(-1)
}

// open upgrades and starts to serve, and reports whether it did.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, name string, client relay.Client, wish wish, address netip.Addr) bool {
	netConn, early, err := hijack(w)
	if err != nil {
		return false
	}
	if tcp, ok := transport(netConn).(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
	c := &conn{
		Conn: netConn, handler: h, guard: guard{limit: uint32(h.cfg.MaxInbound)},
		address: address, remote: h.remote(r), origin: r.Header.Get("Origin"), began: time.Now().UnixMilli(),
	}
	if len(early) > 0 {
		c.early = &early
	}
	c.outbox.Init(h.cfg.Budget, newSocket(c), client.Protocol.Close(relay.CloseSlow))
	if name != "" {
		r.Header.Set("Sec-WebSocket-Protocol", name) // the library reads the first line only
	}
	socket, err := h.upgraders[name].UpgradeFromConn(c, bufio.NewReaderSize(c, readBuffer), r)
	if err != nil {
		c.outbox.Shut()
		_ = netConn.Close()
		return false
	}
	client.Outbox = &c.outbox
	c.session = h.cfg.Hub.Join(client)
	c.session.Subscribe(wish.channels)
	if wish.own {
		c.session.SubscribeOwn()
	}
	c.outbox.Release()
	go c.serve(socket)
	return true
}

func (h *Handler) remote(r *http.Request) string {
	if h.cfg.Remote != nil {
		return h.cfg.Remote(r)
	}
	return r.RemoteAddr
}

// transport returns what is under TLS, or the connection itself.
func transport(c net.Conn) net.Conn {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secured.NetConn()
	}
	return c
}

// hijack takes the connection from net/http, with what the client sent behind its request.
func hijack(w http.ResponseWriter) (net.Conn, []byte, error) {
	netConn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = netConn.SetDeadline(time.Time{})
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	return netConn, append([]byte(nil), early...), nil
}
