// Package admin serves metrics, health probes and profiles to operators and
// monitoring systems, on a separate listener.
package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sidecast/relay/stats"
)

// Gauges are values that [stats.Stats] does not contain. Each function is
// called at every scrape and must be safe for concurrent use. A nil function is
// not exported.
type Gauges struct {
	Sockets      func() int // open connections that count towards MAX_CONNECTIONS
	OutboxBytes  func() int64
	ReplayBytes  func() int64
	HistoryBytes func() int64
	Revocations  func() int64
	// PageCache returns the bytes in the page cache, and how often a page was
	// found in it and not found.
	PageCache func() (bytes int64, hits, misses uint64)
	// Limits are the limits in force, so that other metrics can be compared
	// with them.
	Limits []Limit
}

// A Limit is the value of a setting that limits something: a number, or a number
// of bytes or seconds.
type Limit struct {
	Setting string // in lower case, without the prefix
	Value   float64
}

// NewRegistry returns a registry of all metrics: the counters of stats and the
// gauges, with the prefix sidecast_, and the metrics of the Go runtime and the
// process. Every series of every metric exists from the start. No label
// contains a channel, a user or an address.
func NewRegistry(stats *stats.Stats, gauges Gauges, version, commit string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector(catalog(stats, gauges, version, commit)),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// A collector reads all metrics at every scrape, so that counting costs the
// relay one atomic addition only. It is immutable.
type collector []metric

// Describe implements [prometheus.Collector].
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c {
		descs <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c {
		m.collect(m.desc, out)
	}
}

// A metric is one metric name and all its series.
type metric struct {
	desc    *prometheus.Desc
	collect func(*prometheus.Desc, chan<- prometheus.Metric)
}

// An emitFunc exports one series: its value, and the values of the metric's
// labels.
type emitFunc func(value float64, labels ...string)

// newMetric returns a metric. At every scrape, read must emit the same series.
func newMetric(kind prometheus.ValueType, name, help string, read func(emit emitFunc), labels ...string) metric {
	return metric{
		desc: prometheus.NewDesc(name, help, labels, nil),
		collect: func(desc *prometheus.Desc, out chan<- prometheus.Metric) {
			read(func(value float64, labels ...string) {
				out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
			})
		},
	}
}

func counter(name, help string, c *stats.Counter) metric {
	return newMetric(prometheus.CounterValue, name, help, func(emit emitFunc) { emit(float64(c.Load())) })
}

// counters returns a metric with one series for each value of the label: all[i]
// counts values[i].
func counters(name, help, label string, values []string, all []stats.Counter) metric {
	return newMetric(prometheus.CounterValue, name, help, func(emit emitFunc) {
		for i, value := range values {
			emit(float64(all[i].Load()), value)
		}
	}, label)
}

func gauge(name, help string, read func() float64) metric {
	return newMetric(prometheus.GaugeValue, name, help, func(emit emitFunc) { emit(read()) })
}

// boolGauge returns a metric that is 1 or 0.
func boolGauge(name, help string, read func() bool) metric {
	return gauge(name, help, func() float64 {
		if read() {
			return 1
		}
		return 0
	})
}

func histogram(name, help string, h *stats.Histogram) metric {
	return metric{
		desc: prometheus.NewDesc(name, help, nil, nil),
		collect: func(desc *prometheus.Desc, out chan<- prometheus.Metric) {
			count, sum, buckets := h.Snapshot()
			out <- prometheus.MustNewConstHistogram(desc, count, sum, buckets)
		},
	}
}
