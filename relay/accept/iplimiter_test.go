package accept

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestIPLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::")
		l := NewIPLimiter(3, 2)
		take := func(address netip.Addr, want bool, comment string) {
			t.Helper()
			if got := l.Take(address); got != want {
				t.Errorf("%s: Take returns %v", comment, got)
			}
		}
		second := func() { <-time.After(time.Second) }
		take(one, true, "first")
		take(one, true, "second")
		take(one, false, "third in the same second")
		take(two, true, "another address")
		second()
		take(one, true, "third, a second later")
		take(one, false, "fourth open at the same time")
		second()
		take(one, false, "fourth open at the same time, a second later")
		l.Free(one)
		second()
		take(one, true, "after one has ended")
		for range 1000 {
			take(netip.Addr{}, true, "the zero Addr")
			l.Free(netip.Addr{})
		}
		for range 3 {
			l.Free(one)
		}
		l.Free(two)
		second()
		take(two, true, "after all have ended")
		l.Free(two)
		if len(l.open) != 0 || len(l.recent) != 1 {
			t.Errorf("the limiter still remembers %v open and %v recent", l.open, l.recent)
		}
	})
}

func TestIPLimiterWithoutLimits(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	for name, l := range map[string]*IPLimiter{"nil": nil, "zeros": NewIPLimiter(0, 0)} {
		for range 10_000 {
			if !l.Take(address) {
				t.Fatalf("%s: a connection is rejected", name)
			}
		}
		for range 10_000 {
			l.Free(address)
		}
	}
}

// A new client on an open connection counts for the limit of new ones only.
func TestIPLimiterArrive(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	synctest.Test(t, func(t *testing.T) {
		l := NewIPLimiter(1, 3)
		if !l.Take(address) || !l.Arrive(address) || !l.Arrive(address) {
			t.Error("a client is rejected below the limit")
		}
		if l.Arrive(address) {
			t.Error("a client is let through above the limit")
		}
		time.Sleep(time.Second)
		if !l.Arrive(address) {
			t.Error("a client is rejected in the next second")
		}
		l.Free(address)
		if len(l.open) != 0 {
			t.Errorf("%v are open", l.open)
		}
	})
}
