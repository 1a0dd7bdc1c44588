package relaytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// PublishFunc publishes one message and returns how many subscribers Redis handed it to. A non-nil error means that the
// message may or may not have been published. It must not retry, and must be safe for concurrent use.
type PublishFunc func(ctx context.Context, channel string, payload []byte) (receivers int64, err error)

// A Publication is one call of PUBLISH.
type Publication struct {
	Channel string
	Seq     uint32 // from 1, in the order of the calls on this channel
	Payload string
	Equal   bool // the payload does not tell its seq
	End     bool // the channel's last message, see [Publisher.Finish]

	Before, After time.Time // wall and monotonic time around the call
	Receivers     int64     // the reply; meaningless if Err is set
	Err           error     // the message may or may not have been published
}

// A Publisher sends numbered messages and remembers them. On each channel there is one call at a time, so the order of
// its calls is the order in which Redis published them; nobody else may publish there. All methods may be called
// concurrently.
type Publisher struct {
	publish  PublishFunc
	payloads Payloads

	mu      sync.Mutex
	writers map[string]*writer // never removed
}

// writer owns one channel.
type writer struct {
	channel string

	turn chan struct{} // holds the right to call PUBLISH
	seq  uint32        // guarded by turn

	mu  sync.Mutex
	log []Publication
}

// NewPublisher returns a publisher of such payloads.
func NewPublisher(publish PublishFunc, payloads Payloads) *Publisher {
	return &Publisher{publish: publish, payloads: payloads, writers: make(map[string]*writer)}
}

// Publish sends the next message of channel and returns what became of it, its Err included. It waits while another
// call on this channel is under way.
func (p *Publisher) Publish(ctx context.Context, channel string) Publication {
	return p.send(ctx, channel, StampSeq)
}

// Run sends n messages on each channel, or without end if n is 0, one writer a channel, and returns when all are sent
// or ctx ends, the latter with the error of ctx if n is not 0. every is the pace of one channel, 0 as fast as it goes.
// Failed calls are part of the log and are not repeated; the next one follows no earlier than 10 ms later.
func (p *Publisher) Run(ctx context.Context, channels []string, n int, every time.Duration) error {
	var writers sync.WaitGroup
	for _, channel := range channels {
		writers.Go(func() { p.run(ctx, channel, n, every) })
	}
	writers.Wait()
	if n == 0 {
		return nil
	}
	return ctx.Err()
}

const pauseAfterError = 10 * time.Millisecond

func (p *Publisher) run(ctx context.Context, channel string, n int, every time.Duration) {
	for i := 0; (n == 0 || i < n) && ctx.Err() == nil; i++ {
		wait := every
		if p.Publish(ctx, channel).Err != nil {
			wait = max(wait, pauseAfterError)
		}
		if wait > 0 {
			pause(wait, ctx.Done())
		}
	}
}

// Finish sends a last message, one with a payload of its own, on every channel used so far, and again where the call
// fails, until it succeeds or ctx ends. A client that heard it is at the end of that channel; see [Fleet.AwaitEnd].
func (p *Publisher) Finish(ctx context.Context) error {
	for _, w := range p.all() {
		for sent := p.send(ctx, w.channel, StampEnd); sent.Err != nil; sent = p.send(ctx, w.channel, StampEnd) {
			if !pause(pauseAfterError, ctx.Done()) {
				return fmt.Errorf("publishing the end of %q: %w", w.channel, sent.Err)
			}
		}
	}
	return nil
}

// Channels returns the channels used so far, sorted.
func (p *Publisher) Channels() []string {
	var channels []string
	for _, w := range p.all() {
		channels = append(channels, w.channel)
	}
	return channels
}

// Log returns a copy of all publications so far, channel by channel in the order of their calls. Calls under way are not
// in it.
func (p *Publisher) Log() []Publication {
	var log []Publication
	for _, w := range p.all() {
		w.mu.Lock()
		log = append(log, w.log...)
		w.mu.Unlock()
	}
	return log
}

func (p *Publisher) send(ctx context.Context, channel string, kind StampKind) Publication {
	w := p.writer(channel)
	<-w.turn
	defer func() { w.turn <- struct{}{} }()
	w.seq++
	if kind != StampEnd {
		kind = p.payloads.kind(w.seq)
	}
	stampSeq := w.seq
	if kind == StampEqual {
		stampSeq = 0
	}
	payload := p.payloads.stamped(kind, channel, stampSeq)
	sent := Publication{
		Channel: channel, Seq: w.seq, Payload: string(payload), Equal: kind == StampEqual, End: kind == StampEnd,
		Before: time.Now(),
	}
	sent.Receivers, sent.Err = p.publish(ctx, channel, payload)
	sent.After = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, sent)
	return sent
}

func (p *Publisher) writer(channel string) *writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.writers[channel]
	if w == nil {
		w = &writer{channel: channel, turn: make(chan struct{}, 1)}
		w.turn <- struct{}{}
		p.writers[channel] = w
	}
	return w
}

// all returns the writers by channel name.
func (p *Publisher) all() []*writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	writers := make([]*writer, 0, len(p.writers))
	for _, w := range p.writers {
		writers = append(writers, w)
	}
	slices.SortFunc(writers, func(a, b *writer) int { return cmp.Compare(a.channel, b.channel) })
	return writers
}
