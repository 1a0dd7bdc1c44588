package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// title says in one line what was run.
func (res *result) title() string {
	p := res.Parameters
	shape := fmt.Sprintf("%s clients on %s channels", count(int64(p.Clients)), count(int64(p.Channels)))
	if p.Channels == 1 {
		shape = fmt.Sprintf("%s clients on one channel", count(int64(p.Clients)))
	}
	pace := "nothing published"
	switch {
	case p.Burst > 0:
		pace = fmt.Sprintf("%s messages of %s every %g s", count(int64(p.Burst)), bytesText(float64(p.Size)), p.EverySeconds)
	case p.Rate > 0:
		pace = fmt.Sprintf("%s messages/s of %s", number(p.Rate), bytesText(float64(p.Size)))
	}
	title := fmt.Sprintf("%s, %s, %s for %s s", shape, p.Protocol, pace, number(res.Seconds))
	if p.SlowClients > 0 {
		title += fmt.Sprintf(", %s slow", count(int64(p.SlowClients)))
	}
	return title
}

// A row is a line of the summary: a word, the figures, and what was meant by them.
type row struct{ Name, Text string }

// rows are the summary, for text and HTML alike.
func (res *result) rows() []row {
	c, l, n := res.Checks, res.Latency, res.Notices
	rows := []row{
		{"connected", fmt.Sprintf("%s in %.2f s, %s a second; refused %s", count(int64(res.Connect.Served)), res.Connect.Seconds,
			count(int64(res.Connect.PerSecond)), list(res.Connect.Refused))},
		{"published", fmt.Sprintf("%s messages, %s a second, at most %s late", count(int64(res.Published.Messages)),
			number(res.Published.PerSecond), ms(res.Published.LateMS))},
		{"delivered", fmt.Sprintf("%s messages, %s a second", count(int64(res.Delivered.Messages)), count(int64(res.Delivered.PerSecond)))},
		{"latency", fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", ms(l.P50MS), ms(l.P90MS), ms(l.P99MS), ms(l.P999MS), ms(l.MaxMS))},
		{"wrong", fmt.Sprintf("lost %d  doubled %d  reordered %d  corrupted %d  leaked %d  faults %d  broken %d",
			c.Lost, c.Doubled, c.Reordered, c.Corrupted, c.Leaked, c.Faults, c.Broken)},
		{"told", fmt.Sprintf("gaps %s, offline %d, closes %s", list(n.Gaps), n.Offline, list(n.Closes))},
	}
	if c.Excused+c.MissedClosed+c.MissedEvicted+n.Evicted > 0 {
		rows = append(rows, row{"excused", fmt.Sprintf("missed %d in gaps, %d by closed clients, %d by %d evicted slow clients",
			c.Excused, c.MissedClosed, c.MissedEvicted, n.Evicted)})
	}
	for _, s := range res.Storms {
		rows = append(rows, row{"storm", fmt.Sprintf("at %.1f s: %s of %s served again, p50 %s  p99 %s  all %s; refused %s",
			s.AtSeconds, count(int64(s.Served)), count(int64(s.Clients)), ms(s.P50MS), ms(s.P99MS), ms(s.AllMS), list(s.Refused))})
	}
	if s := res.Server; s != nil {
		rows = append(rows,
			row{"relay", fmt.Sprintf("%.2f us of CPU per delivery, %.0f%% of a core, RSS %s", s.CPUMicros, s.CPUPercent, bytesText(float64(s.RSSBytes)))},
			row{"memory", fmt.Sprintf("%s per idle connection (RSS %s before, %s connected)", bytesText(s.BytesPerConnection),
				bytesText(float64(s.RSSBefore)), bytesText(float64(s.RSSConnected)))})
	}
	if g := res.Generator; g.RSSBytes > 0 {
		rows = append(rows, row{"this side", fmt.Sprintf("%.0f%% of a core, of %d; RSS %s", g.CPUPercent, g.Cores, bytesText(float64(g.RSSBytes)))})
	}
	return rows
}

// verdict is the last line.
func (res *result) verdict() string {
	word := "PASS"
	if !res.Passed {
		word = "FAIL: " + strings.Join(res.Failures, "; ")
	}
	if res.Interrupted {
		word += " (interrupted)"
	}
	return word
}

// writeText prints the result for people.
func (res *result) writeText(w io.Writer) error {
	var b strings.Builder
	b.WriteString(res.title() + "\n")
	for _, r := range res.rows() {
		fmt.Fprintf(&b, "  %-10s %s\n", r.Name, r.Text)
	}
	for _, warning := range res.Warnings {
		b.WriteString("  note: " + warning + "\n")
	}
	b.WriteString(res.verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeJSON prints the result for programs.
func (res *result) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(res)
}

// list writes counts by name, like "redis 3, too_large 1", or none.
func list[K cmp.Ordered](counts map[K]uint64) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%v ×%s", name, count(int64(counts[name]))))
	}
	return strings.Join(parts, ", ")
}

func sumOf[K comparable](counts map[K]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// count writes 1234567 as 1,234,567.
func count(n int64) string {
	if n < 0 {
		return "-" + count(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// number writes large figures like count, and small ones with what is behind the point.
func number(v float64) string {
	if v >= 1000 {
		return count(int64(v + 0.5))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// ms writes milliseconds with three digits that count.
func ms(v float64) string {
	switch {
	case v >= 10_000:
		return strconv.FormatFloat(v/1000, 'f', 1, 64) + " s"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64) + " ms"
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " ms"
}

// bytesText writes a number of bytes with a unit.
func bytesText(v float64) string {
	switch {
	case v >= 1<<30 || v <= -1<<30:
		return strconv.FormatFloat(v/(1<<30), 'f', 2, 64) + " GiB"
	case v >= 1<<20 || v <= -1<<20:
		return strconv.FormatFloat(v/(1<<20), 'f', 1, 64) + " MiB"
	case v >= 1<<10 || v <= -1<<10:
		return strconv.FormatFloat(v/(1<<10), 'f', 1, 64) + " KiB"
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " B"
}
