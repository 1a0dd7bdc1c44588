package source

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/stats"
)

// Sizes of the tap's read buffer. It starts small, doubles while reads fill it, and goes beyond bufferMax only as far as
// one message needs.
const (
	bufferMin = 16 << 10
	bufferMax = 256 << 10
	// roomyReads is how many reads a buffer beyond bufferMax survives that did not need it.
	roomyReads = 64
)

// A tap is the net.Conn that go-redis gets for the link. Until go-redis subscribes it is the conn below, byte for byte.
// From then on every reply goes through the tap: messages, markers and the answers to its own PINGs it takes, and hands
// over in the order of the wire; confirmations and refusals it reads and passes on; anything else it passes on unread.
//
// One goroutine, the link's, calls Read and Close; any may call cut and ping; go-redis's writes and ours exclude each
// other.
type tap struct {
	// Static once something is subscribed to.
	net.Conn
	raw    net.Conn // below TLS; the same where there is none
	link   *Link
	born   time.Time
	addr   string                // of the node that was dialled
	node   uint32                // tag of the server; set before anything is subscribed to
	bus    busState              // of the cluster as it was then; nil where it is not known
	beside redis.UniversalClient // for questions to the same node; nil for a single Redis

	// Owned by the reader.
	buf     []byte // r and w are where the unread bytes begin and end
	r, w    int
	roomy   int    // reads since the buffer was needed beyond bufferMax
	filled  bool   // the last read left no room
	pass    int    // bytes at r that belong to go-redis
	drop    int    // bytes to throw away, of which some may not have come
	skip    walker // steps over a reply; its bytes are go-redis's, or nobody's if discard
	discard bool
	dirty   bool // the sink was given something since its last Flush
	subs    roster
	words   string // the last error reply before anything is subscribed to
	live    bool   // the epoch is running
	ended   error  // what Read returns from now on

	verified time.Time // when the cluster's bus was last looked at
	busMute  bool      // the server tells of it no more

	dog watchdog // owned by the watchdog's goroutine

	// What the watchdog sees, set by the reader, in times of [tap.now].
	subscribing atomic.Int64  // when go-redis began to subscribe; 0 before
	epoch       atomic.Bool   // as live
	waiting     atomic.Int64  // since when the reader waits for the network; 0 if it does not
	heard       atomic.Int64  // when the last bytes came
	pinged      atomic.Uint64 // sequence of the last PING written
	ponged      atomic.Uint64 // sequence of the last PONG read

	writing sync.Mutex // held over each write

	// Guarded by mu.
	mu      sync.Mutex
	verdict *lossError // why somebody cut the conn
}

// lossError says why the link's conn ended.
type lossError struct {
	cause stats.Cause
	epoch bool // an epoch ended with it
	err   error
}

func (e *lossError) Error() string {
	return fmt.Sprintf("redis link ended (%s): %v", stats.Causes[e.cause], e.err)
}
func (e *lossError) Unwrap() error { return e.err }

func newTap(conn net.Conn, l *Link) *tap {
	t := &tap{Conn: conn, raw: conn, link: l, born: time.Now(), node: randomNode()}
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		t.raw = secure.NetConn()
	}
	t.subs.reset(l.marker, l.wanted)
	t.heard.Store(t.now())
	return t
}

// place returns the address for the log.
func (t *tap) place() string { return cmp.Or(t.addr, t.link.cfg.Server.Address) }

// now is the conn's age in nanoseconds, which fits an atomic; it is never 0.
func (t *tap) now() int64 { return int64(time.Since(t.born)) + 1 }

// Read hands over what is the sink's and returns what is go-redis's. It returns at most one reply, or a part of one, so
// that go-redis has seen everything that came before the messages that are handed over next.
func (t *tap) Read(p []byte) (int, error) {
	if t.ended != nil {
		return 0, t.ended
	}
	if t.subscribing.Load() == 0 {
		n, err := t.Conn.Read(p)
		t.heard.Store(t.now())
		if text, isError := strings.CutPrefix(string(p[:min(n, 256)]), "-"); isError {
			t.words, _, _ = strings.Cut(text, "\r\n")
		}
		if err != nil {
			err = t.lastWords(err)
		}
		return n, err
	}
	for {
		n, err := t.step(p)
		if err != nil {
			return 0, t.end(err)
		}
		if n > 0 {
			return n, nil
		}
		if err := t.fill(); err != nil {
			return 0, t.end(err)
		}
	}
}

// fill waits for more bytes, having flushed.
func (t *tap) fill() error {
	t.flush()
	t.makeRoom()
	t.waiting.Store(t.now())
	n, err := t.Conn.Read(t.buf[t.w:])
	t.waiting.Store(0)
	if n > 0 {
		t.heard.Store(t.now())
		t.w += n
		t.filled = t.w == len(t.buf)
		return t.verify() // an error of Read comes again
	}
	return err
}

// flush tells the sink that nothing follows for now.
func (t *tap) flush() {
	if t.dirty {
		t.dirty = false
		t.link.sink.Flush()
	}
}

// makeRoom moves the unread bytes to the front of the buffer and gives it the right size.
func (t *tap) makeRoom() {
	size := len(t.buf)
	unread := t.w - t.r
	switch {
	case size == 0:
		size = bufferMin
	case unread == size: // one message fills it
		size *= 2
	case t.filled && size < bufferMax:
		size *= 2
	}
	if size > bufferMax {
		if t.roomy++; unread > bufferMax {
			t.roomy = 0
		} else if t.roomy > roomyReads {
			size, t.roomy = bufferMax, 0
		}
	}
	t.filled = false
	to := t.buf
	if size != len(t.buf) {
		to = make([]byte, size)
	}
	if t.r > 0 || size != len(t.buf) {
		copy(to, t.buf[t.r:t.w])
		t.buf, t.r, t.w = to, 0, unread
	}
}

// end makes err the end of this conn: of the epoch, if it was running.
func (t *tap) end(err error) error {
	if t.ended != nil {
		return t.ended
	}
	_ = t.Conn.Close()
	if t.beside != nil {
		_ = t.beside.Close()
	}
	t.mu.Lock()
	loss := t.verdict
	if loss == nil {
		loss = &lossError{cause: causeOf(err), err: err}
		t.verdict = loss
	}
	t.mu.Unlock()
	loss.epoch = t.live
	t.ended = loss
	if t.live {
		t.live = false
		t.epoch.Store(false)
		t.flush()
		t.link.offline(loss.cause, loss.err)
	}
	t.link.gate.fail()
	return loss
}

// causeOf tells what the tap found itself from what the network did.
func causeOf(err error) stats.Cause {
	if errors.Is(err, errBus) {
		return stats.CauseCluster
	}
	if errors.Is(err, errSilent) {
		return stats.CauseSilence
	}
	if _, ok := errors.AsType[*deniedError](err); ok {
		return stats.CauseDenied
	}
	return stats.CauseError
}

// cut ends the conn from any goroutine: the reader, which alone may tell the sink, finds it closed. The first cause
// counts.
func (t *tap) cut(cause stats.Cause, err error) {
	t.mu.Lock()
	if t.verdict == nil {
		t.verdict = &lossError{cause: cause, err: err}
	}
	t.mu.Unlock()
	_ = t.raw.Close() // TLS would first say goodbye to a peer that may be dead
}

// isCut reports whether somebody cut the conn.
func (t *tap) isCut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.verdict != nil
}

// Close is go-redis giving the conn up.
func (t *tap) Close() error {
	_ = t.end(net.ErrClosed)
	return nil
}

// Write passes go-redis's commands on, and notices when it subscribes. At that moment every reply to what it wrote
// before has been read, because go-redis waits for each, so the next byte to come begins a reply.
func (t *tap) Write(p []byte) (int, error) {
	if t.subscribing.Load() == 0 && subscribes(p) {
		// The deadlines of the handshake must not fire inside a later reply.
		if err := t.Conn.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
		t.subscribing.Store(t.now())
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	n, err := t.Conn.Write(p)
	if err != nil && t.subscribing.Load() == 0 {
		err = t.lastWords(err)
	}
	return n, err
}

// lastWords returns what the server said last where it then closed the conn: one that has too many clients does not wait
// to be asked, and go-redis takes its refusal for one of HELLO, which it does without.
func (t *tap) lastWords(err error) error {
	if isTransient(t.words) {
		return &replyError{t.words}
	}
	return err
}

// SetReadDeadline works during the handshake only. Later the watchdog judges silence, and closes: a deadline that fires
// inside a reply would make go-redis read the rest of a payload as protocol.
func (t *tap) SetReadDeadline(d time.Time) error {
	if t.subscribing.Load() != 0 {
		return nil
	}
	return t.Conn.SetReadDeadline(d)
}
