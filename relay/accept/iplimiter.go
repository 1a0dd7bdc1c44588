package accept

import (
	"net/netip"
	"sync"
	"time"
)

// An IPLimiter limits the connections from one client address: how many are
// open at a time, and how many are new in each second. It forgets an address
// without open connections after a second. It is safe for concurrent use; a nil
// *IPLimiter has no limits.
type IPLimiter struct {
	maxOpen, maxPerSecond int // 0: no limit
	started               time.Time

	mu     sync.Mutex
	open   map[netip.Addr]int
	recent map[netip.Addr]int // connections since the current second began
	second int64              // the current second, counted from started
}

// NewIPLimiter returns a limiter for open connections and for new connections
// per second; 0 means no limit.
func NewIPLimiter(open, perSecond int) *IPLimiter {
	return &IPLimiter{
		maxOpen: open, maxPerSecond: perSecond, started: time.Now(),
		open: make(map[netip.Addr]int), recent: make(map[netip.Addr]int),
	}
}

// Take counts a connection from address and reports whether the limits allow
// it. If they do, the caller calls [IPLimiter.Free] when the connection ends.
// The zero Addr has no limits.
func (l *IPLimiter) Take(address netip.Addr) bool {
	if l == nil || !address.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.arriveLocked(address) {
		return false
	}
	if l.maxOpen > 0 && l.open[address] >= l.maxOpen {
		return false
	}
	l.open[address]++
	return true
}

// Arrive counts a new client on a connection that [IPLimiter.Take] counted
// before, and reports whether the limit of new ones per second allows it.
func (l *IPLimiter) Arrive(address netip.Addr) bool {
	if l == nil || !address.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arriveLocked(address)
}

func (l *IPLimiter) arriveLocked(address netip.Addr) bool {
	if second := int64(time.Since(l.started) / time.Second); second != l.second {
		l.second = second
		clear(l.recent)
	}
	if l.maxPerSecond > 0 {
		if l.recent[address] >= l.maxPerSecond {
			return false
		}
		l.recent[address]++
	}
	return true
}

// Free ends a connection that [IPLimiter.Take] allowed.
func (l *IPLimiter) Free(address netip.Addr) {
	if l == nil || !address.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[address]--; l.open[address] <= 0 {
		delete(l.open, address)
	}
}
