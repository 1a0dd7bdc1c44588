package accept

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// MaxExtra is the maximum number of extra connections of a table, and also of
// those that exceed the limits of their address.
const MaxExtra = 24

// patience is how long a connection has done nothing before a new one may take
// its slot. The request of a client on a slow line needs a moment to arrive: in
// a burst, all connections would be closed otherwise before their requests.
const patience = time.Second

// Config configures a [Table].
type Config struct {
	Slots   *Slots
	Limiter *IPLimiter // of addresses; nil: no limits

	// Address returns the address that Limiter counts when a connection from
	// peer is accepted. It returns the zero Addr for a peer that may be a
	// proxy: only the request tells the address of its client. It may be nil
	// if Limiter is nil.
	Address func(peer netip.Addr) netip.Addr

	Refusals *Refusals // may be nil
}

// A Table tracks the connections of one listener and of one http.Server until
// they become clients or close. It is safe for concurrent use.
type Table struct {
	cfg Config

	mu    sync.Mutex
	conns map[net.Conn]*Conn
	// In each list, the connection that changed its state last is at the back.
	waiting list.List // connections with a slot
	extra   list.List // connections without a slot
	limited list.List // connections that exceed the limits of their address; without a slot
	busy    list.List // connections with streams; with a slot for each
	ending  bool      // no further streams
}

// A Conn is a connection that serves plain HTTP. The methods of a nil *Conn
// behave as if there were no table.
type Conn struct {
	table *Table
	net   net.Conn
	list  *list.List
	place *list.Element

	address netip.Addr // counted by the limiter; may be zero
	limited bool       // exceeds the limits of its address; does not change
	secured bool       // its client speaks TLS to a listener that does not
	slot    bool       // has one of the slots
	streams int        // that serve clients; see [Conn.AddStream]
	began   bool       // it has had a stream
	lent    bool       // a stream uses the place of the connection in the limits of its address
	since   time.Time  // when it changed its state

	received bool        // a request, whether valid or not, since served was reset
	idle     bool        // it has been idle; over HTTP/2, it is so before its first request
	served   atomic.Bool // a handler has it
}

// NewTable returns an empty table.
func NewTable(c Config) *Table { return &Table{cfg: c, conns: make(map[net.Conn]*Conn)} }

// Listener returns a listener that adds each connection that l accepts to the
// table. The server that serves it must be passed to [Table.Track].
func (t *Table) Listener(l net.Listener) net.Listener { return &listener{l, t} }

type listener struct {
	net.Listener
	table *Table
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.table.add(conn)
	return conn, nil
}

// Track makes s report the state of its connections to the table.
func (t *Table) Track(s *http.Server) {
	s.Handler = serve(s.Handler)
	s.ConnState = func(c net.Conn, state http.ConnState) { t.changed(withoutTLS(c), state) }
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, contextKey{}, t.find(withoutTLS(c)))
	}
}

type contextKey struct{}

// FromContext returns the connection of a request, or nil if no table tracks
// it.
func FromContext(ctx context.Context) *Conn {
	c, _ := ctx.Value(contextKey{}).(*Conn)
	return c
}

// add adds a connection that was just accepted, and makes room for it.
func (t *Table) add(conn net.Conn) {
	c := &Conn{table: t, net: conn, since: time.Now()}
	address := t.address(conn)
	t.mu.Lock()
	allowed := t.cfg.Limiter.Take(address)
	c.limited = !allowed
	if allowed {
		c.address = address
	}
	closed, why := t.makeRoom(c, allowed)
	c.place = c.list.PushBack(c)
	t.conns[conn] = c
	t.mu.Unlock()
	if !allowed {
		t.cfg.Refusals.Add(&AddressLimit, peerOf(conn))
	}
	if closed != nil {
		t.end(closed, why)
		// The goroutines of the other connections get to read their requests
		// first. Otherwise a burst of new connections would close them all.
		runtime.Gosched()
	}
}

// end closes a connection that was removed from the table. why may be nil.
func (t *Table) end(c *Conn, why *Problem) {
	_ = c.net.Close()
	if why != nil {
		t.cfg.Refusals.Add(why, peerOf(c.net))
	}
}

// makeRoom selects the list for a new connection, and removes a connection that
// its caller must end, if there has to be one.
func (t *Table) makeRoom(c *Conn, allowed bool) (closed *Conn, why *Problem) {
	switch {
	case !allowed:
		c.list = &t.limited
	case t.cfg.Slots.Take():
		c.list, c.slot = &t.waiting, true
		return nil, nil
	default:
		if oldest := t.takeSlot(patience); oldest != nil {
			c.list, c.slot = &t.waiting, true
			return oldest, &idleClosed
		}
		c.list = &t.extra
	}
	if c.list.Len() < MaxExtra {
		return nil, nil
	}
	oldest := idlest(c.list)
	t.remove(oldest)
	if c.list == &t.extra && !oldest.served.Load() {
		why = &ConnectionLimit
	}
	return oldest, why
}

// takeSlot removes the connection that has waited for the longest time, if that
// is at least this long, and passes its slot to the caller.
func (t *Table) takeSlot(atLeast time.Duration) *Conn {
	if t.waiting.Len() == 0 {
		return nil
	}
	oldest := idlest(&t.waiting)
	if time.Since(oldest.since) < atLeast {
		return nil
	}
	oldest.slot = false
	t.remove(oldest)
	return oldest
}

// idlest returns the connection that has done nothing for the longest time. A
// new connection whose request has arrived is not idle: if many clients
// connect, its goroutine may not have run yet.
func idlest(l *list.List) *Conn {
	const limit = 16 // of connections to examine
	for range min(limit, l.Len()) {
		c := l.Front().Value.(*Conn)
		if c.received || !unread(c.net) {
			return c
		}
		l.MoveToBack(c.place)
	}
	return l.Front().Value.(*Conn)
}

// remove removes a connection from the table, and frees its slot and its place in
// the limits of its address.
func (t *Table) remove(c *Conn) {
	t.forget(c)
	t.cfg.Limiter.Free(c.address)
	if c.slot && c.streams == 0 { // a stream frees its slot itself
		t.cfg.Slots.Free()
	}
}

// forget removes a connection from the table.
func (t *Table) forget(c *Conn) {
	c.list.Remove(c.place)
	c.place = nil
	delete(t.conns, c.net)
}

// changed updates the table after a connection changed its state.
func (t *Table) changed(conn net.Conn, state http.ConnState) {
	if why := t.update(conn, state); why != nil {
		t.cfg.Refusals.Add(why, peerOf(conn))
	}
}

// Secured notes that the client of a connection speaks TLS to a listener that does
// not, which is why its request cannot be read.
func (t *Table) Secured(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conns[conn]; c != nil {
		c.secured = true
	}
}

// update returns why a request is rejected without a handler, or nil. Over HTTP/2,
// the beginning of a connection looks like a request.
func (t *Table) update(conn net.Conn, state http.ConnState) *Problem {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[conn]
	if c == nil {
		return nil
	}
	if state == http.StateClosed || state == http.StateHijacked {
		t.remove(c)
		switch {
		case c.secured:
			return &secured
		case c.received && !c.served.Load():
			return &malformed
		}
		return nil
	}
	var rejected *Problem
	switch {
	case state == http.StateActive:
		c.received = true
		c.served.Store(false)
	case state == http.StateIdle && !c.served.Load():
		if c.received && c.idle {
			rejected = &malformed
		}
		c.received = false
	}
	c.idle = c.idle || state == http.StateIdle
	c.since = time.Now()
	c.list.MoveToBack(c.place)
	return rejected
}

// peerOf returns the address of a connection's peer.
func peerOf(conn net.Conn) string {
	text := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(text); err == nil {
		return host
	}
	return text
}

func (t *Table) find(conn net.Conn) *Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns[conn]
}

// address returns the address that the limiter counts for a connection that was
// just accepted.
func (t *Table) address(conn net.Conn) netip.Addr {
	if t.cfg.Limiter == nil {
		return netip.Addr{}
	}
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // a Unix socket
	}
	return t.cfg.Address(peer.Addr().Unmap().WithZone(""))
}

// OverLimit reports whether the connection exceeds the limits of its address.
func (c *Conn) OverLimit() bool { return c != nil && c.limited }

// Counted returns the address that the limiter counted when the connection was
// accepted, or the zero Addr.
func (c *Conn) Counted() netip.Addr {
	if c == nil {
		return netip.Addr{}
	}
	return c.address
}

// Claim passes a slot, and the connection's place in the limits of its address,
// to the caller, who becomes responsible for freeing them. A connection without
// a slot gets that of one whose handshake has not arrived. Claim reports false
// if there is none, or if the table has closed the connection. Without a table,
// it takes a slot from slots.
func (c *Conn) Claim(slots *Slots) bool {
	if c == nil {
		return slots.Take()
	}
	t := c.table
	t.mu.Lock()
	var closed *Conn
	claimed := c.place != nil
	if claimed && !c.slot && !slots.Take() {
		closed = t.takeSlot(0)
		claimed = closed != nil
	}
	if claimed {
		t.forget(c)
	}
	t.mu.Unlock()
	if closed != nil {
		t.end(closed, &idleClosed)
	}
	return claimed
}

// move puts a connection at the end of a list of its table, which is locked.
func (c *Conn) move(to *list.List) {
	if c.list != to {
		c.list.Remove(c.place)
		c.list, c.place = to, to.PushBack(c)
	}
}

// withoutTLS returns the connection below TLS, or c itself.
func withoutTLS(c net.Conn) net.Conn {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secured.NetConn()
	}
	return c
}
