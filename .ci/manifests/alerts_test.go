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
	scraped   = 30 * time.Second // between two samples, and two evaluations
	evaluated = 20 * time.Minute // as long as the series below last
)

// up is the series without which no relay is there.
const up = `sidecast_build_info{version="1"} 1x40`

// TestAlerts: Prometheus's own engine evaluates the rules. Each alert fires, alone, in the case that it is for, no sooner
// than it is bound to wait; and does not fire in the cases that look like it.
func TestAlerts(t *testing.T) {
	tests := map[string]struct {
		fires string   // the series that make it fire
		quiet []string // cases of series that do not
	}{
		"SidecastAbsent": {
			fires: `sidecast_redis_up{} _x40`,
			quiet: []string{
				up,
				`sidecast_build_info{version="1"} 1x5 _x9 1x25`, // away for less than 5 minutes, and Prometheus's own 5
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
				up + "\n" + `sidecast_redis_epochs_total{cause="error"} 0x10 1x10 2x20`, // a failover, and one more
				up + "\n" + `sidecast_redis_epochs_total{cause="shutdown"} 0+1x40`,
			},
		},
		"SidecastMessagesDropped": {
			fires: up + "\n" + `sidecast_messages_dropped_total{reason="oversize"} 0+1x40`,
			quiet: []string{
				up + "\n" + `sidecast_messages_dropped_total{reason="overlap"} 0+100x40`, // which nobody misses
				up + "\n" + `sidecast_messages_dropped_total{reason="name"} 0x10 1x30`,   // once
			},
		},
		"SidecastSlowClients": { // of 1000, 12 each second
			fires: up + "\n" + clients(1000) + `sidecast_evictions_total{reason="bytes"} 0+180x40` + "\n" +
				`sidecast_evictions_total{reason="age"} 0+180x40`,
			quiet: []string{
				up + "\n" + clients(1000) + `sidecast_evictions_total{reason="bytes"} 0+180x40`,
				up + "\n" + clients(1000) + `sidecast_evictions_total{reason="bytes"} 0x10 600x30`, // one burst
			},
		},
		"SidecastOutboxesFull": {
			fires: up + "\n" + `sidecast_outbox_bytes{} 210000000x40`,
			quiet: []string{
				up + "\n" + `sidecast_outbox_bytes{} 190000000x40`,
				up + "\n" + `sidecast_outbox_bytes{} 0x5 260000000x5 0x30`, // a burst that clients take in
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
				// Of another program.
				up + "\n" + `process_open_fds{pod="shop-0"} 950x40` + "\n" + `process_max_fds{pod="shop-0"} 1000x40`,
			},
		},
		"SidecastReconnectStorm": { // 20 clients a second
			fires: up + "\n" + clients(150) + `sidecast_connections_opened_total{} 0+600x40`,
			quiet: []string{
				up + "\n" + clients(1000) + `sidecast_connections_opened_total{} 0+600x40`,
				up + "\n" + clients(50) + `sidecast_connections_opened_total{} 0+600x40`,
				// A relay was replaced, and its clients came here.
				up + "\n" + clients(200) + `sidecast_connections_opened_total{} 0x5 200x35`,
			},
		},
		"SidecastAuthFailing": {
			fires: up + "\n" + `sidecast_auth_requests_total{result="failed"} 0+10x40` + "\n" +
				`sidecast_auth_requests_total{result="timeout"} 0+10x40` + "\n" + `sidecast_auth_requests_total{result="granted"} 0+100x40`,
			quiet: []string{
				up + "\n" + `sidecast_auth_requests_total{result="failed"} 0+1x40` + "\n" +
					`sidecast_auth_requests_total{result="granted"} 0+100x40`,
				// Who is refused was answered.
				up + "\n" + `sidecast_auth_requests_total{result="forbidden"} 0+100x40` + "\n" +
					`sidecast_auth_requests_total{result="failed"} 0x40`,
				up + "\n" + `sidecast_auth_requests_total{result="failed"} 0x40`, // nobody asks: 0 of 0
			},
		},
		"SidecastFanoutSlow": {
			fires: up + "\n" + fanout(0, 100),
			quiet: []string{
				up + "\n" + fanout(100, 100),
				up + "\n" + fanout(0, 0), // no message: 0 of 0
			},
		},
	}
	known := slices.Sorted(maps.Keys(firing(t, up).waits))
	if cases := slices.Sorted(maps.Keys(tests)); !slices.Equal(cases, known) {
		t.Errorf("there are cases for %q, and alerts %q", cases, known)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := firing(t, test.fires)
			if _, fires := got.since[name]; len(got.since) != 1 || !fires {
				t.Fatalf("%v fired, want %s alone", got.since, name)
			}
			if got.since[name] < got.waits[name] {
				t.Errorf("it fires after %v, and is to wait for %v", got.since[name], got.waits[name])
			}
			for _, series := range test.quiet {
				if got := firing(t, series); len(got.since) != 0 {
					t.Errorf("%v fired for\n%s", got.since, series)
				}
			}
		})
	}
}

// clients are so many, of two protocols.
func clients(n int) string {
	const series = `sidecast_connections{transport="websocket",protocol="%s"} %dx40` + "\n"
	return fmt.Sprintf(series+series, "raw", n/2, "sidecast.v1", n/2)
}

// fanout is a histogram that grows by so many below 0.1 s, of so many in all.
func fanout(fast, all int) string {
	const series = `sidecast_fanout_seconds_bucket{le="%s"} 0+%dx40` + "\n"
	return fmt.Sprintf(series+series+series, "0.1", fast, "1", all, "+Inf", all)
}

// outcome is what came of an evaluation, by alert.
type outcome struct {
	since map[string]time.Duration // of those that fire: after how much time they did first
	waits map[string]time.Duration // of all: how long their expressions have to hold
}

// firing evaluates the rules on the series, as promtool does, and holds what operators get to read to making sense.
func firing(t *testing.T, series string) outcome {
	t.Helper()
	suite, err := promqltest.NewLazyLoader(loading(series), promqltest.LazyLoaderOpts{
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
	groups, errs := manager.LoadGroups(scraped, labels.EmptyLabels(), "", nil, false, chart+"/files/alerts.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	result := outcome{since: make(map[string]time.Duration), waits: make(map[string]time.Duration)}
	for after := time.Duration(0); after <= evaluated; after += scraped {
		now := time.Unix(0, 0).Add(after)
		suite.WithSamplesTill(now, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, group := range groups {
				group.Eval(suite.Context(), now)
				for _, rule := range group.Rules() {
					result.note(t, rule.(*rules.AlertingRule), after)
				}
			}
		})
	}
	return result
}

func (o outcome) note(t *testing.T, rule *rules.AlertingRule, after time.Duration) {
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
			t.Errorf("%s says %q", rule.Name(), summary)
		}
	}
}

// loading is the command that loads the series, with the labels of a pod where they have none.
func loading(series string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "load %v\n", scraped)
	for line := range strings.SplitSeq(strings.TrimSpace(series), "\n") {
		if !strings.Contains(line, "pod=") {
			line = strings.Replace(line, "{", `{job="sidecast",instance="10.0.0.1:9190",pod="relay-0",`, 1)
		}
		b.WriteString("  " + strings.Replace(line, ",}", "}", 1) + "\n")
	}
	return b.String()
}
