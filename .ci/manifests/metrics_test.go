package manifests

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// exported contains the metrics that a relay exports, and the values of their
// labels.
type exported map[string]map[string][]string

var (
	sampleLine = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `)
	selector   = regexp.MustCompile(`\b((?:sidecast|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"`)
)

// scrape builds and starts the relay and reads its metrics.
func scrape(t *testing.T) exported {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sidecast")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building sidecast: %v\n%s", err, out)
	}
	relay := exec.CommandContext(t.Context(), binary)
	relay.Env = append(os.Environ(), "SIDECAST_LISTEN=127.0.0.1:0", "SIDECAST_ADMIN_LISTEN=127.0.0.1:0",
		"SIDECAST_LOG_FORMAT=json", "XDG_CACHE_HOME="+t.TempDir())
	log, err := relay.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = relay.Process.Kill()
		_ = relay.Wait()
	})
	var line struct{ Msg, Addr string }
	for lines := bufio.NewScanner(log); line.Msg != "admin listening"; {
		if !lines.Scan() {
			t.Fatal("the relay exited before it listened")
		}
		_ = json.Unmarshal(lines.Bytes(), &line) // not all lines are JSON: the banner is plain text
	}
	response, err := http.Get("http://" + line.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	known := make(exported)
	for _, sample := range sampleLine.FindAllStringSubmatch(string(body), -1) {
		if known[sample[1]] == nil {
			known[sample[1]] = make(map[string][]string)
		}
		for _, label := range matcher.FindAllStringSubmatch(sample[2], -1) {
			known[sample[1]][label[1]] = append(known[sample[1]][label[1]], label[2])
		}
	}
	return known
}

// check reports metrics and label values in an expression that the relay does
// not export.
func (e exported) check(t *testing.T, where, expr string) {
	t.Helper()
	metrics := selector.FindAllStringSubmatch(expr, -1)
	if len(metrics) == 0 {
		t.Errorf("%s uses no metric: %s", where, expr)
	}
	for _, m := range metrics {
		labels, ok := e[m[1]]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, m[1])
		}
		for _, label := range matcher.FindAllStringSubmatch(m[2], -1) {
			for value := range strings.SplitSeq(label[2], "|") {
				if !slices.Contains(labels[label[1]], value) {
					t.Errorf("%s: %s has no %s=%q, only %q", where, m[1], label[1], value, labels[label[1]])
				}
			}
		}
	}
}

// TestMetricsExist checks that the dashboard and the alerts use only metrics
// that the relay exports, and that the guide describes each alert.
func TestMetricsExist(t *testing.T) {
	known := scrape(t)
	if len(known["sidecast_connections"]) == 0 {
		t.Fatalf("the relay exports only %d metrics", len(known))
	}
	var rules monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, chart+"/files/alerts.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	guide := read(t, chart+"/README.md")
	for _, rule := range rules.Groups[0].Rules {
		known.check(t, rule.Alert, rule.Expr.String())
		if !strings.Contains(guide, "| `"+rule.Alert+"` |") {
			t.Errorf("the guide does not describe the alert %s", rule.Alert)
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, chart+"/files/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 || len(rules.Groups[0].Rules) == 0 {
		t.Fatal("the dashboard has no panels, or there are no alerts")
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			known.check(t, panel.Title, target.Expr)
		}
	}
}
