package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

var long = flag.Bool("long", false, "run the heavy variants, which take minutes")

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		// A program with the race detector sleeps for a second before it exits.
		// That is too long for the tests that measure how soon a relay exits.
		"GORACE": "atexit_sleep_ms=0 " + os.Getenv("GORACE"),
		"PATH":   os.Getenv("PATH") + ":/usr/sbin", // Debian installs HAProxy there
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	// These tests wait most of the time: for programs to start, and for timeouts.
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	logging.Disable() // go-redis logs every attempt to reach a Redis that a test has killed
	os.Exit(m.Run())
}

// orLong returns normal, or with -long the value for the heavy variant.
func orLong[T any](normal, heavy T) T {
	if *long {
		return heavy
	}
	return normal
}

// openSettings returns settings with which every client may subscribe and
// publish to every channel.
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

// with returns a copy of the settings in which one variable has this value.
func with(settings map[string]string, variable, value string) map[string]string {
	settings = maps.Clone(settings)
	settings[variable] = value
	return settings
}

// environment returns the variables of the test's own environment with these
// settings instead of its SIDECAST_ variables.
func environment(settings map[string]string) []string {
	list := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "SIDECAST_") })
	for name, value := range settings {
		list = append(list, name+"="+value)
	}
	return list
}

// start runs a relay with exactly these settings and waits until it is ready.
// Without settings the relay is embedded: it runs a Redis in memory and opens
// everything.
func start(t testing.TB, settings map[string]string) *relaytest.Process {
	t.Helper()
	relay := relaytest.Start(t, settings)
	relay.AwaitReady()
	return relay
}

// startRelay runs a relay with [openSettings] and waits until it is ready.
func startRelay(t testing.TB, server *redistest.Server, more map[string]string) *relaytest.Process {
	t.Helper()
	return start(t, openSettings(server, more))
}

// sidecast runs a command until it exits, and returns its output and its exit
// code.
func sidecast(t testing.TB, settings map[string]string, args ...string) (string, int) {
	t.Helper()
	process := relaytest.Start(t, settings, args...)
	code := process.Wait()
	return process.Log(), code
}

// terminate sends SIGTERM: the relay drains.
func terminate(relay *relaytest.Process) { relay.Signal(syscall.SIGTERM) }

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

// listen connects a client of sidecast.v1 that has subscribed to the channels.
func listen(t testing.TB, relay *relaytest.Process, channels ...string) *relaytest.Client {
	t.Helper()
	return listenFleet(t, relay, 1, channels...)[0]
}

// listenFleet connects n clients of sidecast.v1 that have subscribed to the
// channels.
func listenFleet(t testing.TB, relay *relaytest.Process, n int, channels ...string) relaytest.Fleet {
	t.Helper()
	fleet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, n)
	if err := fleet.Subscribe(t.Context(), channels...); err != nil {
		t.Fatalf("subscribing to %q: %v", channels, err)
	}
	return fleet
}

// listenRaw connects a raw client that has subscribed to the channels.
func listenRaw(t testing.TB, relay *relaytest.Process, channels ...string) *relaytest.Client {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: channels})
	if err := client.Barrier(t.Context()); err != nil { // the relay answers it after it has subscribed the client
		t.Fatalf("joining %q: %v", channels, err)
	}
	return client
}

// listenStalled connects a client of sidecast.v1 that has subscribed to a
// channel and no longer reads.
func listenStalled(t testing.TB, relay *relaytest.Process, channel string) {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL(), ReceiveBuffer: 4 << 10})
	if err := client.Subscribe(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	client.StopReading()
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

// hears waits until the client has received n messages, and returns all
// messages that it has received.
func hears(t testing.TB, client *relaytest.Client, n int) []relaytest.Event {
	t.Helper()
	if _, err := client.Await(t.Context(), nth(n, relaytest.KindMessage)); err != nil {
		t.Fatalf("awaiting message %d: %v", n, err)
	}
	return eventsOf(client, relaytest.KindMessage)
}

// eventsOf returns the client's events of one kind so far.
func eventsOf(client *relaytest.Client, kind relaytest.Kind) (events []relaytest.Event) {
	for _, e := range client.Events() {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

// wantClose waits for the relay's close frame.
func wantClose(t testing.TB, client *relaytest.Client, code uint16) {
	t.Helper()
	e, err := client.Await(t.Context(), relaytest.Is(relaytest.KindClose))
	if err != nil {
		t.Fatalf("awaiting a close frame: %v", err)
	}
	if e.Code != code {
		t.Errorf("closed with %d (%s), want %d", e.Code, e.Text, code)
	}
}

// publisher returns a publisher on a Redis, whose connection is closed when the
// test ends.
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

// traffic publishes on the channels until stop is called or the test ends. When
// stop has returned, the publisher's log is complete.
func traffic(t testing.TB, p *relaytest.Publisher, names []string, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx, names, 0, every) }) // its error is the end of the context
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// finish publishes the last message of each channel and waits until every
// client has received all messages.
func finish(t testing.TB, p *relaytest.Publisher, fleet relaytest.Fleet) {
	t.Helper()
	if err := p.Finish(t.Context()); err != nil {
		t.Fatalf("publishing the last messages: %v", err)
	}
	if err := fleet.AwaitEnd(t.Context(), p); err != nil {
		t.Fatalf("awaiting the last messages: %v", err)
	}
}

// checkContract fails the test if the run broke the delivery contract.
func checkContract(t testing.TB, run relaytest.Run) relaytest.Report {
	t.Helper()
	report := relaytest.Check(run)
	t.Log(report)
	if err := report.Err(); err != nil {
		t.Error("the run broke the delivery contract")
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

// requirePHP skips the test if PHP or one of its extensions is not installed:
// that for Redis, or one of more. If CI=true it fails the test instead.
func requirePHP(t testing.TB, more ...string) {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	modules, err := exec.Command("php", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]string{"redis": "php-redis", "pdo_sqlite": "php-sqlite3"}
	for _, extension := range append(more, "redis") {
		if strings.Contains("\n"+string(modules), "\n"+extension+"\n") {
			continue
		}
		problem := fmt.Sprintf("PHP has no extension %s: install the Debian package %s", extension, packages[extension])
		if os.Getenv("CI") == "true" {
			t.Fatal(problem)
		}
		t.Skip(problem)
	}
}
