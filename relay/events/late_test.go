package events

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// advance lets keys expire as if d had passed.
func (s *server) advance(d time.Duration) {
	s.t.Helper()
	for _, key := range s.client.Keys(s.t.Context(), "*").Val() {
		if left := s.client.PTTL(s.t.Context(), key).Val(); left > 0 {
			s.client.PExpire(s.t.Context(), key, left-d) // deletes the key if that is not positive
		}
	}
}

// A relay whose link was down while the others judged a message does not report
// it again.
func TestLateRelay(t *testing.T) {
	for name, places := range map[string][2]string{
		"both know the place":                {cursor(1, 1), cursor(1, 1)},
		"no relay knows the place":           {"", ""},
		"only the first one knows the place": {cursor(1, 1), ""},
		"only the late one knows the place":  {"", cursor(1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			for _, place := range places {
				u := s.unheard()
				u.Message([]byte("user:1"), []byte("a"), []byte(place))
				u.judgeNow(t, 3*time.Second)
				s.advance(oldestNote)
			}
			if n := len(s.entries()); n != 1 {
				t.Errorf("%d events, want 1", n)
			}
		})
	}
}

// Equal messages without a common cursor are two if there is some time between
// them.
func TestEqualMessages(t *testing.T) {
	s := newServer(t)
	u := s.unheard()
	for _, ago := range []time.Duration{60 * time.Second, 50 * time.Second, 40 * time.Second, 30 * time.Second} {
		u.Message([]byte("user:1"), []byte("a"), nil)
		u.judgeNow(t, ago)
	}
	if n := len(s.entries()); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// A message that is too old to be judged is dropped and counted. Later ones stay.
func TestOldMessages(t *testing.T) {
	u := newServer(t).unheard()
	for range 3 {
		u.Message([]byte("user:1"), nil, nil)
	}
	u.queue[0].at = time.Now().Add(-oldestNote)
	u.queue[1].at = time.Now().Add(-oldestNote + time.Minute)
	u.dropOld(time.Now())
	if n := u.cfg.Stats.EventsDropped.Load(); len(u.queue) != 2 || n != 1 {
		t.Errorf("%d messages remain, %d are counted as dropped", len(u.queue), n)
	}
	u.dropOld(time.Now().Add(oldestNote))
	if len(u.queue) != 0 || u.bytes != 0 {
		t.Errorf("%d messages with %d bytes remain", len(u.queue), u.bytes)
	}
}

// Messages count as heard also if the listener has left, or has left and
// returned, when they are judged.
func TestPastLeases(t *testing.T) {
	const ago = 20 * time.Second // the message
	left := func(u *Unheard, ago time.Duration) { u.leases["user:1"].left = time.Now().Add(-ago) }
	for name, change := range map[string]func(s *server, u *Unheard){
		"long ago": func(s *server, u *Unheard) {
			s.advance(oldestNote)
		},
		"during an outage, and Redis lost its data": func(s *server, u *Unheard) {
			u.Leave("user:1")
			left(u, 10*time.Second)
			u.renewSoon()
			s.redis.CLI("FLUSHALL")
			u.Online()
			u.renew(time.Now())
			u.writeChanges(t.Context())
		},
		"during an outage, and returned": func(s *server, u *Unheard) {
			u.Leave("user:1")
			left(u, 10*time.Second)
			u.Listen("user:1")
			s.redis.CLI("FLUSHALL")
			u.Online()
			u.renew(time.Now())
			u.writeChanges(t.Context())
		},
		"and returned": func(s *server, u *Unheard) {
			u.Leave("user:1")
			left(u, 10*time.Second)
			u.writeChanges(t.Context())
			u.Listen("user:1")
			if since := time.Since(u.leases["user:1"].since); since > time.Minute {
				s.t.Errorf("the new lease began %v ago", since)
			}
			u.writeChanges(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			u, other := s.unheard(), s.unheard()
			u.Listen("user:1")
			u.leases["user:1"].since = time.Now().Add(-time.Hour)
			u.writeChanges(t.Context())
			change(s, u)
			other.Message([]byte("user:1"), nil, []byte(cursor(1, 1)))
			other.judgeNow(t, ago)
			if n := len(s.entries()); n != 0 {
				t.Errorf("%d events, want none", n)
			}
		})
	}
}

// A lease begins when the listener came, also if Redis stood still then.
func TestLeaseIsWrittenSlowly(t *testing.T) {
	s := newServer(t)
	u, other := s.unheard(), s.unheard()
	stalled := false
	u.cfg.Redis = func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
		if !stalled {
			stalled = true
			time.Sleep(2 * judgeSlack)
		}
		return s.do(ctx, f)
	}
	u.Listen("user:1")
	other.Message([]byte("user:1"), nil, []byte(cursor(1, 1)))
	arrived := time.Now()
	for u.writeChanges(t.Context()); len(u.dirty) > 0; {
		u.writeChanges(t.Context())
	}
	other.judgeNow(t, time.Since(arrived))
	if n := len(s.entries()); n != 0 {
		t.Errorf("%d events, want none", n)
	}
}
