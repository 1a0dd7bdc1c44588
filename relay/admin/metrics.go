// Package admin is what operators and machines ask the relay: metrics, probes and profiles, on a listener of its own.
package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sidecast/relay/stats"
)

// Gauges are values that no [relay.Stats] holds. They are read at every scrape, concurrently with everything. One that is
// nil is not exported.
type Gauges struct {
	OutboxBytes  func() int64
	HistoryBytes func() int64
}

// NewRegistry returns a registry of all metrics: what stats counts, under the prefix sidecast_, the gauges, and those of
// the Go runtime and the process. Every series of every metric is there from the start. No label tells a channel, a user
// or an address.
func NewRegistry(stats *stats.Stats, gauges Gauges, version, commit string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector(catalog(stats, gauges, version, commit)),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// A collector reads metrics at every scrape, so that counting costs the relay nothing but an atomic addition. It never
// changes.
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

// A metric is one name and all its series.
type metric struct {
	desc    *prometheus.Desc
	collect func(*prometheus.Desc, chan<- prometheus.Metric)
}

// observe hands out one series: a value, and the values of the metric's labels.
type observe func(value float64, labels ...string)

// newMetric returns a metric whose read hands out every series, each time the same ones.
func newMetric(kind prometheus.ValueType, name, help string, read func(observe), labels ...string) metric {
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
	return newMetric(prometheus.CounterValue, name, help, func(o observe) { o(float64(c.Load())) })
}

// counters has one series for each value of a label, by index.
func counters(name, help, label string, values []string, all []stats.Counter) metric {
	return newMetric(prometheus.CounterValue, name, help, func(o observe) {
		for i, value := range values {
			o(float64(all[i].Load()), value)
		}
	}, label)
}

func gauge(name, help string, read func() float64) metric {
	return newMetric(prometheus.GaugeValue, name, help, func(o observe) { o(read()) })
}

func truth(name, help string, read func() bool) metric {
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
