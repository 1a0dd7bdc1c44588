package events

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A channel whose key is no stream does not keep other messages from being
// reported, and counts as one that was dropped.
func TestUnheardBesideAnotherType(t *testing.T) {
	s := newServer(t)
	var log strings.Builder
	u := s.unheard()
	u.cfg.Config = s.logTo(&log)
	s.redis.CLI("SET", "order:1", "a string")
	id := s.xadd("order:2")
	for _, channel := range []string{"order:1", "order:2"} {
		u.Nudge([]byte(channel))
	}
	u.Message([]byte("user:1"), nil, []byte(cursor(1, 1)))
	u.judgeNow(t, 0)
	if got, want := s.cursors(), "user:1 "+cursor(1, 1)+", order:2 "+id; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if n := u.cfg.Stats.EventsDropped.Load(); n != 1 || !strings.Contains(log.String(), "WRONGTYPE") {
		t.Errorf("%d messages dropped, log %s", n, &log)
	}
}

// Nudges are judged at a Redis that is so far away that all of them take longer
// than the timeout of the link.
func TestUnheardEntriesFarAway(t *testing.T) {
	s := newServer(t)
	u := s.unheard()
	const timeout, roundTrip = 600 * time.Millisecond, 20 * time.Millisecond
	s.client.AddHook(slow(roundTrip))
	u.cfg.Redis = func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return f(ctx, s.client)
	}
	for i := range judgeBatch {
		channel := fmt.Sprint("order:", i)
		s.redis.CLI("XADD", channel, "*", "data", "x")
		u.Nudge([]byte(channel))
	}
	batch := u.take(0)
	eventually(t, func() string {
		if !u.judgeAll(t.Context(), batch) {
			return "the messages were not judged"
		}
		return ""
	})
	if n := len(s.entries()); n != judgeBatch {
		t.Errorf("%d events, want %d", n, judgeBatch)
	}
}

// slow is a hook that adds a delay to each round trip.
type slow time.Duration

func (d slow) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d slow) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		sleep(ctx, time.Duration(d))
		if err := ctx.Err(); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func (d slow) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		sleep(ctx, time.Duration(d))
		if err := ctx.Err(); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}
