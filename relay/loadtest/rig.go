package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A rig is one run with all that belongs to it.
type rig struct {
	// Static.
	options   *options
	course    *course
	fleet     *fleet
	publisher *publisher
	progress  *progress

	// Owned by the goroutine that runs.
	connected connectResult
	before    usage // of the relay, before the clients connected
	after     usage // and when all were connected and idle
	marked    mark  // when measuring began
	stopped   mark  // when publishing ended
	settled   mark  // when everything had come
	perSecond float64

	mu      sync.Mutex
	series  []point       // guarded by mu
	stormed []stormResult // guarded by mu
}

// A mark is where a run stood at some time.
type mark struct {
	at         int64 // on the run's clock
	published  uint64
	deliveries uint64
	server     usage
	own        usage
}

const (
	idleTime   = time.Second            // between the last connect and measuring memory
	lastWords  = 200 * time.Millisecond // for what comes once more after everything has come
	settleTime = 2 * time.Minute        // longest wait for what is missing
)

// newRig puts a run together. An error is a fault of the options.
func newRig(ctx context.Context, o *options, p *progress) (*rig, error) {
	target, err := parseTarget(ctx, o.url, o.owned)
	if err != nil {
		return nil, err
	}
	redis, err := parseRedis(ctx, o.redis, o.owned)
	if err != nil {
		return nil, err
	}
	if err := o.checkFiles(); err != nil {
		return nil, err
	}
	if o.pid != 0 {
		if _, err := usageOf(o.pid); err != nil {
			return nil, fmt.Errorf("-pid %d: %w", o.pid, err)
		}
	}
	r := &rig{options: o, progress: p}
	r.course = &course{id: rand.Uint32(), protocol: o.protocol, clock: newClock()}
	if r.fleet, err = newFleet(o, target, r.course); err != nil {
		return nil, err
	}
	r.publisher = newPublisher(redis, r.course, r.fleet.channels, int(o.size))
	return r, nil
}

// run runs until everything is measured or ctx ends, which is no error: what was seen until then is the result. An error
// means that there is nothing to measure.
func (r *rig) run(ctx context.Context) (*result, error) {
	defer r.publisher.close()
	defer r.progress.clear()
	closeFleet := sync.OnceFunc(r.fleet.close)
	defer closeFleet()
	steps, publishing := paceOf(r.options, 0)
	r.perSecond = steps.perSecond()
	if err := probe(ctx, r.fleet, r.publisher, publishing); err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	r.measure(ctx, publishing)
	r.settle(false)
	r.settled = r.mark()
	if r.options.slow.of(r.options.clients) > 0 {
		close(r.fleet.hurry)
		r.settle(true)
	}
	closeFleet()
	return r.result(ctx.Err() != nil), nil
}

// connect connects all clients.
func (r *rig) connect(ctx context.Context) error {
	r.before = r.serverUsage()
	limited, cancel := context.WithTimeout(ctx, r.options.connectFor)
	defer cancel()
	stop := r.progress.every(r.connecting)
	began := r.course.clock.now()
	r.fleet.connect(limited, r.fleet.clients, func() {})
	took := time.Duration(r.course.clock.now() - began).Seconds()
	stop()
	served := int(r.fleet.served.Load())
	r.connected = connectResult{
		Served: served, Seconds: took, PerSecond: float64(served) / took, Refused: r.fleet.refusals(),
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("stopped with %d of %d clients connected", served, r.options.clients)
	case served < r.options.clients:
		return fmt.Errorf("%d of %d clients were served in %v, refused %s; the relay's limits are SIDECAST_MAX_CONNECTIONS "+
			"and its open files", served, r.options.clients, r.options.connectFor, list(r.connected.Refused))
	}
	if r.options.pid != 0 {
		pause(ctx, idleTime)
		r.after = r.serverUsage()
	}
	return nil
}

// measure publishes: to warm up, and then to measure.
func (r *rig) measure(ctx context.Context, publishing bool) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	if publishing {
		running.Go(func() {
			pace, _ := paceOf(r.options, r.course.clock.now())
			r.publisher.run(ctx, pace)
		})
	}
	running.Go(func() { r.fleet.bringBack(ctx) })
	if publishing {
		stop := r.progress.every(func() string { return "warming up" })
		pause(ctx, r.options.warmUp)
		stop()
	}
	r.publisher.forget()
	r.marked = r.mark()
	r.course.window.open(r.marked.at)
	sampling := r.sample(ctx)
	until := time.Now().Add(r.options.length)
	r.storms(ctx, until)
	pause(ctx, time.Until(until))
	cancel()
	r.course.window.close(r.course.clock.now())
	running.Wait()
	r.stopped = r.mark()
	sampling()
}

// settle waits until the clients have heard everything, or nothing more comes.
func (r *rig) settle(slow bool) {
	stop := r.progress.every(func() string { return fmt.Sprintf("waiting for %d clients", r.fleet.waiting(slow)) })
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit, moved, last := time.Now().Add(settleTime), time.Now(), uint64(0)
	for now := range tick.C {
		if r.fleet.waiting(slow) == 0 {
			break
		}
		if seen := r.fleet.tally().all(); seen != last {
			last, moved = seen, now
		}
		if now.Sub(moved) > r.options.grace || now.After(limit) {
			break
		}
	}
	time.Sleep(lastWords)
}

// mark notes where the run stands.
func (r *rig) mark() mark {
	own, _ := usageOf(0)
	return mark{
		at: r.course.clock.now(), published: r.publisher.published.Load(), deliveries: r.fleet.tally().all(),
		server: r.serverUsage(), own: own,
	}
}

// serverUsage is what the relay has used; nothing without its process id, or when it is no more.
func (r *rig) serverUsage() usage {
	if r.options.pid == 0 {
		return usage{}
	}
	used, _ := usageOf(r.options.pid)
	return used
}
