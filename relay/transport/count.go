package transport

import "sync"

// A Count counts connections and waits until all have ended. Unlike with a
// WaitGroup, Add may be called while Wait is waiting: the relay rejects new
// handshakes, and counts them, until it exits.
type Count struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n becomes 0; nil if Wait is not waiting
}

func (c *Count) Add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	if c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

func (c *Count) Wait() {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	<-idle
}
