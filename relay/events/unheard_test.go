package events

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

func (s *server) unheard() *Unheard {
	return NewUnheard(UnheardConfig{
		Config: s.config(), Names: access.NewNames("", ""),
		Patterns: access.Patterns{access.MustPattern("user:*"), access.MustPattern("order:*")},
	})
}

// cursor returns a cursor that names message number n on a channel.
func cursor(node, n byte) string {
	return base64.RawURLEncoding.EncodeToString([]byte{1, node, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, n, 9, 9, 9, 9})
}

// take returns the messages that wait to be judged, as if they had arrived that
// long ago.
func (u *Unheard) take(ago time.Duration) []note {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.queue
	u.queue, u.bytes = nil, 0
	for i := range taken {
		taken[i].at = time.Now().Add(-ago)
	}
	return taken
}

// judgeNow judges the messages that wait, as if they had arrived that long ago.
func (u *Unheard) judgeNow(t *testing.T, ago time.Duration) {
	t.Helper()
	if !u.judgeAll(t.Context(), u.take(ago)) {
		t.Fatal("the messages were not judged")
	}
}

// cursors returns the cursors of the events, in their order.
func (s *server) cursors() string {
	s.t.Helper()
	var list []string
	for _, e := range s.entries() {
		if e.Kind != protocol.ReportUnheard.String() || e.MS == 0 {
			s.t.Errorf("the stream contains %+v", e)
		}
		list = append(list, e.Channel+" "+e.Cursor)
	}
	return strings.Join(list, ", ")
}

// A message is unheard unless a lease of any relay covers its time.
func TestLeaseCovers(t *testing.T) {
	const ago = 10 * time.Second // the message
	for name, tt := range map[string]struct {
		since, ends time.Duration // of the lease, relative to the message
		unheard     bool
	}{
		"a listener since long":                      {-time.Hour, 20 * time.Second, false},
		"it left, and its time of grace goes on":     {-time.Hour, time.Second, false},
		"it left before":                             {-time.Hour, -time.Second, true},
		"it joined after the message":                {2 * time.Second, 40 * time.Second, true},
		"it joined at about the time of the message": {100 * time.Millisecond, 40 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			at := time.Now().Add(-ago)
			lease := fmt.Sprint(at.Add(tt.since).UnixMilli(), " ", at.Add(tt.ends).UnixMilli())
			s.redis.CLI("HSET", "sidecast:listeners:user:1", "other", lease)
			u := s.unheard()
			u.Message([]byte("user:1"), []byte("hello"), []byte(cursor(1, 1)))
			u.judgeNow(t, ago)
			if got := s.client.XLen(t.Context(), testStream).Val(); (got == 1) != tt.unheard {
				t.Errorf("%d events, unheard should be %v", got, tt.unheard)
			}
		})
	}
}

// The leases of a relay, from the first subscriber until after the last.
func TestLeases(t *testing.T) {
	s := newServer(t)
	u := s.unheard()
	stop := run(t, u.Run)
	lease := func(channel string) (since, ends time.Duration) {
		t.Helper()
		var from, to int64
		eventually(t, func() string {
			text := s.client.HGet(t.Context(), "sidecast:listeners:"+channel, u.relay).Val()
			if n, _ := fmt.Sscan(text, &from, &to); n != 2 {
				return "there is no lease on " + channel
			}
			return ""
		})
		now := s.client.Time(t.Context()).Val().UnixMilli()
		return time.Duration(from-now) * time.Millisecond, time.Duration(to-now) * time.Millisecond
	}
	u.Listen("user:1")
	u.Listen("user:2")
	u.Listen("chat") // no pattern matches it
	if _, ends := lease("user:1"); ends < leaseTime/2 || ends > leaseTime {
		t.Errorf("the lease lasts %v", ends)
	}
	_, _ = lease("user:2")
	u.Leave("user:1")
	eventually(t, func() string {
		if _, ends := lease("user:1"); ends > leaseGrace {
			return fmt.Sprintf("the lease lasts %v after the last subscriber left", ends)
		}
		return ""
	})
	u.Listen("user:1")
	eventually(t, func() string {
		if _, ends := lease("user:1"); ends < leaseTime/2 {
			return fmt.Sprintf("the lease lasts %v after a subscriber returned", ends)
		}
		return ""
	})
	s.redis.CLI("FLUSHALL")
	u.Online()
	if since, _ := lease("user:2"); since > 0 {
		t.Errorf("after Redis lost its data, the lease begins at %v", since)
	}
	stop()
	if _, ends := lease("user:1"); ends > leaseGrace {
		t.Errorf("after the relay has stopped, its lease lasts %v", ends)
	}
	if keys := s.redis.CLI("KEYS", "*chat*"); keys != "" {
		t.Errorf("Redis has the keys %s", keys)
	}
	if ttl := s.client.PTTL(t.Context(), "sidecast:listeners:user:1").Val(); ttl <= leaseTime || ttl > leaseMemory {
		t.Errorf("the key with the leases expires in %v", ttl)
	}
}

// While Redis is away, what has to be written is bounded by the channels that
// have, or had just now, a subscriber.
func TestLeasesWhileRedisIsAway(t *testing.T) {
	s := newServer(t)
	u := s.unheard()
	for range 3 {
		for i := range 1000 {
			channel := fmt.Sprint("user:", i)
			u.Listen(channel)
			u.Leave(channel)
		}
	}
	if len(u.dirty) != 1000 {
		t.Errorf("%d leases have to be written, want 1000", len(u.dirty))
	}
	for _, held := range u.leases {
		held.left = time.Now().Add(-leaseGrace - oldestNote)
	}
	u.renewSoon()
	if batch := u.nextLeases(); len(u.leases)+len(u.renewals)+len(u.dirty)+len(u.stale)+len(batch.channels) != 0 {
		t.Errorf("%d leases remain, and %d are written", len(u.leases), len(batch.channels))
	}
}

// renewSoon renews all leases as if their time had come.
func (u *Unheard) renewSoon() {
	for i := range u.renewals {
		u.renewals[i].at = time.Now()
	}
	for u.renew(time.Now()) {
	}
}

// Renewals are spread, so that nobody waits for many of them: neither messages
// for the lock, nor a new listener for its lease.
func TestRenewals(t *testing.T) {
	u := newServer(t).unheard()
	for i := range 3 * leaseBatch {
		u.Listen(fmt.Sprint("user:", i))
	}
	for len(u.nextLeases().channels) > 0 {
	}
	for range 2 {
		u.Online()
		if !u.renew(time.Now()) || len(u.stale) != leaseBatch {
			t.Fatalf("%d leases are renewed at once", len(u.stale))
		}
		u.Listen("user:new")
		for u.renew(time.Now()) {
		}
		if batch := u.nextLeases(); len(batch.channels) != leaseBatch || batch.channels[0] != "user:new" {
			t.Errorf("%d leases are written, the first one on %s", len(batch.channels), batch.channels[0])
		}
		written := leaseBatch
		for n := 1; n > 0; written += n {
			n = len(u.nextLeases().channels)
		}
		if want := 3*leaseBatch + 1; written != want || len(u.renewals) != want {
			t.Errorf("%d leases were written, %d will be, want %d", written, len(u.renewals), want)
		}
	}
}

// A relay writes its leases in few commands, and removes those of relays that
// have ended long ago.
func TestLeaseBatches(t *testing.T) {
	s := newServer(t)
	for i := range 20 {
		s.redis.CLI("HSET", "sidecast:listeners:user:0", fmt.Sprint("old", i), "1000 2000")
	}
	u := s.unheard()
	for i := range 1100 {
		u.Listen(fmt.Sprint("user:", i))
	}
	s.redis.CLI("CONFIG", "RESETSTAT")
	if !u.writeChanges(t.Context()) {
		t.Fatal("the leases were not written")
	}
	if keys := s.client.DBSize(t.Context()).Val(); keys != 1100 {
		t.Errorf("there are leases on %d channels", keys)
	}
	if calls := s.redis.CLI("INFO", "commandstats"); !strings.Contains(calls, "cmdstat_evalsha:calls=3,") || !strings.Contains(calls, "cmdstat_eval:calls=1,") {
		t.Errorf("the commands were\n%s", calls)
	}
	if n := s.client.HLen(t.Context(), "sidecast:listeners:user:0").Val(); n != 1 {
		t.Errorf("%d relays hold a lease, want 1", n)
	}
}

// Three relays write one event for each message, however they name it.
func TestElection(t *testing.T) {
	const long = 3 * time.Second
	for name, tt := range map[string]struct {
		messages [3][]string // payload and cursor, at each relay, in the order in which they judge
		want     string
	}{
		"all know the place": {
			[3][]string{{"a", cursor(1, 1)}, {"a", cursor(1, 1)}, {"a", cursor(1, 1)}},
			"user:1 " + cursor(1, 1),
		},
		"the server has no identity": {
			[3][]string{{"a", cursor(1, 1)}, {"a", cursor(2, 1)}, {"a", cursor(3, 1)}},
			"user:1 " + cursor(1, 1),
		},
		"equal messages": {
			[3][]string{{"a", cursor(1, 1), "a", cursor(1, 2)}, {"a", cursor(1, 1), "a", cursor(1, 2)}, {"a", cursor(1, 1), "a", cursor(1, 2)}},
			"user:1 " + cursor(1, 1) + ", user:1 " + cursor(1, 2),
		},
		"a relay was connected just now, and asks first": {
			[3][]string{{"a", ""}, {"a", cursor(1, 1), "a", cursor(1, 2)}, {"a", cursor(1, 1), "a", cursor(1, 2)}},
			"user:1 , user:1 " + cursor(1, 2),
		},
		"a relay was connected just now, and asks last": {
			[3][]string{{"a", cursor(1, 1), "b", cursor(1, 2)}, {"a", cursor(1, 1), "b", cursor(1, 2)}, {"a", "", "b", ""}},
			"user:1 " + cursor(1, 1) + ", user:1 " + cursor(1, 2),
		},
		"no relay knows the place": {
			[3][]string{{"a", "", "b", ""}, {"a", "", "b", ""}, {"a", "", "b", ""}},
			"user:1 , user:1 ",
		},
		"a relay was killed": {
			[3][]string{nil, {"a", cursor(1, 1)}, nil},
			"user:1 " + cursor(1, 1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			for _, messages := range tt.messages {
				u := s.unheard()
				for i := 0; i < len(messages); i += 2 {
					u.Message([]byte("user:1"), []byte(messages[i]), []byte(messages[i+1]))
				}
				u.judgeNow(t, long)
			}
			if got := s.cursors(); got != tt.want {
				t.Errorf("events %q, want %q", got, tt.want)
			}
			for _, key := range s.client.Keys(t.Context(), "sidecast:unheard:*").Val() {
				if ttl := s.client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > electionMemory {
					t.Errorf("%s expires in %v", key, ttl)
				}
			}
		})
	}
}

// Messages are judged when the leases of all relays are in Redis: some time
// after they arrived, and later if the link broke in between.
func TestWhenMessagesAreJudged(t *testing.T) {
	u := NewUnheard(UnheardConfig{Patterns: access.Patterns{access.MustPattern("*")}})
	u.Message([]byte("user:1"), nil, nil)
	arrived := u.queue[0].at
	for name, tt := range map[string]struct {
		now   time.Duration
		again time.Duration // when the link began again; 0 if it did not
		want  int
	}{
		"too early":            {judgeAfter - 1, 0, 0},
		"in time":              {judgeAfter + judgeSpread, 0, 1},
		"the link broke":       {judgeAfter + judgeSpread, time.Second, 0},
		"some time after that": {time.Second + leaseTime + judgeSpread, time.Second, 1},
		"it broke later":       {judgeAfter + judgeSpread + 1, judgeAfter + judgeSpread, 0},
	} {
		u.epoch, u.began = 0, time.Time{}
		if tt.again != 0 {
			u.epoch, u.began = 1, arrived.Add(tt.again)
		}
		if batch, wait := u.nextNotes(arrived.Add(tt.now)); len(batch) != tt.want || (len(batch) == 0) != (wait > 0) {
			t.Errorf("%s: %d messages are judged, want %d; wait %v", name, len(batch), tt.want, wait)
		}
	}
}

// The messages that wait are bounded in bytes, and what exceeds that is counted.
func TestNotesAreBounded(t *testing.T) {
	u := NewUnheard(UnheardConfig{Patterns: access.Patterns{access.MustPattern("*")}})
	channel := []byte(strings.Repeat("x", access.MaxChannelName))
	for range 100_000 {
		u.Message(channel, nil, []byte(cursor(1, 1)))
	}
	dropped := int(u.cfg.Stats.EventsDropped.Load())
	if dropped == 0 || len(u.queue)+dropped != 100_000 || u.bytes > noteBytes {
		t.Errorf("%d messages wait with %d bytes, %d were dropped", len(u.queue), u.bytes, dropped)
	}
}

// xadd adds an entry to a stream and returns its id.
func (s *server) xadd(stream string) string {
	s.t.Helper()
	id, err := s.client.XAdd(s.t.Context(), &redis.XAddArgs{Stream: stream, Values: []any{"data", "x"}}).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// Each entry of a stream is reported once, also if its nudge was lost, and not
// if it was added while the channel had a listener.
func TestUnheardEntries(t *testing.T) {
	s := newServer(t)
	a, b, other := s.unheard(), s.unheard(), s.unheard()
	added := time.Now() // the last entry, so that a slow machine makes no difference
	add := func() string {
		t.Helper()
		id := s.xadd("order:7")
		added = time.Now()
		return id
	}
	nudge := func() {
		t.Helper()
		for _, u := range []*Unheard{a, b} {
			u.Nudge([]byte("order:7"))
			u.judgeNow(t, time.Since(added))
		}
	}
	var want []string
	expect := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			want = append(want, "order:7 "+id)
		}
		if got := s.cursors(); got != strings.Join(want, ", ") {
			t.Errorf("events %s\nwant %s", got, strings.Join(want, ", "))
		}
	}
	s.redis.CLI("XADD", "order:7", "1000-1", "data", "an old one")
	nudge()
	expect() // it was not added now
	first := add()
	nudge()
	expect(first)
	nudge()
	expect() // nothing new
	lost, second := add(), add()
	nudge()
	expect(lost, second)

	other.Listen("order:7")
	other.writeChanges(t.Context())
	add()
	nudge()
	expect() // it is heard
	add()    // all relays have a listener now: no relay judges this one
	other.leases["order:7"].since = time.Now().Add(-time.Hour)
	other.leaveAll()
	other.leases["order:7"].left = time.Now().Add(-leaseGrace + time.Millisecond)
	other.writeChanges(t.Context())
	time.Sleep(streamLookback + 10*time.Millisecond)
	last := add()
	nudge()
	expect(last)
	many := []string{}
	for range 3 * streamPage {
		many = append(many, add())
	}
	nudge()
	expect(many...)
}

// Reports go on after Redis has forgotten the scripts.
func TestScriptsAreLoadedAgain(t *testing.T) {
	s := newServer(t)
	u := s.unheard()
	for i := range 3 {
		u.Message([]byte("user:1"), nil, []byte(cursor(1, byte(i))))
		u.judgeNow(t, time.Minute/2)
		s.redis.CLI("SCRIPT", "FLUSH")
	}
	if n := len(s.entries()); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

// Without rights, the log says what to grant, and the messages are counted as
// dropped. A server that cannot answer now is asked again.
func TestUnheardWithoutRights(t *testing.T) {
	s := newServer(t)
	var log strings.Builder
	u := s.unheard()
	u.cfg.Config = s.logTo(&log)
	s.redis.CLI("ACL", "SETUSER", "default", "-set")
	u.Message([]byte("user:1"), nil, []byte(cursor(1, 1)))
	u.judgeNow(t, time.Minute)
	if !strings.Contains(log.String(), "grant +evalsha") || u.cfg.Stats.EventsDropped.Load() != 1 {
		t.Errorf("%d messages dropped, log %s", u.cfg.Stats.EventsDropped.Load(), &log)
	}
	s.redis.CLI("ACL", "SETUSER", "default", "+@all")
	s.redis.CLI("CONFIG", "SET", "min-replicas-to-write", "1")
	u.Message([]byte("user:1"), nil, []byte(cursor(1, 1)))
	batch := u.take(time.Minute)
	if u.judgeAll(t.Context(), batch) {
		t.Error("a server that accepts no writes has judged a message")
	}
	s.redis.CLI("CONFIG", "SET", "min-replicas-to-write", "0")
	if !u.judgeAll(t.Context(), batch) || len(s.entries()) != 1 {
		t.Error("the message was not judged afterwards")
	}
}

// While the link is down, messages wait.
func TestUnheardWhileRedisIsAway(t *testing.T) {
	s := newServer(t)
	s.down.Store(true)
	u := s.unheard()
	u.Message([]byte("user:1"), nil, []byte(cursor(1, 1)))
	if batch := u.take(time.Minute); u.judgeAll(context.Background(), batch) {
		t.Error("a message was judged without Redis")
	}
	u.Listen("user:2")
	if u.writeChanges(t.Context()) || len(u.dirty) != 1 {
		t.Errorf("a lease was written without Redis; %v remain", u.dirty)
	}
}
