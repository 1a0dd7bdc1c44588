// Package ws is the WebSocket transport. It is the only one that knows the WebSocket library: the library reads frames and
// answers handshakes, while every byte that goes out passes the session's outbox and every frame header that comes in
// passes a guard first.
package ws

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// sendBuffer is the kernel's send buffer of a connection, in bytes. Left alone, Linux hides 4 MB of a slow client's
// backlog there, where no bound of ours sees it.
const sendBuffer = 128 << 10

// Config is what a [Handler] needs.
type Config struct {
	Hub       *relay.Hub
	Budget    *outbox.Budget
	Slots     *relay.Slots
	Stats     *stats.Stats
	Logger    *slog.Logger
	Protocols map[string]protocol.Protocol // by subprotocol; "" serves clients that offer none

	// Identify finds out who connects, by the request and by the token that came as a subprotocol (nil if none did), or the
	// code with which the client has to be closed. It may wait. Nil: everybody is anybody.
	Identify func(r *http.Request, token *string) (access.Principal, protocol.CloseCode)

	Listened        bool     // connections come from a listener that [Listen] made
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
	cfg     Config
	ctx     context.Context // ends when nobody new is let in any more
	leave   context.CancelFunc
	tongues map[string]*tongue // by subprotocol
	conns   tally
}

// A tongue is what all connections of one subprotocol share.
type tongue struct {
	name     string // the subprotocol, or empty
	protocol protocol.Protocol
	upgrader *gws.Upgrader
	slow     []byte // the close frame of a client that is evicted
}

// New returns a handler that serves until all clients are gone; see [Handler.Wait].
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, tongues: make(map[string]*tongue)}
	h.ctx, h.leave = context.WithCancel(context.Background())
	for name, proto := range cfg.Protocols {
		option := &gws.ServerOption{
			ReadMaxPayloadSize: cfg.MaxInbound,
			CheckUtf8Enabled:   true,
			NewSession:         func() gws.SessionStorage { return storage{} },
		}
		if name != "" {
			option.SubProtocols = []string{name}
		}
		h.tongues[name] = &tongue{
			name: name, protocol: proto, upgrader: gws.NewUpgrader(events{}, option), slow: proto.Close(protocol.CloseSlow),
		}
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

// A handshake is one request on its way to becoming a connection. It is used again for others: nothing of it outlives the
// connection's beginning, and as a local variable it would make every request's goroutine grow its stack.
type handshake struct {
	tongue  *tongue
	token   *string // the credential that was offered beside the subprotocols, or nil
	address netip.Addr
	client  relay.Client
	wish    wish
}

var handshakes = sync.Pool{New: func() any { return new(handshake) }}

// ServeHTTP answers one handshake. What is wrong with the handshake itself is answered in HTTP; what a page has to know is
// said by a close code on an accepted connection, because browsers do not show pages the status of a failed handshake.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hs := handshakes.Get().(*handshake)
	defer func() {
		*hs = handshake{}
		handshakes.Put(hs)
	}()
	if fault := h.judge(r, hs); fault != nil {
		h.cfg.Stats.Rejected[stats.RejectHandshake].Add(1)
		fault.answer(w)
		return
	}
	if h.cfg.Addresses != nil {
		hs.address = h.cfg.Limited(r)
	}
	if !h.cfg.Addresses.Take(hs.address) {
		h.cfg.Stats.Rejected[stats.RejectAddress].Add(1)
		tooManyHere.answer(w)
		return
	}
	if !h.cfg.Slots.Take() {
		h.cfg.Addresses.Free(hs.address)
		h.cfg.Stats.Rejected[stats.RejectCapacity].Add(1)
		tooMany.answer(w)
		return
	}
	h.conns.add(1)
	hs.client = relay.Client{Transport: protocol.WebSocket, Protocol: hs.tongue.protocol}
	if code := h.admit(w, r, hs); code != 0 {
		h.cfg.Stats.Rejected[rejections[code]].Add(1)
		h.refuse(w, r, hs.tongue.name, code)
		h.release(hs.address)
		return
	}
	if !h.open(w, r, hs) {
		h.release(hs.address)
	}
}

// admit finds out who the client is and what it wants, or the code with which it has to be closed. It may wait for the
// application, a bounded time; meanwhile the connection has its slot.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, hs *handshake) protocol.CloseCode {
	if code := h.cfg.Hub.Leaving(); code != 0 {
		return code
	}
	ctx := &waiting{Context: r.Context(), leave: h.ctx, response: w}
	defer ctx.end()
	if h.cfg.Identify != nil {
		var code protocol.CloseCode
		if hs.client.Principal, code = h.cfg.Identify(r.WithContext(ctx), hs.token); code != 0 {
			return cmp.Or(h.cfg.Hub.Leaving(), code)
		}
	}
	if code := h.wishOf(r, hs); code != 0 {
		return code
	}
	return h.cfg.Hub.Admit(ctx, &hs.client, hs.wish.channels)
}

// release gives back what a connection holds of the handler.
func (h *Handler) release(address netip.Addr) {
	h.cfg.Addresses.Free(address)
	h.cfg.Slots.Free()
	h.conns.add(-1)
}

// open upgrades and starts to serve, and reports whether it did.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, hs *handshake) bool {
	netConn, early, err := hijack(w)
	if err != nil {
		return false
	}
	if tcp, ok := transport(netConn).(*net.TCPConn); ok && (!h.cfg.Listened || sizeBuffers == nil) {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
	c := &conn{
		Conn: netConn, handler: h, guard: guard{limit: uint32(h.cfg.MaxInbound)}, early: early,
		address: hs.address, remote: h.remote(r), origin: r.Header.Get("Origin"), began: time.Now().UnixMilli(),
	}
	c.outbox.Init(h.cfg.Budget, newSocket(c), hs.tongue.slow)
	if hs.tongue.name != "" {
		r.Header.Set(headerProtocol, hs.tongue.name) // the library reads the first line only
	}
	socket, err := hs.tongue.upgrader.UpgradeFromConn(c, bufio.NewReaderSize(c, readBuffer), r)
	if err != nil {
		c.outbox.Shut()
		_ = netConn.Close()
		return false
	}
	hs.client.Outbox = &c.outbox
	c.session = h.cfg.Hub.Join(hs.client)
	c.session.Subscribe(hs.wish.channels)
	if hs.wish.own {
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

// hijack takes the connection from net/http, which lifts its deadlines, with what the client sent behind its request; nil
// for nothing.
func hijack(w http.ResponseWriter) (net.Conn, *[]byte, error) {
	netConn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil || buffered.Reader.Buffered() == 0 {
		return netConn, nil, err
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	early = bytes.Clone(early)
	return netConn, &early, nil
}
