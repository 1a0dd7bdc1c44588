package relay

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// The history uses as much memory as the setting allows, and a tenth more at
// most: a million messages of 100 bytes over 10,000 channels, above an empty
// hub.
func TestHistoryBytes(t *testing.T) {
	const limit = 64 << 20
	hub := NewHub(HubConfig{HistoryBytes: limit, HistoryAge: time.Hour})
	hub.Online(1)
	inUse := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	empty := inUse()
	payload := make([]byte, 100)
	for i := range 1_000_000 {
		hub.Publish(fmt.Appendf(nil, "channel:%d", i%10_000), payload)
		if i%1000 == 0 {
			hub.Flush()
			hub.Marker(fmt.Appendf(nil, "%8d", i))
		}
	}
	used := inUse() - empty
	t.Logf("%d bytes of heap for %d of history", used, hub.HistoryBytes())
	if used > limit*11/10 || hub.HistoryBytes() > limit || hub.HistoryBytes() < limit*9/10 {
		t.Errorf("a history of %d bytes uses %d, and reports %d", limit, used, hub.HistoryBytes())
	}
	runtime.KeepAlive(hub)
}
