package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a result with something in every field.
func sample() *result {
	o := &options{
		url: "ws://127.0.0.1:8080/ws", protocol: protocolV1, clients: 10_000, channels: 100, prefix: "loadtest:", rate: 10,
		every: time.Second, size: 128, slow: share{10, true}, slowRate: 1024, storm: 5 * time.Second, warmUp: time.Second,
		length: 10 * time.Second, connectRate: 500, handshakes: 200, reader: readerGoroutine, strict: true,
	}
	res := &result{
		Version: resultVersion, Started: time.Date(2026, 11, 22, 4, 5, 6, 789e6, time.UTC), Interrupted: true, Seconds: 10,
		Parameters: newParameters(o, "127.0.0.1:6379"),
		Connect:    connectResult{Served: 10_000, Seconds: 2.5, PerSecond: 4000, Refused: map[string]uint64{"HTTP 503": 3}},
		Published:  publishResult{Messages: 112, PerSecond: 9.5, Wanted: 10, Unheard: 1, Failed: 2, LateMS: 0.5},
		Delivered:  deliverResult{Messages: 1_000_000, Measured: 900_000, PerSecond: 90_000, Slow: 100_000, Bytes: 128_000_000},
		Latency:    latencyResult{MeanMS: 1.5, P50MS: 1.25, P90MS: 2.5, P99MS: 12.5, P999MS: 125, MaxMS: 12_500},
		Checks: checkResult{Lost: 1, Doubled: 2, Reordered: 3, Corrupted: 4, Leaked: 5, Faults: 6, Broken: 7, Excused: 8,
			MissedEvicted: 9, MissedClosed: 10, Foreign: 11},
		Notices: noticeResult{Gaps: map[string]uint64{"redis": 3, "too_large": 1}, Offline: 12,
			Closes: map[int]uint64{1006: 7, 4408: 13}, Evicted: 14, Overrun: 15},
		Storms: []stormResult{{AtSeconds: 5, Clients: 10_000, Served: 9_999, P50MS: 250, P99MS: 750, AllMS: 1000,
			Refused: map[string]uint64{"closed with 1013": 4}}},
		Server: &serverResult{PID: 42, CPUMicros: 5.5, CPUSeconds: 5, CPUPercent: 50, RSSBytes: 80 << 20, RSSBefore: 20 << 20,
			RSSConnected: 75 << 20, BytesPerConnection: 5767.168},
		Generator: generatorResult{CPUPercent: 130, RSSBytes: 32 << 20, Cores: 2},
		Series: []point{
			{Seconds: 5, Deliveries: 90_000, Published: 9, P50MS: 1, P90MS: 2, P99MS: 3, MaxMS: 4, Connected: 10_000,
				CPUPercent: 50, RSSBytes: 80 << 20},
			{Seconds: 10, Deliveries: 0, Published: 10, Connected: 0, CPUPercent: 5, RSSBytes: 81 << 20}, // nothing came
		},
	}
	res.Failures, res.Warnings = res.failures(), res.warnings()
	return res
}

func TestGolden(t *testing.T) {
	res := sample()
	tests := []struct {
		file  string
		write func(*bytes.Buffer) error
	}{
		{"result.json", func(b *bytes.Buffer) error { return res.writeJSON(b) }},
		{"result.txt", func(b *bytes.Buffer) error { return res.writeText(b) }},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			var got bytes.Buffer
			if err := test.write(&got); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", test.file)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("differs from %s; if that is meant, run go test -update\n%s", path, got.Bytes())
			}
		})
	}
}

// TestReportDrawsCharts opens the report in a browser.
func TestReportDrawsCharts(t *testing.T) {
	redistest.Require(t, "chromium", "chromium")
	tests := []struct {
		name   string
		change func(*result)
		charts int
		says   string
	}{
		{"everything", func(*result) {}, 4, "lost, and nobody was told"},
		{"without the relay's process", func(r *result) { r.Server = nil }, 3, ""},
		{"nothing measured", func(r *result) { r.Series = nil }, 0, "before anything was measured"},
		{"nothing published", func(r *result) { // all lines are flat or empty
			r.Series = []point{{Seconds: 1, Connected: 5}, {Seconds: 2, Connected: 5}}
			r.Storms, r.Failures, r.Passed = nil, nil, true
		}, 3, "PASS"},
		{"hostile names", func(r *result) { r.Parameters.URL = "ws://127.0.0.1/</script><img src=x onerror=alert(1)>" }, 4, "&lt;img"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			res := sample()
			test.change(res)
			if res.Storms == nil {
				res.Storms = []stormResult{}
			}
			if res.Series == nil {
				res.Series = []point{}
			}
			path := filepath.Join(t.TempDir(), "report.html")
			if err := res.writeHTML(path); err != nil {
				t.Fatal(err)
			}
			dom := render(t, path)
			if n := strings.Count(dom, "<svg "); n != test.charts {
				t.Errorf("%d charts, want %d", n, test.charts)
			}
			if strings.Contains(dom, "NaN") || strings.Contains(dom, "Infinity") || strings.Contains(dom, "<img") {
				t.Error("the page holds NaN, Infinity or an image")
			}
			if !strings.Contains(dom, test.says) {
				t.Errorf("the page does not say %q", test.says)
			}
		})
	}
}

// render returns the page as it is after its scripts ran.
func render(t *testing.T, path string) string {
	t.Helper()
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=2000", "--dump-dom", "file://"+path)
	command.Stderr = &stderr
	dom, err := command.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	page, _, _ := strings.Cut(string(dom), "<script>")
	return page
}

// TestReportNeedsNothingElse holds that the report can be sent around: it names no other resource.
func TestReportNeedsNothingElse(t *testing.T) {
	for _, source := range []string{reportPage, reportScript} {
		source = strings.ReplaceAll(source, "http://www.w3.org/2000/svg", "")
		for _, word := range []string{"http://", "https://", "src=", "href=", "@import", "url(", "fetch("} {
			if strings.Contains(source, word) {
				t.Errorf("the report holds %q", word)
			}
		}
	}
}

func TestFiguresForPeople(t *testing.T) {
	tests := []struct{ got, want string }{
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(1234567), "1,234,567"}, {count(-1000), "-1,000"},
		{number(0.1), "0.1"}, {number(12.345), "12.3"}, {number(12345.6), "12,346"},
		{ms(0), "0.00 ms"}, {ms(1.234), "1.23 ms"}, {ms(12.34), "12.3 ms"}, {ms(1234), "1234 ms"}, {ms(12345), "12.3 s"},
		{bytesText(512), "512 B"}, {bytesText(1536), "1.5 KiB"}, {bytesText(-2048), "-2.0 KiB"}, {bytesText(5 << 20), "5.0 MiB"},
		{list(map[string]uint64{}), "none"}, {list(map[int]uint64{2: 1, 1: 2000}), "1 ×2,000, 2 ×1"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}
