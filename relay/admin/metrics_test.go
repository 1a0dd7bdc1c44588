package admin

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

var update = flag.Bool("update", false, "write the golden files")

func registry(stats *stats.Stats) *prometheus.Registry {
	return NewRegistry(stats, Gauges{
		OutboxBytes: func() int64 { return 77 }, HistoryBytes: func() int64 { return 78 }, ReplayBytes: func() int64 { return 79 },
		PageCache: func() (bytes int64, hits, misses uint64) { return 80, 81, 82 },
		Sockets:   func() int { return 83 },
		Limits:    []Limit{{"max_connections", 84}, {"history_age", 85}},
	}, "v1.2.3", "abcdef")
}

// gaugeSeries are the series of the gauges given to registry.
var gaugeSeries = []string{
	"sidecast_outbox_bytes{} 77", "sidecast_history_bytes{} 78", "sidecast_replay_bytes{} 79", "sidecast_page_cache_bytes{} 80",
	"sidecast_page_cache_reads_total{result=hit} 81", "sidecast_page_cache_reads_total{result=miss} 82", "sidecast_sockets{} 83",
	"sidecast_limit{setting=max_connections} 84", "sidecast_limit{setting=history_age} 85",
}

// A sample is one series as Prometheus reads it.
type sample struct {
	name, kind string
	labels     []string // name=value, sorted
	value      float64  // for a histogram, the number of observations
}

func (s sample) String() string {
	return fmt.Sprintf("%s{%s} %v", s.name, strings.Join(s.labels, ","), s.value)
}

// gather returns the metrics with the prefix sidecast_, without those of Go and
// the process.
func gather(t *testing.T, registry *prometheus.Registry) []sample {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var samples []sample
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "sidecast_") {
			continue
		}
		for _, m := range family.GetMetric() {
			s := sample{name: family.GetName(), kind: strings.ToLower(family.GetType().String())}
			for _, label := range m.GetLabel() {
				s.labels = append(s.labels, label.GetName()+"="+label.GetValue())
			}
			s.value = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			samples = append(samples, s)
		}
	}
	return samples
}

// Dashboards and alerts depend on the names, types and labels.
func TestCatalog(t *testing.T) {
	var lines []string
	for _, s := range gather(t, registry(new(stats.Stats))) {
		var line strings.Builder
		line.WriteString(s.kind + " " + s.name)
		for _, label := range s.labels {
			name, _, _ := strings.Cut(label, "=")
			line.WriteString(" " + name)
		}
		lines = append(lines, line.String())
	}
	got := strings.Join(slices.Compact(lines), "\n") + "\n"
	path := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the metrics are\n%s\nwant\n%s\n(to accept them, run go test -update)", got, want)
	}
}

// All label values are from fixed lists, so that they cannot contain a channel,
// a user or an address.
func TestLabels(t *testing.T) {
	allowed := []string{"transport", "protocol", "code", "reason", "cause", "type", "kind", "action", "result", "setting", "version", "commit"}
	for _, s := range gather(t, registry(new(stats.Stats))) {
		for _, label := range s.labels {
			name, value, _ := strings.Cut(label, "=")
			if !slices.Contains(allowed, name) {
				t.Errorf("%v has the label %s", s, name)
			}
			if value == "" || value == "0" {
				t.Errorf("%v has no value for the label %s", s, name)
			}
		}
	}
}

// Every series exists from the start. Otherwise an alert on a rate would miss
// the first increase.
func TestAllSeriesFromStart(t *testing.T) {
	samples := gather(t, registry(new(stats.Stats)))
	for _, s := range samples {
		if s.value != 0 && s.name != "sidecast_build_info" && !slices.Contains(gaugeSeries, s.String()) {
			t.Errorf("%v, want 0", s)
		}
	}
	series := make(map[string]int)
	for _, s := range samples {
		series[s.name]++
	}
	transports, protocols := protocol.Transports(), protocol.IDs()
	for name, want := range map[string]int{
		"sidecast_connections":                len(transports[:]) * len(protocols[:]),
		"sidecast_connections_closed_total":   len(protocol.CloseSlots()),
		"sidecast_connections_rejected_total": len(stats.Rejections),
		"sidecast_redis_epochs_total":         len(stats.Causes),
		"sidecast_messages_dropped_total":     len(stats.DropReasons),
		"sidecast_deliveries_total":           len(protocols[:]),
		"sidecast_evictions_total":            len(stats.EvictionReasons),
		"sidecast_gaps_total":                 len(protocol.GapReasons()),
		"sidecast_resumes_total":              len(stats.ResumeResults),
		"sidecast_commands_total":             len(protocol.Commands()) * len(protocol.Codes()),
	} {
		if series[name] != want {
			t.Errorf("%s has %d series, want %d", name, series[name], want)
		}
	}
}

// setDistinct sets every counter, gauge and histogram within v to a distinct
// value, and every bool to true. next is the next free value.
func setDistinct(t *testing.T, v reflect.Value, next *int) {
	t.Helper()
	switch field := v.Addr().Interface().(type) {
	case *stats.Counter:
		field.Add(*next)
		*next++
	case *stats.Gauge:
		field.Add(*next)
		*next++
	case *stats.Histogram:
		for range *next {
			field.Observe(time.Millisecond)
		}
		*next++
	case interface{ Store(bool) }:
		field.Store(true)
	default:
		switch v.Kind() {
		case reflect.Struct:
			for _, field := range v.Fields() {
				setDistinct(t, field, next)
			}
		case reflect.Array:
			for i := range v.Len() {
				setDistinct(t, v.Index(i), next)
			}
		default:
			t.Fatalf("this test does not support the type %s", v.Type())
		}
	}
}

// Every counter of relay.Stats is exported exactly once.
func TestEveryCounterIsExported(t *testing.T) {
	stats := new(stats.Stats)
	const first = 1000
	next := first
	setDistinct(t, reflect.ValueOf(stats).Elem(), &next)
	seen := make(map[float64][]sample)
	for _, s := range gather(t, registry(stats)) {
		seen[s.value] = append(seen[s.value], s)
	}
	for value := first; value < next; value++ {
		if found := seen[float64(value)]; len(found) != 1 {
			t.Errorf("value %d of %d is exported as %v, want one series", value-first, next-first, found)
		}
	}
	if flags := seen[1]; len(flags) != 4 { // three booleans and build_info
		t.Errorf("series with the value 1: %v", flags)
	}
	for i, want := range gaugeSeries {
		if found := seen[float64(77+i)]; len(found) != 1 || found[0].String() != want {
			t.Errorf("series with the value %d: %v, want %s", 77+i, found, want)
		}
	}
}

// Each value is exported with the right labels.
func TestValues(t *testing.T) {
	counters := new(stats.Stats)
	counters.Dropped[stats.DropName].Add(1)
	counters.Rejected[stats.RejectOrigin].Add(2)
	counters.RedisEpochs[stats.CauseMarker].Add(3)
	counters.Evictions[stats.EvictTotal].Add(4)
	counters.Gaps[protocol.GapTooLarge].Add(5)
	counters.Deliveries[protocol.V1ID].Add(6)
	counters.Connections[protocol.WebSocket][protocol.RawID].Add(7)
	counters.Commands[protocol.CommandPublish][protocol.CodeRateLimited].Add(8)
	for i, code := range protocol.CloseSlots() {
		switch code {
		case protocol.CloseSlow:
			counters.Closed[i].Add(9)
		case protocol.CloseAbnormal:
			counters.Closed[i].Add(10)
		case 0:
			counters.Closed[i].Add(11)
		}
	}
	var lines []string
	for _, s := range gather(t, registry(counters)) {
		lines = append(lines, s.String())
	}
	for _, want := range []string{
		"sidecast_messages_dropped_total{reason=name} 1",
		"sidecast_connections_rejected_total{reason=origin} 2",
		"sidecast_redis_epochs_total{cause=marker} 3",
		"sidecast_evictions_total{reason=total} 4",
		"sidecast_gaps_total{reason=too_large} 5",
		"sidecast_deliveries_total{protocol=v1} 6",
		"sidecast_connections{protocol=raw,transport=websocket} 7",
		"sidecast_commands_total{result=rate_limited,type=publish} 8",
		"sidecast_connections_closed_total{code=4408} 9",
		"sidecast_connections_closed_total{code=1006} 10",
		"sidecast_connections_closed_total{code=other} 11",
		"sidecast_build_info{commit=abcdef,version=v1.2.3} 1",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("%s is missing from\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func TestHistogram(t *testing.T) {
	stats := new(stats.Stats)
	stats.Fanout.Observe(200 * time.Microsecond)
	stats.Fanout.Observe(time.Minute)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry(stats), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"# TYPE sidecast_fanout_seconds histogram",
		`sidecast_fanout_seconds_bucket{le="0.0001"} 0`,
		`sidecast_fanout_seconds_bucket{le="0.00025"} 1`,
		`sidecast_fanout_seconds_bucket{le="10"} 1`,
		`sidecast_fanout_seconds_bucket{le="+Inf"} 2`,
		"sidecast_fanout_seconds_sum 60.0002",
		"sidecast_fanout_seconds_count 2",
	} {
		if got := w.Body.String(); !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("%q is missing from\n%s", want, got)
		}
	}
}

func TestLint(t *testing.T) {
	families, err := registry(new(stats.Stats)).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	// The names of the other metrics are not ours.
	problems = slices.DeleteFunc(problems, func(p promlint.Problem) bool { return !strings.HasPrefix(p.Metric, "sidecast_") })
	if len(problems) > 0 {
		t.Errorf("promlint: %v", problems)
	}
}

// The registry contains the metrics of the runtime, and no gauge whose function
// is nil.
func TestRegistry(t *testing.T) {
	families, err := NewRegistry(new(stats.Stats), Gauges{}, "v1.2.3", "abcdef").Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	if !slices.Contains(names, "go_goroutines") {
		t.Error("the Go collector is missing")
	}
	if !slices.Contains(names, "process_start_time_seconds") {
		t.Error("the process collector is missing")
	}
	if slices.Contains(names, "sidecast_outbox_bytes") {
		t.Error("a gauge without a function is exported")
	}
}
