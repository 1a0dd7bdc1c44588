package relaytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// A Fleet is a group of clients that do the same thing at the same time. Its
// methods return the first error, with the name of the client.
type Fleet []*Client

// Subscribe subscribes every client to the channels; see [Client.Subscribe].
func (f Fleet) Subscribe(ctx context.Context, channels ...string) error {
	return f.each(ctx, func(ctx context.Context, c *Client) error { return c.Subscribe(ctx, channels...) })
}

// Await waits until every client has an event for which match holds; see
// [Client.Await]. match may be called concurrently.
func (f Fleet) Await(ctx context.Context, match func(Event) bool) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	return f.each(ctx, func(ctx context.Context, c *Client) error {
		_, err := c.Await(ctx, match)
		return err
	})
}

// AwaitEnd waits until every client that is still connected has received the
// last message of [Publisher.Finish] on each channel to which it is subscribed,
// and everything else that was queued for it. Then the logs are complete: no
// message that was published before can still arrive.
func (f Fleet) AwaitEnd(ctx context.Context, p *Publisher) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	ends := make(map[string]string) // payload by channel
	for _, sent := range p.Log() {
		if sent.End && sent.Err == nil {
			ends[sent.Channel] = sent.Payload
		}
	}
	return f.each(ctx, func(ctx context.Context, c *Client) error {
		for _, channel := range c.subscribed() {
			end, ok := ends[channel]
			if !ok {
				continue
			}
			_, err := c.Await(ctx, func(e Event) bool { return e.Kind == KindMessage && e.Data == end })
			if err != nil && !errors.Is(err, ErrEnded) {
				return fmt.Errorf("awaiting the end of %q: %w", channel, err)
			}
		}
		if err := c.Barrier(ctx); err != nil && !c.ended() {
			return fmt.Errorf("awaiting a pong: %w", err)
		}
		return nil
	})
}

// Sessions returns the logs of all clients so far, for [Run].
func (f Fleet) Sessions() []Session {
	sessions := make([]Session, len(f))
	for i, c := range f {
		sessions[i] = c.Session()
	}
	return sessions
}

// Drop drops all clients.
func (f Fleet) Drop() {
	_ = f.each(context.Background(), func(_ context.Context, c *Client) error { c.Drop(); return nil })
}

// each calls do for every client and returns the first error, with the name of
// the client.
func (f Fleet) each(ctx context.Context, do func(context.Context, *Client) error) error {
	return each(ctx, len(f), func(ctx context.Context, i int) error {
		if err := do(ctx, f[i]); err != nil {
			return fmt.Errorf("client %s: %w", f[i].name, err)
		}
		return nil
	})
}

// parallel is how many clients of a fleet do something at the same time.
const parallel = 64

// each calls f for 0 to n-1, several at a time. The first error cancels the
// context of the other calls. each returns it after all calls have returned.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		workers sync.WaitGroup
		next    atomic.Int64
		failed  atomic.Bool
		first   error // written by the goroutine that has set failed
	)
	for range min(parallel, n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !failed.Load(); i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil && failed.CompareAndSwap(false, true) {
					first = err
					cancel()
				}
			}
		})
	}
	workers.Wait()
	return first
}

// subscribed returns the channels to which the client is subscribed, none if
// its connection has ended.
func (c *Client) subscribed() []string {
	if c.ended() {
		return nil
	}
	channels := slices.Clone(c.channels)
	for _, e := range c.Events() {
		i := slices.Index(channels, e.Channel)
		switch {
		case e.Kind == KindSubscribed && i < 0:
			channels = append(channels, e.Channel)
		case e.Kind == KindUnsubscribed && i >= 0:
			channels = slices.Delete(channels, i, i+1)
		}
	}
	return channels
}
