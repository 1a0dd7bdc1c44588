package relaytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A PublishFunc publishes one message and returns how many subscribers Redis
// reports. A non-nil error means that the message may or may not have been
// published. It must not retry and must be safe for concurrent use.
type PublishFunc func(ctx context.Context, channel string, payload []byte) (receivers int64, err error)

// A Publication is one call of PUBLISH.
type Publication struct {
	Channel string
	Seq     uint32 // from 1, in the order of the calls on this channel
	Payload string
	Equal   bool // the payload does not have its seq
	End     bool // the channel's last message, see [Publisher.Finish]

	Before, After time.Time // wall and monotonic time around the call
	Receivers     int64     // the reply; undefined if Err is set
	Err           error     // the message may or may not have been published
}

// A Publisher publishes numbered messages and keeps a log of them. It makes one
// call at a time on each channel, so the order of its calls is the order in
// which Redis published them. No other publisher may use its channels. All
// methods may be called concurrently.
type Publisher struct {
	publish  PublishFunc
	payloads Payloads

	mu      sync.Mutex
	writers map[string]*writer // by channel; never removed
}

// A writer publishes on one channel.
type writer struct {
	channel string

	turn chan struct{} // a mutex: holds one token while no goroutine publishes
	seq  uint32        // guarded by turn

	mu  sync.Mutex
	log []Publication
}

// NewPublisher returns a publisher that publishes these payloads with publish.
func NewPublisher(publish PublishFunc, payloads Payloads) *Publisher {
	return &Publisher{publish: publish, payloads: payloads, writers: make(map[string]*writer)}
}

// Publish publishes the next message of channel and returns its log entry. If
// another call on this channel is running, Publish waits for it first.
func (p *Publisher) Publish(ctx context.Context, channel string) Publication {
	return p.send(ctx, channel, stampSeq)
}

// Run publishes n messages on each channel, or until ctx ends if n is 0. It
// publishes on all channels concurrently, and pauses for every after each
// message. It returns the error of ctx if ctx ends and n is not 0. Failed calls
// are logged and not repeated; the next call on the channel follows after at
// least 10 ms.
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

// Finish publishes a last message with a unique payload on every channel used
// so far. It retries failed calls until they succeed or ctx ends. A client that
// has received it is at the end of that channel; see [Fleet.AwaitEnd].
func (p *Publisher) Finish(ctx context.Context) error {
	for _, w := range p.all() {
		for sent := p.send(ctx, w.channel, stampEnd); sent.Err != nil; sent = p.send(ctx, w.channel, stampEnd) {
			if !pause(pauseAfterError, ctx.Done()) {
				return fmt.Errorf("publishing the end of %q: %w", w.channel, sent.Err)
			}
		}
	}
	return nil
}

// Log returns a copy of the log, channel by channel in the order of the calls.
// It does not include calls that have not returned yet.
func (p *Publisher) Log() []Publication {
	var log []Publication
	for _, w := range p.all() {
		w.mu.Lock()
		log = append(log, w.log...)
		w.mu.Unlock()
	}
	return log
}

func (p *Publisher) send(ctx context.Context, channel string, kind stampKind) Publication {
	w := p.writer(channel)
	<-w.turn
	defer func() { w.turn <- struct{}{} }()
	w.seq++
	if kind != stampEnd {
		kind = p.payloads.kind(w.seq)
	}
	number := w.seq
	if kind == stampEqual {
		number = 0
	}
	payload := p.payloads.stamped(kind, channel, number)
	sent := Publication{
		Channel: channel, Seq: w.seq, Payload: string(payload), Equal: kind == stampEqual, End: kind == stampEnd,
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

// all returns the writers, sorted by channel.
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
