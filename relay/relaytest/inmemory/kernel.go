package inmemory

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"sidecast/relay/transport"
)

var (
	errReset = errors.New("connection reset by peer")
	errBadFD = errors.New("bad file descriptor")
)

// A Kernel is a [transport.Kernel] for the connections that [Kernel.Pipe]
// returns. As Linux does, it gives a new connection the lowest descriptor that
// is free, and its pollers report changes, and nothing else. It records calls
// with a descriptor that is not open.
type Kernel struct {
	// Hooks are called before, and Rearm's also after, the call that they are
	// named after. An error becomes that of the call. They may be nil, and must
	// be set before the kernel is used.
	BeforeAdd, BeforeRead, BeforeRearm, AfterRearm func(fd int32) error

	mu     sync.Mutex // guards the fields below, and all connections
	open   []*Conn    // by descriptor; nil if it is free
	misuse []string   // calls with a descriptor that was not open
}

var _ transport.Kernel = (*Kernel)(nil)

// Open returns how many descriptors are open, and the calls with descriptors
// that were not.
func (k *Kernel) Open() (n int, misuse []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.open {
		if c != nil {
			n++
		}
	}
	return n, slices.Clone(k.misuse)
}

// Adopt implements [transport.Kernel].
func (k *Kernel) Adopt(c net.Conn) (int32, bool) {
	conn, ok := c.(*Conn)
	if !ok || conn.kernel != k {
		return 0, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	fd := slices.Index(k.open, nil)
	if fd < 0 {
		fd = len(k.open)
		k.open = append(k.open, nil)
	}
	k.open[fd] = conn
	return int32(fd), true
}

// locked calls do with the connection of a descriptor, and records it if there
// is none.
func (k *Kernel) locked(call string, fd int32, do func(*Conn)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if fd < 0 || int(fd) >= len(k.open) || k.open[fd] == nil {
		k.misuse = append(k.misuse, fmt.Sprintf("%s %d", call, fd))
		return
	}
	do(k.open[fd])
}

// Read implements [transport.Kernel].
func (k *Kernel) Read(fd int32, b []byte) (n int, err error) {
	if err := callHook(k.BeforeRead, fd); err != nil {
		return 0, err
	}
	err = errBadFD
	k.locked("read", fd, func(c *Conn) {
		switch n, err = c.in.read(b); {
		case n == 0 && (err == io.EOF || err == nil && c.readingEnded):
			err = nil
		case n == 0 && err == nil:
			err = transport.ErrAgain
		case n > 0:
			c.changed.Broadcast() // there is room
		}
	})
	return n, err
}

// Send implements [transport.Kernel].
func (k *Kernel) Send(fd int32, frames [][]byte) (sent int, err error) {
	err = errBadFD
	k.locked("send", fd, func(c *Conn) {
		for _, frame := range frames {
			var n int
			n, err = c.out.write(frame)
			if sent += n; n < len(frame) {
				c.refused = err == nil
				break
			}
		}
		if sent > 0 {
			err = nil
			c.changed.Broadcast()
		}
	})
	return sent, err
}

// Unacknowledged implements [transport.Kernel]. Clients acknowledge everything
// at once.
func (k *Kernel) Unacknowledged(fd int32) (bytes int, known bool) {
	k.locked("unacknowledged", fd, func(*Conn) { known = true })
	return 0, known
}

// EndReading implements [transport.Kernel].
func (k *Kernel) EndReading(fd int32) {
	k.locked("end reading", fd, func(c *Conn) { c.readingEnded = true; c.enqueue() })
}

// EndWriting implements [transport.Kernel].
func (k *Kernel) EndWriting(fd int32) {
	k.locked("end writing", fd, func(c *Conn) { c.out.ended = true; c.changed.Broadcast() })
}

// Close implements [transport.Kernel].
func (k *Kernel) Close(fd int32, discard bool) {
	k.locked("close", fd, func(c *Conn) {
		k.open[fd] = nil
		c.unregister()
		if discard || len(c.in.buf) > 0 {
			c.resetLocked()
			return
		}
		c.closeLocked()
	})
}

func callHook(hook func(int32) error, fd int32) error {
	if hook == nil {
		return nil
	}
	return hook(fd)
}
