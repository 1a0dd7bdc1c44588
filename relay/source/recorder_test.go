package source_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// TestMain runs more tests at once than there are processors, because nearly
// all of them wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("10")
	}
	os.Exit(m.Run())
}

// testTimeout bounds every wait in these tests. It is reached only if something
// is broken. Redis is slow in some cases: a Sentinel checks a server's role
// every 10 s, and tolerates an old master for 8 s more.
const testTimeout = time.Minute

// recorder is a sink that records each call as a line, and lets tests wait for
// lines.
type recorder struct {
	mu     sync.Mutex
	events []string
	nodes  []uint32                      // of each Online
	change chan struct{}                 // closed and replaced at each event
	hook   func(channel, payload []byte) // called in Publish, if set
}

func newRecorder() *recorder { return &recorder{change: make(chan struct{})} }

func (r *recorder) add(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
	close(r.change)
	r.change = make(chan struct{})
}

func (r *recorder) setHook(hook func(channel, payload []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = hook
}

func (r *recorder) Publish(channel, payload []byte) {
	r.mu.Lock()
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(channel, payload)
	}
	r.add(fmt.Sprintf("%s=%s", channel, digest(payload)))
}

func (r *recorder) Oversize(channel []byte) { r.add("oversize " + string(channel)) }

func (r *recorder) Flush() { r.add("flush") }

func (r *recorder) Marker(id []byte) { r.add(fmt.Sprintf("marker %x", id)) }

func (r *recorder) Offline() { r.add("offline") }

func (r *recorder) Online(node uint32) {
	r.mu.Lock()
	r.nodes = append(r.nodes, node)
	r.mu.Unlock()
	r.add("online")
}

func (r *recorder) Gap(uint32) { r.add("gap") }

// deliveries returns all events so far except flushes and markers.
func (r *recorder) deliveries() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events), func(e string) bool {
		return e == "flush" || strings.HasPrefix(e, "marker ")
	})
}

// allEvents returns all events so far.
func (r *recorder) allEvents() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// await returns when ok returns true for the events so far. It fails the test
// if that does not happen.
func (r *recorder) await(t testing.TB, what string, ok func(events []string) bool) {
	t.Helper()
	limit := time.NewTimer(testTimeout)
	defer limit.Stop()
	for {
		r.mu.Lock()
		events, change := slices.Clip(r.events), r.change
		r.mu.Unlock()
		if ok(events) { // without the lock, because the link would wait for it and fall behind
			return
		}
		select {
		case <-change:
		case <-limit.C:
			all := r.allEvents()
			t.Fatalf("timed out waiting for %s after %d events, the last of them %q", what, len(all), all[max(0, len(all)-50):])
		}
	}
}

// awaitEvent returns when event was recorded n times.
func (r *recorder) awaitEvent(t testing.TB, event string, n int) {
	t.Helper()
	r.await(t, fmt.Sprintf("%q, %d times", event, n), func(events []string) bool { return count(events, event) >= n })
}

func count(events []string, event string) (n int) {
	for _, e := range events {
		if e == event {
			n++
		}
	}
	return n
}

// logBuffer collects a link's log.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// runningLink is a link that runs until its test ends.
type runningLink struct {
	*source.Link
	*recorder
	stats *stats.Stats
	log   *logBuffer
	stop  func() // ends Run and waits for it
}

// startLink starts a link for the patterns, with changes to its configuration.
func startLink(t testing.TB, addr string, patterns []string, changes ...func(*source.Config)) *runningLink {
	t.Helper()
	list, err := access.ParsePatterns(patterns)
	if err != nil {
		t.Fatal(err)
	}
	r := &runningLink{recorder: newRecorder(), stats: new(stats.Stats), log: new(logBuffer)}
	cfg := source.Config{
		Server:   source.Server{Address: addr},
		Names:    access.NewNames("", ""),
		Patterns: list,
		Stats:    r.stats,
		Logger:   slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, change := range changes {
		change(&cfg)
	}
	r.Link, err = source.New(cfg, r.recorder)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(testTimeout):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("the link's log:\n%s", r.log)
		}
	})
	return r
}

// startLive is [startLink] that waits for the first epoch.
func startLive(t testing.TB, addr string, patterns []string, changes ...func(*source.Config)) *runningLink {
	t.Helper()
	r := startLink(t, addr, patterns, changes...)
	r.awaitEvent(t, "online", 1)
	return r
}

// protocol makes the link use RESP2 or RESP3.
func protocol(version int) func(*source.Config) {
	return func(c *source.Config) { c.Server.Protocol = version }
}

// markersOff makes the link work without markers.
func markersOff(c *source.Config) { c.MarkersOff = true }

// useNames makes the link use these prefixes.
func useNames(channelPrefix, keyPrefix string) func(*source.Config) {
	return func(c *source.Config) { c.Names = access.NewNames(channelPrefix, keyPrefix) }
}

// markersIn returns the events that are markers.
func markersIn(events []string) []string {
	return slices.DeleteFunc(slices.Clone(events), func(e string) bool { return !strings.HasPrefix(e, "marker ") })
}

func hasMarker(events []string) bool { return len(markersIn(events)) > 0 }

// eachProtocol runs the test with RESP2 and RESP3.
func eachProtocol(t *testing.T, test func(t *testing.T, useProtocol func(*source.Config))) {
	for _, version := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", version), func(t *testing.T) {
			t.Parallel()
			test(t, protocol(version))
		})
	}
}

// eachServer runs the test with RESP2 and RESP3, in parallel with other tests,
// and starts a Redis for each.
func eachServer(t *testing.T, test func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config))) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) { test(t, redistest.Start(t), useProtocol) })
}

// eachLink is [eachServer] with a link for every channel, which is up.
func eachLink(t *testing.T, test func(t *testing.T, server *redistest.Server, l *runningLink)) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		test(t, server, startLive(t, server.Addr, []string{"*"}, useProtocol))
	})
}

// eventually returns when ok returns true. It fails the test if that does not
// happen.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(testTimeout)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// expectDelivery checks that a message is delivered now.
func (l *runningLink) expectDelivery(t testing.TB, server *redistest.Server, channel string) {
	t.Helper()
	payload := fmt.Sprint("alive ", time.Now().UnixNano())
	server.CLI("PUBLISH", channel, payload)
	l.awaitEvent(t, channel+"="+payload, 1)
}

// expectDetected waits until the nth epoch ends, which may take until limit,
// and returns how long it took.
func (l *runningLink) expectDetected(t testing.TB, n int, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	l.awaitEvent(t, "offline", n)
	took := time.Since(began)
	if took > limit {
		t.Errorf("detected after %v", took)
	}
	return took
}

// awaitPublishing waits until the link can publish x to the channel mine.
func (l *runningLink) awaitPublishing(t testing.TB) {
	t.Helper()
	eventually(t, "publishing by the relay", func() bool {
		_, err := l.Link.Publish(t.Context(), "mine", []byte("x"))
		return err == nil
	})
}

// expectEvents checks all events so far, except flushes and markers.
func (l *runningLink) expectEvents(t testing.TB, want ...string) {
	t.Helper()
	if got := l.recorder.deliveries(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// expectLost checks how often the sink was notified that the link is down.
func (l *runningLink) expectLost(t testing.TB, want int) {
	t.Helper()
	if n := count(l.recorder.deliveries(), "offline"); n != want {
		t.Errorf("the link was lost %d times, want %d", n, want)
	}
}

// expectMarkersUp checks the gauge that reports whether markers return.
func (l *runningLink) expectMarkersUp(t testing.TB, want bool) {
	t.Helper()
	if l.stats.MarkersUp.Load() != want {
		t.Errorf("the gauge of markers is %v", !want)
	}
}

// expectNoWarnings checks that the link has logged neither warnings nor errors.
func (l *runningLink) expectNoWarnings(t testing.TB) {
	t.Helper()
	if text := l.log.String(); strings.Contains(text, "level=WARN") || strings.Contains(text, "level=ERROR") {
		t.Error("the link logged a problem")
	}
}

// expectEnded checks how many epochs ended with a cause.
func (l *runningLink) expectEnded(t testing.TB, cause stats.Cause, want uint64) {
	t.Helper()
	if n := l.stats.RedisEpochs[cause].Load(); n != want {
		t.Errorf("%d epochs ended by %s, want %d", n, stats.Causes[cause], want)
	}
}

// awaitLog waits until the log contains each text: the link notifies its sink
// before it logs.
func (l *runningLink) awaitLog(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		eventually(t, "the log to contain "+text, func() bool { return strings.Contains(l.log.String(), text) })
	}
}

// expectLoggedOnce checks that the log contains the text once.
func (l *runningLink) expectLoggedOnce(t testing.TB, text string) {
	t.Helper()
	if n := strings.Count(l.log.String(), text); n != 1 {
		t.Errorf("the log contains %q %d times", text, n)
	}
}
