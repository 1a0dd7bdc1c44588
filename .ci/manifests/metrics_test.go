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

// series are the metrics that a relay has, and the values of their labels.
type series map[string]map[string][]string

var (
	sampleLine = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `)
	selector   = regexp.MustCompile(`\b((?:sidecast|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"`)
)

// scrape starts the relay that the tree holds and asks it for its metrics.
func scrape(t *testing.T) series {
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
			t.Fatal("the relay ended before it listened")
		}
		_ = json.Unmarshal(lines.Bytes(), &line) // lines for the eyes are among them
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
	known := make(series)
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

// check holds an expression to the metrics and the label values that exist.
func (s series) check(t *testing.T, where, expr string) {
	t.Helper()
	metrics := selector.FindAllStringSubmatch(expr, -1)
	if len(metrics) == 0 {
		t.Errorf("%s asks for no metric: %s", where, expr)
	}
	for _, m := range metrics {
		labels, ok := s[m[1]]
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

// TestMetricsExist: dashboard and alerts ask only for what a relay tells, and the guide says what to do about each alert.
func TestMetricsExist(t *testing.T) {
	known := scrape(t)
	if len(known["sidecast_connections"]) == 0 {
		t.Fatalf("only %d metrics were found", len(known))
	}
	var rules monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, chart+"/files/alerts.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	guide := read(t, chart+"/README.md")
	for _, rule := range rules.Groups[0].Rules {
		known.check(t, rule.Alert, rule.Expr.String())
		if !strings.Contains(guide, "| `"+rule.Alert+"` |") {
			t.Errorf("the guide lacks what to do about %s", rule.Alert)
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
		t.Fatal("there is no panel or no rule")
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			known.check(t, panel.Title, target.Expr)
		}
	}
}

// TestGuideHasEveryCloseCode: those of the protocol.
func TestGuideHasEveryCloseCode(t *testing.T) {
	guide := read(t, chart+"/README.md")
	rows := regexp.MustCompile(`(?m)^\| (\d{4}) \|`).FindAllString(read(t, "../../relay/protocol/README.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("the protocol has only %d close codes", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(guide, "\n"+row) {
			t.Errorf("the guide lacks the row %s", row)
		}
	}
}
