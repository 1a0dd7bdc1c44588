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
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// TestMain lets more tests run at once than there are processors, because nearly all of them wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("10")
	}
	os.Exit(m.Run())
}

// patience bounds every wait in these tests; it is never reached unless something is broken. Redis takes its time for some
// of what is waited for: a Sentinel looks at a server's role every 10 s, and lets an old master be one for 8 s more.
const patience = time.Minute

// recorder is a sink that writes down what it is told, one line each, and lets tests wait for lines.
type recorder struct {
	mu     sync.Mutex
	events []string
	nodes  []uint32                      // of each Online
	change chan struct{}                 // closed and replaced at each event
	hook   func(channel, payload []byte) // called in Publish, if set
	short  bool                          // payloads are written as digests
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

// digests makes the recorder write payloads as digests.
func (r *recorder) digests() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = true
}

func (r *recorder) Publish(channel, payload []byte) {
	r.mu.Lock()
	hook, short := r.hook, r.short
	r.mu.Unlock()
	if hook != nil {
		hook(channel, payload)
	}
	if short {
		payload = []byte(digest(payload))
	}
	r.add(fmt.Sprintf("%s=%s", channel, payload))
}

func (r *recorder) Oversize(channel []byte) { r.add("oversize " + string(channel)) }
func (r *recorder) Flush()                  { r.add("flush") }
func (r *recorder) Marker(id []byte)        { r.add(fmt.Sprintf("marker %x", id)) }
func (r *recorder) Offline()                { r.add("offline") }

func (r *recorder) Online(node uint32) {
	r.mu.Lock()
	r.nodes = append(r.nodes, node)
	r.mu.Unlock()
	r.add("online")
}

// log returns everything so far but flushes and markers.
func (r *recorder) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events), func(e string) bool {
		return e == "flush" || strings.HasPrefix(e, "marker ")
	})
}

// all returns everything so far.
func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// await returns when ok holds for the events so far, and ends the test when it never does.
func (r *recorder) await(t testing.TB, what string, ok func(events []string) bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		r.mu.Lock()
		events, change := slices.Clip(r.events), r.change
		r.mu.Unlock()
		if ok(events) { // without the lock: the link would wait, and then hear less than is published
			return
		}
		select {
		case <-change:
		case <-limit.C:
			all := r.all()
			t.Fatalf("waited in vain for %s; had %d events, the last of them %q", what, len(all), all[max(0, len(all)-50):])
		}
	}
}

// awaitEvent returns when event was seen n times.
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

// logbook is the text of a link's log.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a link that runs until its test ends.
type running struct {
	*source.Link
	*recorder
	stats *stats.Stats
	log   *logbook
	stop  func() // ends Run and waits for it
}

// run starts a link for the patterns, with changes to its configuration.
func run(t testing.TB, addr string, patterns []string, changes ...func(*source.Config)) *running {
	t.Helper()
	list, err := access.ParsePatterns(patterns)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{recorder: newRecorder(), stats: new(stats.Stats), log: new(logbook)}
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
		case <-time.After(patience):
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

// goLive is [run] that waits for the first epoch.
func goLive(t testing.TB, addr string, patterns []string, changes ...func(*source.Config)) *running {
	t.Helper()
	r := run(t, addr, patterns, changes...)
	r.awaitEvent(t, "online", 1)
	return r
}

// protocol makes the link speak RESP 2 or 3.
func protocol(version int) func(*source.Config) {
	return func(c *source.Config) { c.Server.Protocol = version }
}

// eachProtocol runs the test with RESP2 and RESP3.
func eachProtocol(t *testing.T, test func(t *testing.T, speak func(*source.Config))) {
	for _, version := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", version), func(t *testing.T) {
			t.Parallel()
			test(t, protocol(version))
		})
	}
}

// eventually returns when ok does.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
