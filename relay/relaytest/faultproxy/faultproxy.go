// Package faultproxy is a TCP proxy on 127.0.0.1 that breaks connections on command, for tests of what a relay does when
// its network fails. Faults act on all connections that run through it, and on those to come until they are healed.
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

// A Direction is a way through the proxy.
type Direction int

// The ways.
const (
	ToServer Direction = iota // what the client sends
	ToClient                  // what the server sends
)

// Both lists them, for faults of a whole path.
var Both = []Direction{ToServer, ToClient}

// Proxy forwards connections to one address. Its methods may be called concurrently.
type Proxy struct {
	// Addr is where the proxy listens.
	Addr string

	listener net.Listener
	work     sync.WaitGroup // the accept loop, and two readers and two writers a connection

	mu      sync.Mutex
	target  string
	closed  bool
	refuse  bool
	pairs   map[*pair]struct{}
	opened  int
	lanes   [2]lane
	changed chan struct{}        // closed and replaced whenever a field above changes
	traces  map[string][]passage // by client; nil unless they are kept
}

// lane is what happens to one direction.
type lane struct {
	held     bool // nothing is forwarded
	rate     int  // bytes a second; 0 means no limit
	resetIn  int  // bytes until a reset; negative means never
	delay    time.Duration
	jitter   time.Duration
	record   bool
	recorded bytes.Buffer
}

// pair is a connection and the one that it is forwarded to.
type pair struct {
	client, server *net.TCPConn
	gone           chan struct{} // closed when both are
	end            sync.Once
}

// Start makes a proxy to target, a host:port, which ends with the test.
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

// Hold stops forwarding in the directions: a black hole. Connections stay open, new ones are accepted, and what is sent
// waits. Release forwards it.
func (p *Proxy) Hold(directions ...Direction) { p.hold(true, directions) }

// Release forwards again, beginning with what waited.
func (p *Proxy) Release(directions ...Direction) { p.hold(false, directions) }

func (p *Proxy) hold(held bool, directions []Direction) {
	p.update(func() {
		for _, d := range directions {
			p.lanes[d].held = held
		}
	})
}

// Delay makes everything that comes from now on wait for d and up to jitter more, in order. 0 and 0 lift it.
func (p *Proxy) Delay(direction Direction, d, jitter time.Duration) {
	p.update(func() { p.lanes[direction].delay, p.lanes[direction].jitter = d, jitter })
}

// Retarget sends new connections to another address.
func (p *Proxy) Retarget(target string) { p.update(func() { p.target = target }) }

// Throttle limits a direction to so many bytes a second for each connection; 0 lifts the limit.
func (p *Proxy) Throttle(d Direction, bytesPerSecond int) {
	p.update(func() { p.lanes[d].rate = bytesPerSecond })
}

// ResetAfter resets the connection that has forwarded so many more bytes in the direction, counted over all connections.
// It happens once.
func (p *Proxy) ResetAfter(d Direction, n int) { p.update(func() { p.lanes[d].resetIn = n }) }

// Refuse makes the proxy close new connections at once, or stop doing so.
func (p *Proxy) Refuse(refuse bool) { p.update(func() { p.refuse = refuse }) }

// Cut closes all connections in order, as a server that stops does.
func (p *Proxy) Cut() {
	for _, pair := range p.current() {
		pair.close()
	}
}

// Reset breaks all connections with a RST.
func (p *Proxy) Reset() {
	for _, pair := range p.current() {
		pair.reset()
	}
}

// Opened returns how many connections were forwarded so far.
func (p *Proxy) Opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

// Open returns how many connections are being forwarded now.
func (p *Proxy) Open() int { return len(p.current()) }

// Record keeps a copy of what is forwarded in a direction from now on.
func (p *Proxy) Record(d Direction) { p.update(func() { p.lanes[d].record = true }) }

// Recorded returns what was forwarded in a direction since Record.
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

// close ends everything and waits for it.
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

// forward connects a client to the target and pumps both ways until both have ended.
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
	pair := &pair{client: client, server: server.(*net.TCPConn), gone: make(chan struct{})}
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
	delete(p.traces, pair.client.RemoteAddr().String()) // of somebody who had the port before
	p.pairs[pair] = struct{}{}
	p.opened++
	return true
}

func (p *Proxy) remove(pair *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, pair)
}

// read takes what comes in one direction of a pair, so that it is known when it came.
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

// write forwards one direction of a pair.
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
		for rest := c.bytes; len(rest) > 0; {
			grant, reset := p.grant(pair, d, rest)
			if _, err := to.Write(rest[:grant]); err != nil {
				_ = from.Close()
				return
			}
			if reset {
				pair.reset()
				return
			}
			if grant == 0 {
				return
			}
			rest = rest[grant:]
		}
	}
}

// await waits until a chunk is due, and reports whether the connection is still there.
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
	case <-pair.gone:
		return false
	}
}

// throttleTick is how often a throttled connection may send.
const throttleTick = 10 * time.Millisecond

// grant waits until some of the bytes may pass and returns how many, and whether the connection is to be reset behind
// them. 0 without a reset means that the connection has ended.
func (p *Proxy) grant(pair *pair, d Direction, b []byte) (grant int, reset bool) {
	paused := false
	for {
		p.mu.Lock()
		lane, changed := &p.lanes[d], p.changed
		switch {
		case p.closed:
			p.mu.Unlock()
			return 0, false
		case lane.held:
			p.mu.Unlock()
			select {
			case <-changed:
			case <-pair.gone:
				return 0, false
			}
			continue
		case lane.rate > 0 && !paused:
			p.mu.Unlock()
			p.pause(throttleTick, changed)
			paused = true
			continue
		}
		grant, reset = lane.take(len(b))
		if lane.record {
			lane.recorded.Write(b[:grant])
		}
		p.mu.Unlock()
		return grant, reset
	}
}

// pause waits for a while, or less if something changes.
func (p *Proxy) pause(d time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	}
}

// take decides how many of n bytes pass now.
func (l *lane) take(n int) (grant int, reset bool) {
	if l.rate > 0 {
		n = min(n, max(1, l.rate/int(time.Second/throttleTick)))
	}
	if l.resetIn >= 0 {
		n = min(n, l.resetIn)
		l.resetIn -= n
		if l.resetIn == 0 {
			l.resetIn = -1
			reset = true
		}
	}
	return n, reset
}

// ends returns where a direction begins and where it leads.
func (p *pair) ends(d Direction) (from, to *net.TCPConn) {
	if d == ToClient {
		return p.server, p.client
	}
	return p.client, p.server
}

// reset breaks both connections with a RST.
func (p *pair) reset() {
	_ = p.client.SetLinger(0)
	_ = p.server.SetLinger(0)
	p.close()
}

// close ends both connections.
func (p *pair) close() {
	p.end.Do(func() {
		_ = p.client.Close()
		_ = p.server.Close()
		close(p.gone)
	})
}
