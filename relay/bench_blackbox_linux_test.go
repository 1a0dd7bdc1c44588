package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/blackbox"
)

// BenchmarkBlackBox is what CPU time the hub takes for a delivery with a black box and without, for messages to one, 100 or all of
// 5,000 clients. Both take turns, so that a busy machine slows both. The last metric is the cost of a million deliveries a second, in
// percent of a core.
func BenchmarkBlackBox(b *testing.B) {
	for _, listeners := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint("to-", listeners), func(b *testing.B) {
			box, err := blackbox.Open(16<<20, "")
			if err != nil {
				b.Fatal(err)
			}
			without, with := boxBench(b, nil, listeners), boxBench(b, box, listeners)
			without()
			with()
			var base, cost []float64
			for b.Loop() {
				before, other := without(), with()
				base, cost = append(base, before), append(cost, other-before)
			}
			slices.Sort(base)
			slices.Sort(cost)
			b.ReportMetric(base[len(base)/2], "ns/delivery-without")
			b.ReportMetric(cost[len(cost)/2], "ns/delivery-more")
			b.ReportMetric(cost[len(cost)/2]/10, "%core@1M/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// boxBench returns a function that makes about 100,000 deliveries, and returns the CPU time of one.
func boxBench(b *testing.B, box *blackbox.Box, listeners int) func() float64 {
	const clients, deliveries, batch = 5000, 100_000, 64
	hub, _ := coldHub(b, clients, box, func(i int) string { return fmt.Sprint("c", i/listeners) })
	names := make([][]byte, clients/listeners)
	for i := range names {
		names[i] = fmt.Append(nil, "c", i)
	}
	payload, next := []byte(strings.Repeat("x", 128)), 0
	return func() float64 {
		began := cpu()
		for n := range deliveries / listeners {
			hub.Publish(names[next], payload)
			if next = (next + 7) % len(names); n%batch == batch-1 {
				hub.Flush()
			}
		}
		hub.Flush()
		hub.AwaitDelivered()
		return float64(cpu()-began) / deliveries
	}
}
