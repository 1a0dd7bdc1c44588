package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

var long = flag.Bool("long", false, "run the heavy variants, which take minutes")

func TestMain(m *testing.M) {
	// A program with the race detector waits a second before it ends, which is much where a test asks how soon one does.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
		panic(err)
	}
	logging.Disable() // of go-redis, which tells of each attempt to reach a Redis that a test has killed
	os.Exit(m.Run())
}

// or returns what a run as every change has to pass it takes, or with -long what a heavy one does.
func or[T any](short, heavy T) T {
	if *long {
		return heavy
	}
	return short
}

// openSettings relay everything to everybody.
func openSettings(server *redistest.Server, more map[string]string) map[string]string {
	settings := map[string]string{
		"SIDECAST_REDIS_URL":        server.URL(),
		"SIDECAST_CHANNELS":         "*",
		"SIDECAST_PUBLIC_CHANNELS":  "*",
		"SIDECAST_PUBLISH_CHANNELS": "*",
	}
	maps.Copy(settings, more)
	return settings
}

// with returns the settings and one more, or another value for one.
func with(settings map[string]string, variable, value string) map[string]string {
	settings = maps.Clone(settings)
	settings[variable] = value
	return settings
}

// environment returns the variables for a program that a test runs: its own, with no settings but these.
func environment(settings map[string]string) []string {
	list := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "SIDECAST_") })
	for name, value := range settings {
		list = append(list, name+"="+value)
	}
	return list
}

// startRelay runs a relay that is open to everybody on a Redis, and waits until it is ready.
func startRelay(t testing.TB, server *redistest.Server, more map[string]string) *relaytest.Process {
	t.Helper()
	relay := relaytest.Start(t, openSettings(server, more))
	relay.AwaitReady()
	return relay
}

// metric returns the value of one series, named as /metrics writes it: with its labels.
func metric(t testing.TB, relay *relaytest.Process, series string) float64 {
	t.Helper()
	return total(t, relay, series+" ")
}

// total returns the sum of all series that begin like this.
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

// awaitMetric waits until one series has a value that pleases.
func awaitMetric(t testing.TB, relay *relaytest.Process, series string, pleases func(float64) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(relaytest.Patience)
	defer limit.Stop()
	for {
		value := metric(t, relay, series)
		if pleases(value) {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%s stays at %v", series, value)
		}
	}
}

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

// dial connects a client that is dropped when the test ends.
func dial(t testing.TB, d *relaytest.Dialer) *relaytest.Client {
	t.Helper()
	client, err := d.Dial(t.Context())
	if err != nil {
		t.Fatalf("connecting to %s: %v", d.URL, err)
	}
	t.Cleanup(client.Drop)
	return client
}

// dialFleet connects clients that are dropped when the test ends.
func dialFleet(t testing.TB, d *relaytest.Dialer, n int) relaytest.Fleet {
	t.Helper()
	fleet, err := d.DialFleet(t.Context(), n)
	if err != nil {
		t.Fatalf("connecting %d clients to %s: %v", n, d.URL, err)
	}
	t.Cleanup(fleet.Drop)
	return fleet
}

// listen connects a client of sidecast.v1 that has joined the channels.
func listen(t testing.TB, relay *relaytest.Process, channels ...string) *relaytest.Client {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL()})
	if err := client.Subscribe(t.Context(), channels...); err != nil {
		t.Fatalf("subscribing to %q: %v", channels, err)
	}
	return client
}

// listenRaw connects a raw client that has joined the channels.
func listenRaw(t testing.TB, relay *relaytest.Process, channels ...string) *relaytest.Client {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: channels})
	if err := client.Barrier(t.Context()); err != nil { // which the relay answers once the client has joined
		t.Fatalf("joining %q: %v", channels, err)
	}
	return client
}

// nth matches the nth event of a kind.
func nth(n int, kind relaytest.Kind) func(relaytest.Event) bool {
	return func(e relaytest.Event) bool {
		if e.Kind == kind {
			n--
		}
		return e.Kind == kind && n == 0
	}
}

// hears waits for n messages and returns all that came.
func hears(t testing.TB, client *relaytest.Client, n int) []relaytest.Event {
	t.Helper()
	if _, err := client.Await(t.Context(), nth(n, relaytest.KindMessage)); err != nil {
		t.Fatalf("awaiting message %d: %v", n, err)
	}
	return only(client, relaytest.KindMessage)
}

// only returns the events of a kind so far.
func only(client *relaytest.Client, kind relaytest.Kind) (events []relaytest.Event) {
	for _, e := range client.Events() {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

// closes waits for the relay's close frame.
func closes(t testing.TB, client *relaytest.Client, code uint16) {
	t.Helper()
	e, err := client.Await(t.Context(), relaytest.Is(relaytest.KindClose))
	if err != nil {
		t.Fatalf("awaiting a close frame: %v", err)
	}
	if e.Code != code {
		t.Errorf("closed with %d (%s), want %d", e.Code, e.Text, code)
	}
}

// publisher returns one that speaks to a Redis, and is closed when the test ends.
func publisher(t testing.TB, server *redistest.Server, payloads relaytest.Payloads) *relaytest.Publisher {
	t.Helper()
	return relaytest.NewPublisher(publishTo(t, server), payloads)
}

func publishTo(t testing.TB, server *redistest.Server) relaytest.PublishFunc {
	t.Helper()
	client := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = client.Close() })
	return relaytest.PublishTo(client)
}

// traffic publishes on the channels until stop is called, or the test ends. When stop has returned, the log is complete.
func traffic(t testing.TB, p *relaytest.Publisher, names []string, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() { _ = p.Run(ctx, names, 0, every) }) // it ends with its context
	stop = func() {
		cancel()
		publishing.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// finish ends what was published and waits until every client has all of it.
func finish(t testing.TB, p *relaytest.Publisher, fleet relaytest.Fleet) {
	t.Helper()
	if err := p.Finish(t.Context()); err != nil {
		t.Fatalf("publishing the ends: %v", err)
	}
	if err := fleet.AwaitEnd(t.Context(), p); err != nil {
		t.Fatalf("awaiting the ends: %v", err)
	}
}

// judge holds a run to the delivery contract.
func judge(t testing.TB, run relaytest.Run) relaytest.Report {
	t.Helper()
	report := relaytest.Check(run)
	t.Log(report)
	if err := report.Err(); err != nil {
		t.Error("the delivery contract was broken")
	}
	return report
}

// channels returns n names that begin with prefix.
func channels(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s:%d", prefix, i)
	}
	return names
}

// lasting returns a context that ends after so much time of the test.
func lasting(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// requirePHP skips the test where there is no PHP with an extension for Redis, and fails it there if CI=true.
func requirePHP(t testing.TB) {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	modules, err := exec.Command("php", "-m").Output()
	if err == nil && strings.Contains("\n"+string(modules), "\nredis\n") {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("PHP has no extension for Redis: install the Debian package php-redis")
	}
	t.Skip("PHP has no extension for Redis: install the Debian package php-redis")
}
