package transport

import "sync"

// crewSize is how many goroutines of a crew run at most.
const crewSize = 16

// A crew runs a function for one client after the other, with few goroutines
// however many there are: when a network fails, thousands of connections end at
// once. Each client waits in its queue at most once, so their number bounds it.
// There are no goroutines while there is nothing to do.
type crew struct {
	run func(Receiver) // does not change

	working sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	queue   []Receiver
	members int
}

func (c *crew) add(r Receiver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, r)
	if c.members < crewSize {
		c.members++
		c.working.Go(c.work)
	}
}

func (c *crew) work() {
	for {
		r := c.next()
		if r == nil {
			return
		}
		c.run(r)
	}
}

// next returns the client that has waited for the longest time. If there is
// none, it returns nil, and the goroutine that called it must end.
func (c *crew) next() Receiver {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.queue = nil
		c.members--
		return nil
	}
	r := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	return r
}
