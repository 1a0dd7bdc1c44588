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

// BenchmarkTargets measures everything that the relay promises about its speed and its memory, and ends with a table that
// says which targets are met:
//
//	go test -run '^$' -bench Targets -benchtime 1x ./relay/server
//
// The name of a workload picks it alone: -bench 'Targets/unicast'. What a delivery costs is CPU time of this process
// alone, since the clients, the publisher and Redis have processes of their own. It is compared with a floor: one sendto
// of a prebuilt frame for each delivery, by a loop that does nothing else, to the same sockets with the same readers.
// Relay and floor take turns every 200 ms, and a ratio is the median of the ratios of neighbouring turns, so that a
// machine that is busy with other things slows both. The column "half" has the first and the third quartile.
//
// The row "samples in sendto" has the share of the CPU samples below the relay's one call into the kernel, and logs the
// ten functions with the most:
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

// A workload is a row of the table, or a few that are measured together.
type workload struct {
	name    string
	measure func(*testing.B) []figure
}

var workloads = []workload{
	{"idle-10000", idle},
	{"fan-out-1000", fanout(1000, 1, 1.10)},
	{"fan-out-5000", fanout(5000, 1, 1.10)},
	{"fan-out-10000", fanout(10_000, 1, 1.10)},
	{"fan-out-5000-by-2", fanout(5000, 2, 0.60)},
	{"fan-out-5000-by-8", fanout(5000, 8, 0.20)},
	{"fan-out-5000-by-32", fanout(5000, 32, 0.08)},
	{"profile-5000", profile},
	{"unicast-5000", unicast},
	{"unicast-5000-with-redis", unicastRedis},
	{"ingest", ingest},
	{"ingest with history", remembered},
	{"stuck-100-of-1000", stuck},
	{"tls-1000", secured(1000, 1)},
	{"tls-1000-by-8", secured(1000, 8)},
	{"storm-10000", storm},
}

// A figure is one thing that was measured, several times.
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

// verdict returns the target and whether it is met.
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
	// turn is how long one side is measured before the other has its turn.
	turn  = 200 * time.Millisecond
	turns = 21
)

// A side does some deliveries and returns how many, when all have arrived.
type side func() (deliveries int)

// A sample is what one turn of a side cost.
type sample struct {
	cost       float64 // ns of CPU per delivery
	deliveries int
	allocs     uint64
}

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

// compare lets two sides take turns. Of the figures, in this order, the ratio and the allocations have targets.
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
