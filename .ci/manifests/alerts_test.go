package manifests

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

const (
	interval = 30 * time.Second // between two samples, and between two evaluations
	duration = 20 * time.Minute // of each series below
)

// up is the series that means that a relay is running.
const up = `sidecast_build_info{version="1"} 1x40`

// TestAlerts evaluates the rules with Prometheus's engine. In its own case,
// each alert is the only one that fires, and not before its waiting time. No
// alert fires in the similar but harmless cases.
func TestAlerts(t *testing.T) {
	tests := map[string]struct {
		fires string   // the series for which the alert fires
		quiet []string // the series for which no alert fires
	}{
		"SidecastAbsent": {
			fires: `sidecast_redis_up{} _x40`,
			quiet: []string{
				up,
				`sidecast_build_info{version="1"} 1x5 _x9 1x25`, // absent for less than 5 minutes after the 5 for which Prometheus keeps a series
			},
		},
		"SidecastRedisDown": {
			fires: up + "\n" + `sidecast_redis_up{} 0x40`,
			quiet: []string{
				up + "\n" + `sidecast_redis_up{} 1x40`,
				up + "\n" + `sidecast_redis_up{} 1x5 0 1x34`, // a failover
			},
		},
		"SidecastRedisUnsteady": {
			fires: up + "\n" + `sidecast_redis_epochs_total{cause="error"} 0x3 1x3 2x3 3x3 4x3 5x25` + "\n" +
				`sidecast_redis_epochs_total{cause="silence"} 0x40`,
			quiet: []string{
				up + "\n" + `sidecast_redis_epochs_total{cause="error"} 0x10 1x10 2x20`, // two failovers
				up + "\n" + `sidecast_redis_epochs_total{cause="shutdown"} 0+1x40`,
			},
		},
		"SidecastMessagesDropped": {
			fires: up + "\n" + `sidecast_messages_dropped_total{reason="oversize"} 0+1x40`,
			quiet: []string{
				up + "\n" + `sidecast_messages_dropped_total{reason="overlap"} 0+100x40`, // duplicates, which no client misses
				up + "\n" + `sidecast_messages_dropped_total{reason="name"} 0x10 1x30`,   // a single message
			},
		},
		"SidecastSlowClients": { // 12 of 1000 clients each second
			fires: up + "\n" + clients(1000) + `sidecast_evictions_total{reason="bytes"} 0+180x40` + "\n" +
				`sidecast_evictions_total{reason="age"} 0+180x40`,
			quiet: []string{
				up + "\n" + clients(1000) + `sidecast_evictions_total{reason="bytes"} 0+180x40`,
				up + "\n" + clients(1000) + `sidecast_evictions_total{reason="bytes"} 0x10 600x30`, // one burst
			},
		},
		"SidecastOutboxesFull": {
			fires: up + "\n" + `sidecast_outbox_bytes{} 80000000x40` + "\n" + `sidecast_limit{setting="outbox_total_bytes"} 100000000x40`,
			quiet: []string{
				up + "\n" + `sidecast_outbox_bytes{} 70000000x40` + "\n" + `sidecast_limit{setting="outbox_total_bytes"} 100000000x40`,
				up + "\n" + `sidecast_outbox_bytes{} 210000000x40` + "\n" + `sidecast_limit{setting="outbox_total_bytes"} 1000000000x40` + "\n" +
					`sidecast_limit{setting="outbox_bytes"} 1000000x40`,
				// A burst that clients read in time.
				up + "\n" + `sidecast_outbox_bytes{} 0x5 99000000x5 0x30` + "\n" + `sidecast_limit{setting="outbox_total_bytes"} 100000000x40`,
			},
		},
		"SidecastNearCapacity": {
			fires: up + "\n" + `sidecast_sockets{} 950x40` + "\n" + `sidecast_limit{setting="max_connections"} 1000x40`,
			quiet: []string{
				up + "\n" + `sidecast_sockets{} 850x40` + "\n" + `sidecast_limit{setting="max_connections"} 1000x40`,
				up + "\n" + `sidecast_sockets{} 850x40` + "\n" + `sidecast_limit{setting="max_connections"} 1000x40` + "\n" +
					`sidecast_limit{setting="max_connections_per_ip"} 100x40`,
			},
		},
		"SidecastAtCapacity": {
			fires: up + "\n" + `sidecast_connections_rejected_total{reason="capacity"} 0+1x40`,
			quiet: []string{up + "\n" + `sidecast_connections_rejected_total{reason="origin"} 0+100x40`},
		},
		"SidecastFileDescriptors": {
			fires: up + "\n" + `process_open_fds{} 950x40` + "\n" + `process_max_fds{} 1000x40`,
			quiet: []string{
				up + "\n" + `process_open_fds{} 850x40` + "\n" + `process_max_fds{} 1000x40`,
				// The process is not a relay.
				up + "\n" + `process_open_fds{pod="shop-0"} 950x40` + "\n" + `process_max_fds{pod="shop-0"} 1000x40`,
			},
		},
		"SidecastReconnectStorm": { // 20 clients each second
			fires: up + "\n" + clients(150) + `sidecast_connections_opened_total{} 0+600x40`,
			quiet: []string{
				up + "\n" + clients(1000) + `sidecast_connections_opened_total{} 0+600x40`,
				up + "\n" + clients(50) + `sidecast_connections_opened_total{} 0+600x40`,
				// Another relay was replaced, and its clients reconnected to
				// this one.
				up + "\n" + clients(200) + `sidecast_connections_opened_total{} 0x5 200x35`,
			},
		},
		"SidecastAuthFailing": {
			fires: up + "\n" + `sidecast_auth_requests_total{result="failed"} 0+10x40` + "\n" +
				`sidecast_auth_requests_total{result="timeout"} 0+10x40` + "\n" + `sidecast_auth_requests_total{result="granted"} 0+100x40`,
			quiet: []string{
				up + "\n" + `sidecast_auth_requests_total{result="failed"} 0+1x40` + "\n" +
					`sidecast_auth_requests_total{result="granted"} 0+100x40`,
				// The application answered: it rejected the clients.
				up + "\n" + `sidecast_auth_requests_total{result="forbidden"} 0+100x40` + "\n" +
					`sidecast_auth_requests_total{result="failed"} 0x40`,
				up + "\n" + `sidecast_auth_requests_total{result="failed"} 0x40`, // no requests: 0 of 0
			},
		},
		"SidecastFanoutSlow": {
			fires: up + "\n" + fanout(0, 100),
			quiet: []string{
				up + "\n" + fanout(100, 100),
				up + "\n" + fanout(0, 0), // no messages: 0 of 0
			},
		},
	}
	known := slices.Sorted(maps.Keys(evaluate(t, up).waits))
	if cases := slices.Sorted(maps.Keys(tests)); !slices.Equal(cases, known) {
		t.Errorf("there are test cases for %q, but the alerts are %q", cases, known)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := evaluate(t, test.fires)
			if _, fires := got.since[name]; len(got.since) != 1 || !fires {
				t.Fatalf("%v fired, want %s alone", got.since, name)
			}
			if got.since[name] < got.waits[name] {
				t.Errorf("the alert fires after %v, before its waiting time of %v", got.since[name], got.waits[name])
			}
			for _, series := range test.quiet {
				if got := evaluate(t, series); len(got.since) != 0 {
					t.Errorf("%v fired for\n%s", got.since, series)
				}
			}
		})
	}
}

// clients returns the series of n connected clients, half of them on each of
// two protocols.
func clients(n int) string {
	const series = `sidecast_connections{transport="websocket",protocol="%s"} %dx40` + "\n"
	return fmt.Sprintf(series+series, "raw", n/2, "sidecast.v1", n/2)
}

// fanout returns a histogram whose count grows by all at each sample; fast of
// them are below 0.1 s.
func fanout(fast, all int) string {
	const series = `sidecast_fanout_seconds_bucket{le="%s"} 0+%dx40` + "\n"
	return fmt.Sprintf(series+series+series, "0.1", fast, "1", all, "+Inf", all)
}

// An outcome is the result of an evaluation, by alert.
type outcome struct {
	since map[string]time.Duration // the time after which a firing alert first fired
	waits map[string]time.Duration // for how long the expression of each alert must hold
}

// evaluate evaluates the rules on the series, as promtool does, and checks the
// summaries of firing alerts.
func evaluate(t *testing.T, series string) outcome {
	t.Helper()
	suite, err := promqltest.NewLazyLoader(loadCommand(series), promqltest.LazyLoaderOpts{
		EnableAtModifier: true, EnableNegativeOffset: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:  rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		Appendable: suite.Storage(), Context: t.Context(), Parser: parser.NewParser(parser.Options{}),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: slog.New(slog.DiscardHandler),
	})
	groups, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, chart+"/files/alerts.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	result := outcome{since: make(map[string]time.Duration), waits: make(map[string]time.Duration)}
	for after := time.Duration(0); after <= duration; after += interval {
		now := time.Unix(0, 0).Add(after)
		suite.WithSamplesTill(now, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, group := range groups {
				group.Eval(suite.Context(), now)
				for _, rule := range group.Rules() {
					result.record(t, rule.(*rules.AlertingRule), after)
				}
			}
		})
	}
	return result
}

func (o outcome) record(t *testing.T, rule *rules.AlertingRule, after time.Duration) {
	t.Helper()
	if err := rule.LastError(); err != nil {
		t.Fatalf("evaluating %s: %v", rule.Name(), err)
	}
	o.waits[rule.Name()] = rule.HoldDuration()
	for _, alert := range rule.ActiveAlerts() {
		if _, fires := o.since[rule.Name()]; fires || alert.State != rules.StateFiring {
			continue
		}
		o.since[rule.Name()] = after
		summary := alert.Annotations.Get("summary")
		if summary == "" || strings.TrimSpace(summary) != summary || strings.Contains(summary, "<") || strings.Contains(summary, "  ") {
			t.Errorf("the summary of %s is malformed: %q", rule.Name(), summary)
		}
	}
}

// loadCommand returns the promtool command that loads the series. It adds the
// labels of a pod to series without the label pod.
func loadCommand(series string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "load %v\n", interval)
	for line := range strings.SplitSeq(strings.TrimSpace(series), "\n") {
		if !strings.Contains(line, "pod=") {
			line = strings.Replace(line, "{", `{job="sidecast",instance="10.0.0.1:9190",pod="relay-0",`, 1)
		}
		b.WriteString("  " + strings.Replace(line, ",}", "}", 1) + "\n")
	}
	return b.String()
}
