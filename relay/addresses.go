package relay

import (
	"net/netip"
	"sync"
	"time"
)

// Addresses bounds what one client address may have: connections open, and new
// ones a second. It is safe for concurrent use; a nil one bounds nothing. It
// remembers no address that has nothing open for longer than a second.
type Addresses struct {
	open, perSecond int // 0 for no bound
	began           time.Time

	mu     sync.Mutex
	held   map[netip.Addr]int
	fresh  map[netip.Addr]int // connections since the second began
	second int64
}

// NewAddresses returns the bounds; 0 stands for none.
func NewAddresses(open, perSecond int) *Addresses {
	return &Addresses{
		open: open, perSecond: perSecond, began: time.Now(), held: make(map[netip.Addr]int), fresh: make(map[netip.Addr]int),
	}
}

// Take takes a place for a connection from address, and reports whether there
// was one. It is to be freed by [Addresses.Free]. The zero Addr has no bounds.
func (a *Addresses) Take(address netip.Addr) bool {
	if a == nil || !address.IsValid() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if second := int64(time.Since(a.began) / time.Second); second != a.second {
		a.second = second
		clear(a.fresh)
	}
	if a.perSecond > 0 {
		if a.fresh[address] >= a.perSecond {
			return false
		}
		a.fresh[address]++
	}
	if a.open > 0 && a.held[address] >= a.open {
		return false
	}
	a.held[address]++
	return true
}

// Free gives back what Take took.
func (a *Addresses) Free(address netip.Addr) {
	if a == nil || !address.IsValid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[address]--; a.held[address] <= 0 {
		delete(a.held, address)
	}
}
