package server_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

// BenchmarkTargets measures the targets for the relay's speed and memory. At
// the end it prints a table that shows which targets are met:
//
//	go test -run '^$' -bench Targets -benchtime 1x ./relay/server
//
// To run a single workload, add its name: -bench 'Targets/unicast'. The cost of
// a delivery is the CPU time of this process; the clients, the publisher and
// Redis run in other processes. The cost is compared with a floor: one sendto
// of a prebuilt frame for each delivery, in a loop that does nothing else, to
// the same sockets with the same readers. Relay and floor take turns every 200
// ms. A ratio is the median of the ratios of adjacent turns, so that other load
// on the machine slows both. The column "half" has the first and the third
// quartile.
//
// The row "%-in-sendto" has the share of CPU samples in the relay's only system
// call for a delivery. The workload also prints the ten functions with the most
// samples:
//
//	go test -run '^$' -bench Targets/profile -benchtime 1x -v ./relay/server
func BenchmarkTargets(b *testing.B) {
	var table []result
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			for _, f := range w.measure(b) {
				b.ReportMetric(f.median(), f.unit)
				table = append(table, result{w.name, f})
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	printTable(table)
}

// A workload is one row of the table, or several rows that are measured
// together.
type workload struct {
	name    string
	measure func(*testing.B) []figure
}

var workloads = []workload{
	{"idle-10000", idle},
	{"idle-10000-v1", idleV1},
	{"idle-10000-pusher", idlePusher},
	{"idle-10000-goroutines", idleGoroutine},
	{"idle-10000-tls", idleTLS},
	{"clients-19000", many},
	{"fan-out-1000", fanout(1000, 1, 1.10)},
	{"fan-out-5000", fanout(5000, 1, 1.10)},
	{"fan-out-10000", fanout(10_000, 1, 1.10)},
	{"fan-out-5000-by-2", fanout(5000, 2, 0.60)},
	{"fan-out-5000-by-8", fanout(5000, 8, 0.20)},
	{"fan-out-5000-by-32", fanout(5000, 32, 0.08)},
	{"fan-out-5000-pusher", fanoutPusher(5000, 1, 1.10)},
	{"profile-5000", profile},
	{"unicast-5000", unicast},
	{"unicast-5000-with-redis", unicastRedis},
	{"unicast-5000-outside", unicastOutside},
	{"ingest", ingest},
	{"ingest with history", ingestWithHistory},
	{"stuck-100-of-1000", stuck},
	{"tls-1000", fanoutTLS(1000, 1)},
	{"tls-1000-by-8", fanoutTLS(1000, 8)},
	{"storm-10000", storm},
	{"scale-raw", scale},
	{"scale-v1", scaleV1},
	{"scale-alone", scaleAlone},
	{"sse-idle-10000", idleSSE},
	{"sse-idle-10000-http2", idleHTTP2},
	{"sse-fan-out-10000", fanoutSSE(10_000)},
}

// A figure is a quantity that was measured several times.
type figure struct {
	unit    string
	samples []float64
	most    float64 // the target, if not 0
	least   float64 // the target, if not 0
}

func (f figure) median() float64 { return f.quantile(0.5) }

func (f figure) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(f.samples))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// verdict returns the target and whether it is met; both are empty if there is
// no target.
func (f figure) verdict() (target, verdict string) {
	met := false
	switch {
	case f.most != 0:
		target, met = "<= "+short(f.most), f.median() <= f.most
	case f.least != 0:
		target, met = ">= "+short(f.least), f.median() >= f.least
	default:
		return "", ""
	}
	if met {
		return target, "met"
	}
	return target, "missed"
}

type result struct {
	work string
	figure
}

func short(v float64) string { return fmt.Sprintf("%.3g", v) }

func printTable(table []result) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nwork\tunit\ttarget\tmedian\thalf\t")
	for _, r := range table {
		target, verdict := r.verdict()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s-%s\t%s\n", r.work, r.unit, target, short(r.median()),
			short(r.quantile(0.25)), short(r.quantile(0.75)), verdict)
	}
	_ = w.Flush()
}

const (
	// turn is how long one side is measured before the other.
	turn  = 200 * time.Millisecond
	turns = 21
)

// A side makes deliveries. It returns their number when all have arrived.
type side func() (deliveries int)

// A sample is the cost of one turn of a side.
type sample struct {
	cost       float64 // ns of CPU per delivery
	deliveries int
	allocs     uint64
}

// turn measures s for the time of one turn.
func (s side) turn() (r sample) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, began := cpu(), time.Now()
	for time.Since(began) < turn {
		r.deliveries += s()
	}
	used := cpu() - start
	runtime.ReadMemStats(&after)
	r.cost, r.allocs = float64(used)/float64(r.deliveries), after.Mallocs-before.Mallocs
	return r
}

// compare measures two sides in turns. Of the returned figures, the first (the
// ratio) and the last (the allocations) have targets.
func compare(ours, floor side, most, mostAllocs float64) []figure {
	ratio := figure{unit: "x-floor", most: most}
	cost, least := figure{unit: "us/delivery"}, figure{unit: "us/floor"}
	allocs := figure{unit: "allocs/delivery", most: mostAllocs}
	ours.turn()
	floor.turn()
	for range turns {
		f, o := floor.turn(), ours.turn()
		ratio.samples = append(ratio.samples, o.cost/f.cost)
		cost.samples = append(cost.samples, o.cost/1000)
		least.samples = append(least.samples, f.cost/1000)
		allocs.samples = append(allocs.samples, float64(o.allocs)/float64(o.deliveries))
	}
	return []figure{ratio, cost, least, allocs}
}
