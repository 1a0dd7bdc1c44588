package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/source/resp"
	"sidecast/relay/stats"
)

// Sizes of the read buffer. It starts small, doubles while reads fill it, and
// grows beyond bufferMax only as far as one message needs.
const (
	bufferMin = 16 << 10
	bufferMax = 256 << 10
	// readsBeforeShrink is the number of reads after which a buffer larger than
	// bufferMax shrinks if no read needed it.
	readsBeforeShrink = 64
)

// A pubsubConn is the net.Conn that go-redis gets for the link's subscriptions.
// Until go-redis subscribes, it passes all bytes through unchanged. From then
// on it parses every reply. It delivers messages, markers and the answers to
// its own PINGs in the order in which they arrive, and go-redis never sees
// them. It reads subscription confirmations and error replies and passes the
// confirmations on. It passes everything else on unread.
//
// Only the link's goroutine calls Read and Close. Any goroutine may call cut
// and ping. A mutex keeps its writes and those of go-redis apart. It has many
// fields because parser, epoch, bus and watchdog share one connection; each block
// has one owner.
type pubsubConn struct {
	// Constant after the first subscription.
	net.Conn
	raw        net.Conn // below TLS; equal to Conn without TLS
	link       *Link
	created    time.Time
	addr       string                // of the node that was dialled
	node       uint32                // tag of the server; set before the first subscription
	nodeClient redis.UniversalClient // for questions to the same node; nil with a single Redis

	// Owned by the reader.
	buf             []byte // the unread bytes are buf[r:w]
	r, w            int
	readsSinceLarge int          // reads since the buffer had to be larger than bufferMax
	filled          bool         // the last read left no space
	passBytes       int          // bytes at r that go to go-redis
	dropBytes       int          // bytes to drop, some of which may not have arrived
	skipper         resp.Skipper // steps over a reply, which is dropped if discard is set and otherwise goes to go-redis
	discard         bool
	unflushed       bool // the sink was called since its last Flush
	subs            pendingSubscriptions
	lastError       string // the last error reply before the first subscription
	live            bool   // the epoch is running
	endErr          error  // if set, Read returns it

	bus busMonitor // its baseline is constant after the first subscription; the rest is owned by the reader

	watchdog watchdog // owned by the watchdog's goroutine

	// State for the watchdog, set by the reader. Times are those of
	// [pubsubConn.age].
	subscribedAt atomic.Int64  // when go-redis began to subscribe; 0 before
	epochRunning atomic.Bool   // equal to live
	waitingSince atomic.Int64  // when the reader began to wait for the network; 0 if it does not wait
	lastRead     atomic.Int64  // when bytes last arrived
	pinged       atomic.Uint64 // sequence number of the last PING written
	ponged       atomic.Uint64 // sequence number of the last PONG read

	gapDue atomic.Bool // the reader must report a gap; set by the watch of deposed masters

	writeMu sync.Mutex // held during each write

	// Guarded by mu.
	mu     sync.Mutex
	cutErr *lossError // why the connection was cut, or why it ended
}

// lossError reports why the link's connection ended.
type lossError struct {
	cause stats.Cause
	epoch bool // an epoch ended with it
	err   error
}

func (e *lossError) Error() string {
	return fmt.Sprintf("redis connection lost (%s): %v", stats.Causes[e.cause], e.err)
}

func (e *lossError) Unwrap() error { return e.err }

func newPubsubConn(conn net.Conn, l *Link) *pubsubConn {
	c := &pubsubConn{Conn: conn, raw: conn, link: l, created: time.Now(), node: randomNode()}
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		c.raw = secure.NetConn()
	}
	c.subs.reset(l.serviceChannels(), l.markerChannel, l.redisPatterns)
	c.lastRead.Store(c.age())
	return c
}

// displayAddr returns the address for the log.
func (c *pubsubConn) displayAddr() string { return cmp.Or(c.addr, c.link.cfg.Server.Address) }

// age returns the connection's age in nanoseconds, which fits an atomic
// integer. It is never 0.
func (c *pubsubConn) age() int64 { return int64(time.Since(c.created)) + 1 }

// Read delivers to the sink and returns the bytes that belong to go-redis. It
// returns one reply at most, or a part of one, so that go-redis has seen
// everything that precedes the messages delivered next.
func (c *pubsubConn) Read(p []byte) (int, error) {
	if c.endErr != nil {
		return 0, c.endErr
	}
	if c.subscribedAt.Load() == 0 {
		n, err := c.Conn.Read(p)
		c.lastRead.Store(c.age())
		if text, isError := strings.CutPrefix(string(p[:min(n, 256)]), "-"); isError {
			c.lastError, _, _ = strings.Cut(text, "\r\n")
		}
		if err != nil {
			err = c.serverReason(err)
		}
		return n, err
	}
	for {
		n, err := c.process(p)
		if err != nil {
			return 0, c.end(err)
		}
		if n > 0 {
			return n, nil
		}
		if err := c.fill(); err != nil {
			return 0, c.end(err)
		}
	}
}

// fill flushes, and then waits for more bytes.
func (c *pubsubConn) fill() error {
	c.flush()
	c.resizeBuffer()
	c.waitingSince.Store(c.age())
	n, err := c.Conn.Read(c.buf[c.w:])
	c.waitingSince.Store(0)
	if n > 0 {
		c.lastRead.Store(c.age())
		c.w += n
		c.filled = c.w == len(c.buf)
		return c.bus.verify(c) // the next read returns err again
	}
	return err
}

// flush notifies the sink that the link has nothing more to deliver for now.
func (c *pubsubConn) flush() {
	if c.unflushed {
		c.unflushed = false
		c.link.sink.Flush()
	}
}

// resizeBuffer moves the unread bytes to the front of the buffer and adjusts
// its size.
func (c *pubsubConn) resizeBuffer() {
	size := len(c.buf)
	unread := c.w - c.r
	switch {
	case size == 0:
		size = bufferMin
	case unread == size: // one message fills it
		size *= 2
	case c.filled && size < bufferMax:
		size *= 2
	}
	if size > bufferMax {
		if c.readsSinceLarge++; unread > bufferMax {
			c.readsSinceLarge = 0
		} else if c.readsSinceLarge > readsBeforeShrink {
			size, c.readsSinceLarge = bufferMax, 0
		}
	}
	c.filled = false
	to := c.buf
	if size != len(c.buf) {
		to = make([]byte, size)
	}
	if c.r > 0 || size != len(c.buf) {
		copy(to, c.buf[c.r:c.w])
		c.buf, c.r, c.w = to, 0, unread
	}
}

// end closes the connection because of err, and ends the epoch if it was
// running. It returns the error that Read returns from now on.
func (c *pubsubConn) end(err error) error {
	if c.endErr != nil {
		return c.endErr
	}
	_ = c.Conn.Close()
	if c.nodeClient != nil {
		_ = c.nodeClient.Close()
	}
	c.mu.Lock()
	loss := c.cutErr
	if loss == nil {
		loss = &lossError{cause: causeOf(err), err: err}
		c.cutErr = loss
	}
	c.mu.Unlock()
	loss.epoch = c.live
	c.endErr = loss
	if c.live {
		c.live = false
		c.epochRunning.Store(false)
		c.flush()
		c.link.endEpoch(c, loss.cause, loss.err)
	}
	c.link.backoff.fail()
	return loss
}

// causeOf returns the cause of an error that the connection found itself, or
// CauseError for the errors of the network.
func causeOf(err error) stats.Cause {
	if errors.Is(err, errBusChanged) {
		return stats.CauseCluster
	}
	if errors.Is(err, errSilence) {
		return stats.CauseSilence
	}
	if _, ok := errors.AsType[*deniedError](err); ok {
		return stats.CauseDenied
	}
	return stats.CauseError
}

// cut ends the connection. Any goroutine may call it: the reader, which alone
// may call the sink, then finds the connection closed. Only the first cause
// counts.
func (c *pubsubConn) cut(cause stats.Cause, err error) {
	c.mu.Lock()
	if c.cutErr == nil {
		c.cutErr = &lossError{cause: cause, err: err}
	}
	c.mu.Unlock()
	_ = c.raw.Close() // TLS would first send an alert to a peer that may be dead
}

// isCut reports whether the connection was cut or has ended.
func (c *pubsubConn) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cutErr != nil
}

// Close is called by go-redis when it gives up the connection.
func (c *pubsubConn) Close() error {
	_ = c.end(net.ErrClosed)
	return nil
}

// Write passes go-redis's commands on and notices the first subscription. At
// that moment go-redis has read the replies to all earlier commands, because it
// waits for each, so the next byte that arrives begins a reply.
func (c *pubsubConn) Write(p []byte) (int, error) {
	var first []byte
	if c.subscribedAt.Load() == 0 && isSubscribe(p) {
		// The deadlines of the handshake must not expire inside a later reply.
		if err := c.Conn.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
		c.subscribedAt.Store(c.age())
		first = c.link.subscribeServices()
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if len(first) > 0 {
		if _, err := c.Conn.Write(first); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	if err != nil && c.subscribedAt.Load() == 0 {
		err = c.serverReason(err)
	}
	return n, err
}

// isSubscribe reports whether a write begins with a SUBSCRIBE or PSUBSCRIBE in
// the form that go-redis uses.
func isSubscribe(p []byte) bool {
	if len(p) == 0 || p[0] != '*' {
		return false
	}
	_, command, _ := bytes.Cut(p, []byte("\r\n"))
	return bytes.HasPrefix(command, []byte("$9\r\nsubscribe\r\n")) ||
		bytes.HasPrefix(command, []byte("$10\r\npsubscribe\r\n"))
}

// serverReason replaces err by the server's last error reply if that explains
// why the server closed the connection. A server that has too many clients
// sends its error before any command, and go-redis takes it for the answer to
// HELLO, which it can do without.
func (c *pubsubConn) serverReason(err error) error {
	if isTransient(c.lastError) {
		return &replyError{c.lastError}
	}
	return err
}

// SetReadDeadline has an effect during the handshake only. Later the watchdog
// detects silence and closes the connection: a deadline that expires inside a
// reply would make go-redis read the rest of a payload as protocol.
func (c *pubsubConn) SetReadDeadline(d time.Time) error {
	if c.subscribedAt.Load() != 0 {
		return nil
	}
	return c.Conn.SetReadDeadline(d)
}
