package console

import (
	"fmt"
	"testing"
	"time"

	"sidecast/relay/stats"
)

// BenchmarkSample measures one sample with all its tables full. One is computed
// per second, so 10 ms would be 1 % of a core.
func BenchmarkSample(b *testing.B) {
	s := new(stats.Stats)
	for i := range s.Closed {
		s.Closed[i].Add(i + 1)
	}
	for i := range s.Rejected {
		s.Rejected[i].Add(i + 1)
	}
	c := New(Config{Stats: s})
	now := time.Now()
	c.feed.join(now)
	for i := range 100_000 {
		c.cfg.Busiest.Message(fmt.Appendf(nil, "room:%d", i%1000), 100, i)
	}
	bytes := 0
	for b.Loop() {
		now = now.Add(interval)
		c.cfg.Busiest.Message([]byte("room:1"), 1e6, 1)
		bytes = len(c.feed.next(now))
	}
	b.ReportMetric(float64(bytes), "bytes/sample")
}
