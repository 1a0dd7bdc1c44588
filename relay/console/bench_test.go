package console

import (
	"fmt"
	"testing"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/stats"
)

// BenchmarkSample measures one sample with full tables, of a second with 1,000
// messages. One is computed per second, so 10 ms would be 1 % of a core.
func BenchmarkSample(b *testing.B) {
	s := new(stats.Stats)
	for i := range s.Closed {
		s.Closed[i].Add(i + 1)
	}
	for i := range s.Rejected {
		s.Rejected[i].Add(i + 1)
	}
	box := newBox(b)
	c := New(Config{Stats: s, BlackBox: box})
	now := time.Now()
	c.feed.join(now)
	bytes := 0
	for b.Loop() {
		b.StopTimer()
		for i := range 1000 {
			box.Message(nil, fmt.Appendf(nil, "room:%d", i%200), blackbox.Message{Size: 100, Heard: i})
		}
		now = now.Add(interval)
		b.StartTimer()
		bytes = len(c.feed.next(now))
	}
	b.ReportMetric(float64(bytes), "bytes/sample")
}
