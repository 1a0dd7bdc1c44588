package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A publisher publishes as an application does, over one connection, so that Redis takes the messages of a channel in
// their order.
type publisher struct {
	client   *redis.Client
	course   *course
	channels []*channel

	// Owned by the goroutine that runs.
	payloads [][]byte // one for each message of a pipeline
	next     int      // channel of the next message

	published atomic.Uint64 // messages that Redis took
	unheard   atomic.Uint64 // of these, to no subscriber
	failed    atomic.Uint64 // messages whose answer was an error, or lost
	late      atomic.Int64  // the most that a message was behind its time, in nanoseconds, since [publisher.forget]
}

const (
	maxPipeline      = 1024
	maxPipelineBytes = 4 << 20
	redisTimeout     = 10 * time.Second
)

// newPublisher connects to Redis at the first message. Close it after use.
func newPublisher(opts *redis.Options, run *course, channels []*channel, size int) *publisher {
	opts.MaxRetries = -1 // what was perhaps published must not be published again
	opts.PoolSize, opts.MaxActiveConns = 1, 1
	opts.Protocol, opts.DisableIdentity = 2, true
	opts.ReadTimeout, opts.WriteTimeout = redisTimeout, redisTimeout
	p := &publisher{client: redis.NewClient(opts), course: run, channels: channels}
	for range max(min(maxPipeline, maxPipelineBytes/size), 1) {
		p.payloads = append(p.payloads, newPayload(size))
	}
	return p
}

// run publishes until ctx ends. Messages are stamped with the time when they are published, or when they were due, if
// the publisher was held up: so that nobody's latency looks better because Redis or this machine stood still.
func (p *publisher) run(ctx context.Context, pace pace) {
	for n := int64(0); ; n++ {
		due, messages := pace.step(n)
		sent := due
		if wait := due - p.course.clock.now(); wait > 0 {
			if !pause(ctx, time.Duration(wait)) {
				return
			}
			sent = p.course.clock.now()
		}
		for messages > 0 && ctx.Err() == nil {
			now := min(messages, len(p.payloads))
			p.late.Store(max(p.late.Load(), p.course.clock.now()-due))
			if p.publish(now, sent) != nil && !pause(ctx, 100*time.Millisecond) {
				return
			}
			messages -= now
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// forget begins to measure lateness anew.
func (p *publisher) forget() { p.late.Store(0) }

// publish publishes n messages in one pipeline, each on the next channel. What is under way is not cut off, so that as
// little as possible stays in doubt; it is bounded in time.
func (p *publisher) publish(n int, sent int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), redisTimeout)
	defer cancel()
	pipe := p.client.Pipeline()
	replies := make([]*redis.IntCmd, n)
	from := p.next
	for i := range n {
		ch := p.channels[p.next]
		p.next = (p.next + 1) % len(p.channels)
		sequence := ch.started.Add(1)
		stamp{run: p.course.id, channel: ch.index, sequence: sequence, sent: sent}.put(p.payloads[i])
		replies[i] = pipe.Publish(ctx, ch.name, p.payloads[i])
	}
	_, err := pipe.Exec(ctx)
	var unheard, failed uint64
	for i := n - 1; i >= 0; i-- {
		switch heard, err := replies[i].Result(); {
		case err != nil:
			failed++
			p.doubt((from+i)%len(p.channels), (n-1-i)/len(p.channels))
		case heard == 0:
			unheard++
		}
	}
	p.published.Add(uint64(n) - failed)
	p.unheard.Add(unheard)
	p.failed.Add(failed)
	return err
}

// doubt notes what became of the message on a channel that was published so many before its newest.
func (p *publisher) doubt(channel, before int) {
	ch := p.channels[channel]
	sequence := ch.started.Load() - uint64(before)
	ch.doubt(sequence, sequence)
}

// check reports whether Redis answers.
func (p *publisher) check(ctx context.Context) error { return p.client.Ping(ctx).Err() }

func (p *publisher) close() { _ = p.client.Close() }
