// Package faultproxy is a TCP proxy on 127.0.0.1 that breaks connections on
// command, for tests of a relay with network failures. A fault applies to all
// open connections and to new ones, until the test removes it.
package faultproxy

import (
	"bytes"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Direction is one of the two directions of a connection.
type Direction int

// The directions.
const (
	ToServer Direction = iota // from the client to the server
	ToClient                  // from the server to the client
)

// Both are the two directions, for faults of a whole connection.
var Both = []Direction{ToServer, ToClient}

// Proxy forwards connections to one address. Its methods may be called
// concurrently.
type Proxy struct {
	// Addr is the host:port on which the proxy listens.
	Addr string

	listener net.Listener
	work     sync.WaitGroup // the accept loop, and two readers and two writers per connection

	mu      sync.Mutex
	target  string
	closed  bool
	refuse  bool
	pairs   map[*pair]struct{}
	opened  int
	lanes   [2]lane
	changed chan struct{}           // closed and replaced whenever a field above changes
	traces  map[string][]tracePoint // by client; nil if Trace was not called
}

// lane is the state of one direction.
type lane struct {
	held     bool // nothing is forwarded
	resetIn  int  // bytes until a reset; negative means never
	delay    time.Duration
	jitter   time.Duration
	record   bool
	recorded bytes.Buffer
}

// pair is a client's connection and the connection to the server that the proxy
// opened for it.
type pair struct {
	client, server *net.TCPConn
	closed         chan struct{} // closed after both connections
	end            sync.Once
}

// Start runs a proxy to target, a host:port, until the test ends.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting the fault proxy: %v", err)
	}
	p := &Proxy{
		Addr: listener.Addr().String(), target: target, listener: listener,
		pairs: make(map[*pair]struct{}), changed: make(chan struct{}),
	}
	for i := range p.lanes {
		p.lanes[i].resetIn = -1
	}
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Hold stops forwarding in the directions, like a black hole: connections stay
// open, new ones are accepted, and the proxy keeps the bytes that it receives
// until Release.
func (p *Proxy) Hold(directions ...Direction) { p.hold(true, directions) }

// Release forwards again, starting with the bytes that Hold kept.
func (p *Proxy) Release(directions ...Direction) { p.hold(false, directions) }

func (p *Proxy) hold(held bool, directions []Direction) {
	p.update(func() {
		for _, d := range directions {
			p.lanes[d].held = held
		}
	})
}

// Delay makes all bytes that the proxy receives from now on wait for d plus a
// random time of up to jitter, without changing their order. 0 and 0 remove the
// delay.
func (p *Proxy) Delay(direction Direction, d, jitter time.Duration) {
	p.update(func() { p.lanes[direction].delay, p.lanes[direction].jitter = d, jitter })
}

// Retarget makes new connections go to another server.
func (p *Proxy) Retarget(target string) { p.update(func() { p.target = target }) }

// ResetAfter resets the connection that forwards the nth byte from now on in
// the direction, counted over all connections. It happens once.
func (p *Proxy) ResetAfter(d Direction, n int) { p.update(func() { p.lanes[d].resetIn = n }) }

// Refuse makes the proxy close new connections immediately, or accept them
// again.
func (p *Proxy) Refuse(refuse bool) { p.update(func() { p.refuse = refuse }) }

// Cut closes all connections with a FIN, as a server that stops does.
func (p *Proxy) Cut() {
	for _, pair := range p.current() {
		pair.close()
	}
}

// Reset closes all connections with a RST.
func (p *Proxy) Reset() {
	for _, pair := range p.current() {
		pair.reset()
	}
}

// Opened returns how many connections the proxy has forwarded so far.
func (p *Proxy) Opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

// Open returns how many connections are open now.
func (p *Proxy) Open() int { return len(p.current()) }

// Record keeps a copy of the bytes that are forwarded in a direction from now
// on.
func (p *Proxy) Record(d Direction) { p.update(func() { p.lanes[d].record = true }) }

// Recorded returns the bytes that were forwarded in a direction since Record.
func (p *Proxy) Recorded(d Direction) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lanes[d].recorded.Bytes())
}

func (p *Proxy) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) current() []*pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*pair, 0, len(p.pairs))
	for pair := range p.pairs {
		list = append(list, pair)
	}
	return list
}

// close closes everything and waits until all goroutines have returned.
func (p *Proxy) close() {
	_ = p.listener.Close()
	p.update(func() { p.closed = true })
	p.Reset()
	p.work.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.forward(conn.(*net.TCPConn)) })
	}
}

// forward connects a client to the target and forwards in both directions until
// both have ended.
func (p *Proxy) forward(client *net.TCPConn) {
	defer client.Close()
	p.mu.Lock()
	refuse, target := p.refuse || p.closed, p.target
	p.mu.Unlock()
	if refuse {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	pair := &pair{client: client, server: server.(*net.TCPConn), closed: make(chan struct{})}
	if !p.add(pair) {
		return
	}
	defer p.remove(pair)
	var pumps sync.WaitGroup
	for _, d := range Both {
		q := newQueue()
		pumps.Go(func() { p.read(pair, d, q) })
		pumps.Go(func() { p.write(pair, d, q) })
	}
	pumps.Wait()
}

func (p *Proxy) add(pair *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	delete(p.traces, pair.client.RemoteAddr().String()) // of an earlier client with the same port
	p.pairs[pair] = struct{}{}
	p.opened++
	return true
}

func (p *Proxy) remove(pair *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, pair)
}

// read reads one direction of a pair into its queue. It is separate from write
// so that the proxy knows when the bytes arrived.
func (p *Proxy) read(pair *pair, d Direction, q *queue) {
	from, _ := pair.ends(d)
	defer q.end()
	var last time.Time
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			now := time.Now()
			due := now.Add(p.lanes[d].delay)
			if jitter := p.lanes[d].jitter; jitter > 0 {
				due = due.Add(rand.N(jitter))
			}
			p.trace(pair, d, n, now)
			p.mu.Unlock()
			if due.Before(last) {
				due = last
			}
			last = due
			if !q.put(chunk{buf[:n:n], due}) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write forwards one direction of a pair from its queue.
func (p *Proxy) write(pair *pair, d Direction, q *queue) {
	from, to := pair.ends(d)
	defer q.stop()
	for {
		c, ok := q.take()
		if !ok {
			_ = to.CloseWrite()
			return
		}
		if !p.await(pair, c.due) {
			return
		}
		n, reset := p.grant(pair, d, c.bytes)
		if _, err := to.Write(c.bytes[:n]); err != nil {
			_ = from.Close()
			return
		}
		if reset {
			pair.reset()
			return
		}
		if n == 0 {
			return
		}
	}
}

// await waits until a chunk is due, and reports whether the connection is still
// open.
func (p *Proxy) await(pair *pair, due time.Time) bool {
	left := time.Until(due)
	if left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-pair.closed:
		return false
	}
}

// grant waits until the bytes may be forwarded. It returns how many of them,
// and whether the connection must be reset after these. 0 without a reset means
// that the connection has ended.
func (p *Proxy) grant(pair *pair, d Direction, b []byte) (n int, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lane := &p.lanes[d]
	for lane.held && !p.closed {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-pair.closed:
			p.mu.Lock()
			return 0, false
		}
		p.mu.Lock()
	}
	if p.closed {
		return 0, false
	}
	n = len(b)
	if lane.resetIn >= 0 {
		n = min(n, lane.resetIn)
		lane.resetIn -= n
		if lane.resetIn == 0 {
			lane.resetIn, reset = -1, true
		}
	}
	if lane.record {
		lane.recorded.Write(b[:n])
	}
	return n, reset
}

// ends returns the source and the destination of a direction.
func (p *pair) ends(d Direction) (from, to *net.TCPConn) {
	if d == ToClient {
		return p.server, p.client
	}
	return p.client, p.server
}

// reset closes both connections with a RST.
func (p *pair) reset() {
	_ = p.client.SetLinger(0)
	_ = p.server.SetLinger(0)
	p.close()
}

// close closes both connections.
func (p *pair) close() {
	p.end.Do(func() {
		_ = p.client.Close()
		_ = p.server.Close()
		close(p.closed)
	})
}
