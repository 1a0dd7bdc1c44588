package counts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// late is how late a number may be if nothing fails.
const late = 5 * time.Second

// Clients at all relays are told the sum, and are told again when it changes.
func TestSums(t *testing.T) {
	w := newWorld(t, 1)
	a, b, c := w.start("a"), w.start("b"), w.start("c")
	a.join("chat", true)
	w.pass(late)
	w.want()
	b.join("chat", false)
	c.join("chat", true)
	c.join("chat", true)
	c.join("other", false)
	w.pass(late)
	w.want()
	if got := a.last("chat"); got != 4 {
		t.Errorf("the client is told %d", got)
	}
	c.leave("chat", true)
	b.leave("chat", false)
	w.pass(late)
	w.want()
	c.leave("chat", true)
	a.leave("chat", true)
	c.leave("other", false)
	w.pass(late)
	w.want()
	w.wantKeys()
	for _, r := range w.relays {
		if n := len(r.worker.channels) + len(r.worker.due) + len(r.worker.stale) + len(r.worker.dirty); n != 0 {
			t.Errorf("relay %s remembers %d channels that nobody is on", r.name, n)
		}
	}
}

// A client that joins is told the number, also if another one has left at the
// same time. Nobody is told again what has not changed.
func TestJoinedWhileAnotherLeft(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start("a")
	a.join("chat", true)
	w.pass(late)
	a.join("chat", true)
	a.leave("chat", true)
	w.pass(late)
	if got := a.told["chat"]; !slices.Equal(got, []int{1, 1}) {
		t.Errorf("the clients were told %v", got)
	}
	a.join("chat", false)
	w.pass(late)
	a.leave("chat", false)
	a.join("other", false)
	w.pass(late)
	w.pass(time.Minute)
	if got := a.told["chat"]; !slices.Equal(got, []int{1, 1, 2, 1}) {
		t.Errorf("the clients were told %v", got)
	}
}

// The clients of a large channel are told every few seconds only; relay.notify
// checks that.
func TestLargeChannel(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	a.join("chat", true)
	for range 40 {
		for range 10 {
			b.join("chat", false)
		}
		w.step(500 * time.Millisecond)
	}
	if n := len(a.told["chat"]); n < 4 || n > 12 {
		t.Errorf("the client was told %v", a.told["chat"])
	}
	w.pass(usual.large + 2*time.Second)
	w.want()
}

// After a relay is killed, its clients are not counted any more.
func TestKilledRelay(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	a.join("chat", true)
	b.join("chat", true)
	w.pass(late)
	w.want()
	w.kill(b)
	w.pass(30 * time.Second)
	w.want()
	w.wantKeys()
}

// A relay that stops is not counted any more at once.
func TestStoppedRelay(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	a.join("chat", true)
	b.join("chat", true)
	w.pass(late)
	w.stop(b)
	w.pass(late)
	w.want()
	w.wantKeys()
}

// A relay whose link was cut for longer than its lease is counted again when the
// link is back, and knows what has changed meanwhile.
func TestCutLink(t *testing.T) {
	for _, cut := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		t.Run(cut.String(), func(t *testing.T) {
			w := newWorld(t, 1)
			a, b := w.start("a"), w.start("b")
			for i := range 3 {
				a.join(name(i), true)
				b.join(name(i), true)
			}
			w.pass(late)
			b.link(false)
			w.step(0)
			a.join(name(0), true)
			b.leave(name(1), true)
			b.join(name(2), true)
			w.pass(cut)
			b.link(true)
			w.pass(late)
			w.want()
			w.wantKeys()
		})
	}
}

// If Redis loses its data, in a restart or without one, the relays write
// everything again. No client is told a number that is too low meanwhile.
func TestRedisLosesData(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cut   bool
		after time.Duration // until the numbers are right if some have changed
	}{
		{"restart", true, late},
		{"flushall", false, 10 * time.Second},
	} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprint(tt.name, seed), func(t *testing.T) {
				w := newWorld(t, seed)
				for i := range 3 {
					r := w.start(fmt.Sprint(i))
					r.join("chat", true)
					r.join(name(i), false)
				}
				w.pass(late + time.Duration(w.rand.Int64N(int64(late))))
				w.want()
				for _, r := range w.relays {
					r.told["chat"] = nil
					if tt.cut {
						r.link(false)
					}
				}
				w.wipe()
				for _, i := range w.rand.Perm(3) {
					w.step(time.Duration(w.rand.Int64N(int64(time.Second / 2))))
					w.relays[i].link(true)
				}
				w.relays[0].join("chat", true)
				w.pass(tt.after)
				w.want()
				w.wantKeys()
				for _, r := range w.relays {
					if slices.ContainsFunc(r.told["chat"], func(n int) bool { return n < 3 }) {
						t.Errorf("the clients of relay %s were told %v", r.name, r.told["chat"])
					}
				}
			})
		}
	}
}

// A relay that was removed from the list, although it runs, returns to it.
func TestRemovedFromList(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	a.join("chat", true)
	b.join("chat", true)
	w.pass(late)
	w.client.ZRem(t.Context(), a.list, b.relay)
	w.pass(2 * late)
	w.want()
	w.wantKeys()
}

// A relay that receives no messages of others reads everything from time to
// time.
func TestDeafRelay(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	a.link(false)
	a.deaf = true
	a.link(true)
	a.join("chat", true)
	b.join("chat", true)
	w.pass(late)
	for range 3 {
		b.join("chat", true)
		w.pass(usual.refresh + 2*time.Second)
		w.want()
	}
}

// If many channels change at once, the others are told to read everything, and
// if few do, only these.
func TestNews(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start("a")
	w.pass(late)
	for _, tt := range []struct {
		channels, messages int
		all                bool
	}{
		{1, 1, false},
		{maxFields, 1, false},
		{maxFields + 1, 2, false},
		{maxNews, maxNews / maxFields, false},
		{maxNews + 1, 1, true},
	} {
		for i := range tt.channels {
			a.worker.announce(name(i))
		}
		list := a.worker.messages()
		if len(list) != tt.messages || tt.all != (list[0] == a.relay) {
			t.Errorf("%d channels: %d messages, the first of %d bytes", tt.channels, len(list), len(list[0]))
		}
		for _, message := range list {
			if len(message) > maxBytes+len(a.relay)+2 {
				t.Errorf("a message of %d bytes", len(message))
			}
		}
		a.worker.news, a.worker.newsAll = nil, false
	}
}

// Changes of a second cost one write for each channel, and those that cancel out
// cost nothing: a client that subscribes and leaves does not reach Redis.
func TestChangesAreGathered(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start("a")
	w.pass(late)
	before := a.stats.CountsWrites.Load()
	for range 1000 {
		a.join("chat", false)
		a.leave("chat", false)
		a.join("other", true)
	}
	if n := len(a.changes.list); n != 1 {
		t.Errorf("%d channels wait", n)
	}
	w.pass(late)
	if n := a.stats.CountsWrites.Load() - before; n != 1 {
		t.Errorf("%d numbers were written", n)
	}
	w.want()
}

// A message that does not fit makes everything be read.
func TestInboxIsBounded(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	a.join("chat", true)
	b.join("chat", true)
	w.pass(2 * late) // both know each other
	b.join("chat", true)
	a.deaf = true
	w.step(time.Second)
	w.deliver()
	a.deaf = false
	for range 2 * inboxBytes / maxBytes {
		a.Receive([]byte(b.relay + "\n" + strings.Repeat("x", maxBytes)))
	}
	for range 2 * maxBytes / messageCharge {
		a.Receive([]byte(b.relay + "\nx"))
	}
	a.Receive([]byte(b.relay + "\nchat")) // is dropped
	if a.inbox.bytes > inboxBytes {
		t.Errorf("%d bytes wait", a.inbox.bytes)
	}
	w.pass(late)
	w.want()
}

// Channels returns those with a prefix, and fails if there are too many.
func TestChannelsWithPrefix(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a"), w.start("b")
	for _, name := range []string{"presence-1", "presence-2", "pre*", "pre?x", "chat"} {
		a.join(name, false)
		b.join(name, false)
	}
	w.pass(late)
	for prefix, want := range map[string]int{"": 5, "presence-": 2, "pre": 4, "pre*": 1, "pre?": 1, "x": 0} {
		got, err := b.Channels(t.Context(), prefix)
		if err != nil || len(got) != want {
			t.Errorf("prefix %q: %v, %v", prefix, got, err)
		}
	}
	var fields []any
	for i := range maxChannels {
		fields = append(fields, name(i), 1)
	}
	w.client.HSet(t.Context(), a.key(a.relay), fields...)
	if got, err := b.Channels(t.Context(), ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d channels, %v", len(got), err)
	}
	b.link(false)
	if _, err := b.Channels(t.Context(), ""); err == nil {
		t.Error("no error without Redis")
	}
	if _, err := b.Subscriptions(t.Context(), "chat"); err == nil {
		t.Error("no error without Redis")
	}
}
