package console

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"sidecast/relay/stats"
)

func TestQuantile(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	for _, tt := range []struct {
		name          string
		before, after []time.Duration
		p50, p99      float64 // NaN: no observations
		mean          float64
	}{
		{"nothing", nil, nil, math.NaN(), math.NaN(), math.NaN()},
		{"nothing new", []time.Duration{ms}, nil, math.NaN(), math.NaN(), math.NaN()},
		{"one in the first bucket, which begins at zero", nil, []time.Duration{20 * us}, 25e-6, 49.5e-6, 20e-6},
		{"one in a middle bucket", nil, []time.Duration{7 * ms}, 7.5e-3, 9.95e-3, 7e-3},
		{"older ones do not count", []time.Duration{time.Second, time.Second}, []time.Duration{7 * ms}, 7.5e-3, 9.95e-3, 7e-3},
		{"above the last bound", nil, []time.Duration{time.Minute}, 10, 10, 60},
		{"two buckets with an empty one between", nil, []time.Duration{40 * us, 200 * us}, 50e-6, 247e-6, 120e-6},
	} {
		var h stats.Histogram
		for _, d := range tt.before {
			h.Observe(d)
		}
		before := newDistribution(&h)
		for _, d := range tt.after {
			h.Observe(d)
		}
		d := newDistribution(&h).since(before)
		for what, pair := range map[string][2]float64{
			"p50": {float64(d.quantile(0.5)), tt.p50}, "p99": {float64(d.quantile(0.99)), tt.p99}, "mean": {float64(d.mean()), tt.mean},
		} {
			if got, want := pair[0], pair[1]; math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > want/1000 {
				t.Errorf("%s: %s is %v, want %v", tt.name, what, got, want)
			}
		}
	}
}

// Every number is valid JSON.
func TestNumber(t *testing.T) {
	for n, want := range map[number]string{
		0: "0", 1234567: "1234567", 12345678901234: "12345678901234", 0.5: "0.5", 1.0 / 3: "0.333333", 2.5e-7: "2.5e-07", nothing: "null", number(math.Inf(1)): "null",
	} {
		text, err := json.Marshal(n)
		if err != nil || string(text) != want {
			t.Errorf("%v is %s (%v), want %s", float64(n), text, err, want)
		}
	}
}
