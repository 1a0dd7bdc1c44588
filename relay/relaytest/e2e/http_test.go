package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
)

// poll calls problem until it returns "", and returns its last answer as an
// error if that takes longer than [relaytest.Patience].
func poll(problem func() string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(relaytest.Patience)
	defer limit.Stop()
	for {
		last := problem()
		if last == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return errors.New(last)
		}
	}
}

// eventually is [poll] that fails the test.
func eventually(t testing.TB, problem func() string) {
	t.Helper()
	if err := poll(problem); err != nil {
		t.Fatal(err)
	}
}

// get returns the body of an answer, which must have status 200.
func get(t testing.TB, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s (%v): %s", url, response.Status, err, body)
	}
	return string(body)
}

// probes sends requests as a kubelet does: each over a new connection.
var probes = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// status returns the status of an answer.
func status(t testing.TB, url string) int {
	t.Helper()
	response, err := probes.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// metric returns the value of one series, written as in /metrics: with its
// labels.
func metric(t testing.TB, relay *relaytest.Process, series string) float64 {
	t.Helper()
	return total(t, relay, series+" ")
}

// total returns the sum of all series that begin with prefix.
func total(t testing.TB, relay *relaytest.Process, prefix string) (sum float64) {
	t.Helper()
	found := false
	for line := range strings.Lines(get(t, "http://"+relay.AdminAddr()+"/metrics")) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		found = true
		value := line[strings.LastIndexByte(line, ' ')+1:]
		number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			t.Fatalf("reading the metric %s: %v", line, err)
		}
		sum += number
	}
	if !found {
		t.Fatalf("there is no metric %s", prefix)
	}
	return sum
}

// awaitMetric waits until ok accepts the value of one series.
func awaitMetric(t testing.TB, relay *relaytest.Process, series string, ok func(float64) bool) {
	t.Helper()
	eventually(t, func() string {
		if value := metric(t, relay, series); !ok(value) {
			return fmt.Sprintf("%s stays at %v", series, value)
		}
		return ""
	})
}
