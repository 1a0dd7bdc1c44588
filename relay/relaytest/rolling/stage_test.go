package rolling_test

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // of go-redis, which tells of each attempt to reach a Redis that a test has killed
	os.Exit(m.Run())
}

// settings relay everything to everybody, on two addresses that stay.
func settings(server *redistest.Server, listen, admin string) map[string]string {
	return map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
		"SIDECAST_LISTEN": listen, "SIDECAST_ADMIN_LISTEN": admin,
	}
}

// metric returns the sum of all series of a name.
func metric(t testing.TB, relay *relaytest.Process, name string) (sum float64) {
	t.Helper()
	status, body := ask(t, "http://"+relay.AdminAddr()+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics answers %d", status)
	}
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series, _, _ = strings.Cut(series, "{"); series != name {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("reading %s: %v", line, err)
		}
		sum += number
	}
	return sum
}

// probing is a client as a kubelet is one: each probe connects anew.
var probing = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

func ask(t testing.TB, url string) (status int, body string) {
	t.Helper()
	response, err := probing.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// until asks again and again whether something is so, and fails the test where it does not come to be.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(relaytest.Patience)
	defer limit.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%s did not come to be within %v", what, relaytest.Patience)
		}
	}
}
