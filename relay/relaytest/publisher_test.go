package relaytest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPublisherLog: the log has every call with its number, reply and times, in
// the order of the calls on its channel.
func TestPublisherLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		received := make(map[string][]string)
		busy := make(map[string]bool)
		publish := func(_ context.Context, channel string, payload []byte) (int64, error) {
			mu.Lock()
			if busy[channel] {
				t.Errorf("%s: two calls at the same time", channel)
			}
			busy[channel] = true
			mu.Unlock()
			<-time.After(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			busy[channel] = false
			received[channel] = append(received[channel], string(payload))
			return int64(len(channel)), nil
		}
		p := NewPublisher(publish, Payloads{})
		// Two runs on one channel still make one call at a time.
		var runs sync.WaitGroup
		runs.Go(func() { _ = p.Run(t.Context(), []string{"a", "bb"}, 10, 0) })
		runs.Go(func() { _ = p.Run(t.Context(), []string{"bb"}, 5, time.Second) })
		runs.Wait()
		got := make(map[string][]string)
		for _, sent := range p.Log() {
			got[sent.Channel] = append(got[sent.Channel], sent.Payload)
			if int(sent.Seq) != len(got[sent.Channel]) {
				t.Errorf("%s: seq %d at place %d", sent.Channel, sent.Seq, len(got[sent.Channel]))
			}
			if sent.Receivers != int64(len(sent.Channel)) || sent.After.Sub(sent.Before) != time.Millisecond {
				t.Errorf("%s: reply or times: %+v", sent.Channel, sent)
			}
		}
		for channel, n := range map[string]int{"a": 10, "bb": 15} {
			if !slices.Equal(got[channel], received[channel]) || len(got[channel]) != n {
				t.Errorf("%s: log %d, received %d, want %d", channel, len(got[channel]), len(received[channel]), n)
			}
		}
	})
}

// TestPublisherErrors: a failed call is logged and its number is not used
// again; Finish retries.
func TestPublisherErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		calls := 0
		p := NewPublisher(func(context.Context, string, []byte) (int64, error) {
			calls++
			if calls%2 == 1 {
				return 0, broken
			}
			return 1, nil
		}, Payloads{Equal: true})
		if err := p.Run(t.Context(), []string{"a"}, 4, 0); err != nil {
			t.Fatal(err)
		}
		if err := p.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, sent := range p.Log() {
			if sent.Seq != uint32(i+1) || (sent.Err != nil) != (i%2 == 0) || sent.End != (i >= 4) || sent.Equal != (i < 4) {
				t.Errorf("publication %d: %+v", i, sent)
			}
		}
		if calls != 6 {
			t.Errorf("%d calls, want 6", calls)
		}
	})
}

// TestPublisherRunEnds: a run without a number of messages ends with its
// context and returns no error.
func TestPublisherRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPublisher(func(context.Context, string, []byte) (int64, error) { return 0, nil }, Payloads{})
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond)
		defer cancel()
		if err := p.Run(ctx, []string{"a", "b"}, 0, 10*time.Millisecond); err != nil {
			t.Error(err)
		}
		if n := len(p.Log()); n != 20 {
			t.Errorf("%d messages, want 20", n)
		}
		if err := p.Run(ctx, []string{"a"}, 1, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a run cut short: %v", err)
		}
	})
}
