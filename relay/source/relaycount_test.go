package source

import (
	"testing"
	"time"
)

func TestRelayCount(t *testing.T) {
	l := &Link{probe: new(probe)}
	c, begin := &l.probe.relays, time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	want := func(why string, n int) {
		t.Helper()
		if got := l.Relays(); got != n {
			t.Errorf("%s: %d relays, want %d", why, got, n)
		}
	}
	a, b := [8]byte{1}, [8]byte{2}
	want("without a marker", 1)
	c.received(a, at(0))
	want("its own marker", 1)
	c.received(b, at(2))
	c.received(b, at(7))
	want("those of another relay", 2)
	c.received(a, at(21))
	want("the other one is late", 2)
	c.received(a, at(26))
	want("the other one has stopped", 1)
	c.received(b, at(27))
	c.begin(at(600))
	c.received(a, at(601))
	want("after a long outage", 2)
	c.received(a, at(620))
	want("the other one did not come back", 1)
	for n := range 2 * maxRelays {
		c.received([8]byte{3, byte(n), byte(n >> 8)}, at(620))
	}
	want("a flood", maxRelays)
}
