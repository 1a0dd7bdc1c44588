package front

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// A requestContext is the context of a request. It ends with the handler, and
// also when the client leaves. Only a reader notices that, and most handlers do
// not wait, so it starts to read with the first call of Done or Err.
type requestContext struct {
	context.Context
	net net.Conn

	mu       sync.Mutex
	done     chan struct{} // closed when the context has ended; nil before the first call of Done
	ended    bool
	read     chan struct{} // closed when the reader has returned; nil without one
	stopping bool          // nothing may read any more
	got      bool          // the reader has read next
	next     [1]byte
}

// Done implements [context.Context].
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		switch {
		case c.ended:
			close(c.done)
		case !c.stopping:
			c.read = make(chan struct{})
			_ = c.net.SetReadDeadline(time.Time{})
			go c.watch(c.read)
		}
	}
	return c.done
}

// Err implements [context.Context].
func (c *requestContext) Err() error {
	c.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return context.Canceled
	}
	return nil
}

// Value implements [context.Context].
func (c *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return c.net.LocalAddr()
	}
	return c.Context.Value(key)
}

// watch ends the context when the connection fails, and closes read. stop waits
// for it.
func (c *requestContext) watch(read chan struct{}) {
	n, err := c.net.Read(c.next[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = n == 1
	if err != nil && !c.stopping {
		c.end()
	}
	close(read)
}

// stop ends the reader, and returns the byte that it has read, if any. There is
// no reader after the first call.
func (c *requestContext) stop() (next byte, ok bool) {
	c.mu.Lock()
	read := c.read
	c.read, c.stopping = nil, true
	c.mu.Unlock()
	if read == nil {
		return 0, false
	}
	_ = c.net.SetReadDeadline(time.Unix(1, 0))
	<-read
	return c.next[0], c.got
}

// finish ends the context after the handler.
func (c *requestContext) finish() {
	c.mu.Lock()
	c.end()
	c.mu.Unlock()
	c.stop()
}

// end closes done. c.mu is locked.
func (c *requestContext) end() {
	if !c.ended {
		c.ended = true
		if c.done != nil {
			close(c.done)
		}
	}
}
