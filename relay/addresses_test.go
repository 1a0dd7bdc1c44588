package relay

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::")
		a := NewAddresses(3, 2)
		take := func(address netip.Addr, want bool, comment string) {
			t.Helper()
			if got := a.Take(address); got != want {
				t.Errorf("%s: %v", comment, got)
			}
		}
		second := func() { <-time.After(time.Second) }
		take(one, true, "first")
		take(one, true, "second")
		take(one, false, "third in this second")
		take(two, true, "another address")
		second()
		take(one, true, "third, a second later")
		take(one, false, "fourth open at once")
		second()
		take(one, false, "still open at once")
		a.Free(one)
		second()
		take(one, true, "after one has gone")
		for range 1000 {
			take(netip.Addr{}, true, "not counted")
			a.Free(netip.Addr{})
		}
		for range 3 {
			a.Free(one)
		}
		a.Free(two)
		second()
		take(two, true, "again")
		a.Free(two)
		if len(a.held) != 0 || len(a.fresh) != 1 {
			t.Errorf("remembers %v open, %v fresh", a.held, a.fresh)
		}
	})
}

// 0 is no bound, and so is no Addresses.
func TestAddressesUnbounded(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	for name, a := range map[string]*Addresses{"nil": nil, "zeros": NewAddresses(0, 0)} {
		for range 10_000 {
			if !a.Take(address) {
				t.Fatalf("%s: refused", name)
			}
		}
		for range 10_000 {
			a.Free(address)
		}
	}
}
