package transport

import "sync"

// maxPoolWorkers is how many goroutines of a workerPool run at most.
const maxPoolWorkers = 16

// A workerPool runs a function for one client after the other, with few
// goroutines however many clients there are: when a network fails, thousands of
// connections end at once. Each client is in the queue at most once, so their
// number bounds it. There are no goroutines while there is nothing to do.
type workerPool struct {
	run func(Receiver) // does not change

	running sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	queue   []Receiver
	workers int
}

func (p *workerPool) add(r Receiver) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, r)
	if p.workers < maxPoolWorkers {
		p.workers++
		p.running.Go(p.work)
	}
}

func (p *workerPool) work() {
	for {
		r := p.next()
		if r == nil {
			return
		}
		p.run(r)
	}
}

// next returns the client that has waited for the longest time. If there is
// none, it returns nil, and the goroutine that called it must end.
func (p *workerPool) next() Receiver {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.queue = nil
		p.workers--
		return nil
	}
	r := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return r
}
