package inmemory

import (
	"net"
	"slices"
	"sync"

	"sidecast/relay/transport"
)

// A poller reports changes as an edge-triggered epoll does: a connection is
// queued when something has changed, once, and its event has its whole state
// when Wait returns it. That a connection is writable is a change only after it
// has refused bytes.
type poller struct {
	kernel *Kernel

	// Guarded by the kernel's lock.
	queue  []*Conn
	queued sync.Cond // or closed
	closed bool
}

// A registration is the relation of a connection to its poller. The kernel's
// lock guards it.
type registration struct {
	poller  *poller // nil if it is not registered
	tag     uint64
	refused bool // it has not accepted all bytes of a Send

	readingEnded bool // by the relay
}

// NewPoller implements [transport.Kernel].
func (k *Kernel) NewPoller() (transport.Poller, error) {
	return &poller{kernel: k, queued: sync.Cond{L: &k.mu}}, nil
}

// Add implements [transport.Poller].
func (p *poller) Add(fd int32, tag uint64) error {
	if err := callHook(p.kernel.BeforeAdd, fd); err != nil {
		return err
	}
	err := errBadFD
	p.kernel.locked("add", fd, func(c *Conn) {
		c.poller, c.tag, err = p, tag, nil
		c.enqueue()
	})
	return err
}

// Rearm implements [transport.Poller].
func (p *poller) Rearm(fd int32, tag uint64) error {
	if err := callHook(p.kernel.BeforeRearm, fd); err != nil {
		return err
	}
	err := errBadFD
	p.kernel.locked("rearm", fd, func(c *Conn) {
		if c.poller != p {
			p.kernel.misuse = append(p.kernel.misuse, "rearm without add")
			return
		}
		c.tag, err = tag, nil
		c.enqueue()
	})
	if err == nil {
		err = callHook(p.kernel.AfterRearm, fd)
	}
	return err
}

// Wait implements [transport.Poller].
func (p *poller) Wait(events []transport.Event, wait bool) (n int, err error) {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	for {
		if p.closed {
			return 0, net.ErrClosed
		}
		for n < len(events) && len(p.queue) > 0 {
			c := p.queue[0]
			p.queue = p.queue[1:]
			if events[n] = c.event(); events[n].Readable || events[n].Writable {
				n++
			}
		}
		if n > 0 || !wait {
			return n, nil
		}
		p.queued.Wait()
	}
}

// Close implements [transport.Poller].
func (p *poller) Close() {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	p.closed = true
	p.queued.Broadcast()
}

// event returns the state of the relay's end.
func (c *Conn) event() transport.Event {
	ended := c.readingEnded || c.in.ended || c.in.broken != nil || c.out.closed
	return transport.Event{
		Tag: c.tag, Readable: ended || len(c.in.buf) > 0, ReadAll: ended,
		Writable: c.out.room() > 0 || c.out.closed || c.out.broken != nil,
	}
}

// enqueueWritable is enqueue for a connection that may accept bytes again.
func (c *Conn) enqueueWritable() {
	if c.refused && c.out.room() > 0 {
		c.refused = false
		c.enqueue()
	}
}

// enqueue makes the poller report the relay's end, if it is registered.
func (c *Conn) enqueue() {
	if c.poller != nil && !slices.Contains(c.poller.queue, c) {
		c.poller.queue = append(c.poller.queue, c)
		c.poller.queued.Broadcast()
	}
}

func (c *Conn) unregister() {
	if c.poller != nil {
		c.poller.queue = slices.DeleteFunc(c.poller.queue, func(other *Conn) bool { return other == c })
		c.poller = nil
	}
}
