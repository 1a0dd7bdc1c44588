package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
)

//go:embed report.html
var reportPage string

//go:embed report.js
var reportScript string

var reportTemplate = template.Must(template.New("report").Parse(reportPage))

// A report is what the page shows: one file that needs nothing else.
type report struct {
	Title, Word string
	Result      *result
	Tiles       []row
	Rows        []row
	Parameters  []row
	Script      template.JS
}

// writeHTML writes the report to a file.
func (res *result) writeHTML(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating the report: %w", err)
	}
	defer f.Close()
	r := report{
		Title: res.title(), Word: "PASS", Result: res, Tiles: res.tiles(), Rows: res.rows(),
		Parameters: res.Parameters.rows(), Script: template.JS(reportScript),
	}
	if !res.Passed {
		r.Word = "FAIL"
	}
	if err := reportTemplate.Execute(f, r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// tiles are the figures to see first.
func (res *result) tiles() []row {
	c := res.Checks
	wrong := c.Lost + c.Doubled + c.Reordered + c.Corrupted + c.Leaked
	tiles := []row{
		{"deliveries/s", count(int64(res.Delivered.PerSecond))},
		{"latency p50", ms(res.Latency.P50MS)},
		{"latency p99", ms(res.Latency.P99MS)},
		{"latency max", ms(res.Latency.MaxMS)},
		{"lost or wrong", count(int64(wrong))},
	}
	if s := res.Server; s != nil {
		tiles = append(tiles, row{"CPU a delivery", fmt.Sprintf("%.1f µs", s.CPUMicros)},
			row{"memory a client", bytesText(s.BytesPerConnection)})
	}
	return tiles
}

// rows are the parameters by their options.
func (p parameters) rows() []row {
	rows := []row{
		{"-url", p.URL}, {"-redis", p.Redis}, {"-protocol", p.Protocol},
		{"-clients", count(int64(p.Clients))}, {"-channels", count(int64(p.Channels))}, {"-prefix", p.Prefix},
	}
	if p.Burst > 0 {
		rows = append(rows, row{"-burst", count(int64(p.Burst))}, row{"-every", fmt.Sprintf("%gs", p.EverySeconds)})
	} else {
		rows = append(rows, row{"-rate", number(p.Rate)})
	}
	rows = append(rows, row{"-size", bytesText(float64(p.Size))}, row{"-for", fmt.Sprintf("%gs", p.ForSeconds)},
		row{"-warm-up", fmt.Sprintf("%gs", p.WarmUpSeconds)})
	if p.SlowClients > 0 {
		rows = append(rows, row{"-slow", count(int64(p.SlowClients))}, row{"-slow-rate", bytesText(float64(p.SlowRate)) + "/s"})
	}
	if p.StormSeconds > 0 {
		rows = append(rows, row{"-storm", fmt.Sprintf("%gs", p.StormSeconds)})
	}
	if p.ConnectRate > 0 {
		rows = append(rows, row{"-connect-rate", number(p.ConnectRate)})
	}
	if p.PollMS > 0 {
		rows = append(rows, row{"-poll", fmt.Sprintf("%gms", p.PollMS)})
	}
	return append(rows, row{"-handshakes", count(int64(p.Handshakes))}, row{"-reader", p.Reader})
}
