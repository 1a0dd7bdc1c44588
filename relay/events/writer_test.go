package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/redistest"
)

// The stream has one entry for each report, with the fields that apply.
func TestWriter(t *testing.T) {
	s := newServer(t)
	w := NewWriter(s.config(), []protocol.ReportKind{protocol.ReportConnected, protocol.ReportPublished, protocol.ReportRefused})
	at := time.UnixMilli(1_700_000_000_123)
	for _, r := range []protocol.Report{
		{Kind: protocol.ReportConnected, At: at, User: "42", Session: "S1"},
		{Kind: protocol.ReportJoined, At: at, User: "42", Channel: "chat"}, // not enabled
		{Kind: protocol.ReportPublished, At: at, Session: "S2", Channel: "chat", Cursor: "c"},
		{Kind: protocol.ReportRefused, At: at, Code: "4403"},
		{Kind: protocol.ReportControl, At: at, ID: "a1"}, // always enabled, and a count of 0 is an answer
	} {
		w.Write(r)
	}
	run(t, w.Run)()
	entries, err := s.client.XRange(t.Context(), testStream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, entry := range entries {
		fmt.Fprintln(&got, entry.Values)
	}
	want := `map[kind:connected ms:1700000000123 session:S1 user:42]
map[channel:chat cursor:c kind:published ms:1700000000123 session:S2]
map[code:4403 kind:refused ms:1700000000123]
map[count:0 id:a1 kind:control ms:1700000000123]
`
	if got.String() != want {
		t.Errorf("the stream contains\n%swant\n%s", &got, want)
	}
	if n := w.cfg.Stats.EventsWritten[protocol.ReportConnected].Load(); n != 1 {
		t.Errorf("%d events counted, want 1", n)
	}
}

// Reports wait while the link is down, up to a bound in bytes, in their order.
// Those above it are counted. Writing never waits.
func TestWriterWhileRedisIsAway(t *testing.T) {
	s := newServer(t)
	s.down.Store(true)
	w := NewWriter(s.config(), []protocol.ReportKind{protocol.ReportPublished})
	stop := run(t, w.Run)
	const reports = 10_000
	for i := range reports {
		w.Write(protocol.Report{Kind: protocol.ReportPublished, Session: fmt.Sprint(i)})
	}
	dropped := int(w.cfg.Stats.EventsDropped.Load())
	if kept := reports - dropped; kept < 1000 || kept > queueBytes/reportCharge {
		t.Errorf("%d of %d reports are kept", kept, reports)
	}
	s.down.Store(false)
	eventually(t, func() string {
		if n := len(s.entries()); n < reports-dropped {
			return fmt.Sprintf("%d of %d reports were written", n, reports-dropped)
		}
		return ""
	})
	stop()
	for i, e := range s.entries() {
		if e.Session != fmt.Sprint(i) {
			t.Fatalf("entry %d is that of session %s", i, e.Session)
		}
	}
	if w.bytes != 0 || w.queue != nil {
		t.Errorf("%d bytes remain in the queue", w.bytes)
	}
}

// A report is sent once: if the answer of Redis is lost it may be in the stream.
func TestWriterSendsOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: refuse, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	var calls atomic.Int32
	link := func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
		calls.Add(1)
		return f(ctx, client)
	}
	w := NewWriter(Config{Redis: link, Stream: testStream}, []protocol.ReportKind{protocol.ReportPublished})
	w.Write(protocol.Report{Kind: protocol.ReportPublished})
	run(t, w.Run)()
	if n := w.cfg.Stats.EventsDropped.Load(); calls.Load() != 1 || n != 1 {
		t.Errorf("%d calls, %d reports dropped, want 1 and 1", calls.Load(), n)
	}
}

// Reports wait while Redis can be reached and does not accept them.
func TestWriterWhileRedisIsReadOnly(t *testing.T) {
	s := newServer(t)
	s.redis.CLI("CONFIG", "SET", "min-replicas-to-write", "1") // NOREPLICAS
	w := NewWriter(s.config(), []protocol.ReportKind{protocol.ReportPublished})
	const reports = 2*batchReports + 1
	for i := range reports {
		w.Write(protocol.Report{Kind: protocol.ReportPublished, Session: fmt.Sprint(i)})
	}
	if w.writeAll(t.Context()) {
		t.Error("the reports were written")
	}
	s.redis.CLI("CONFIG", "SET", "min-replicas-to-write", "0")
	run(t, w.Run)()
	if n, dropped := len(s.entries()), w.cfg.Stats.EventsDropped.Load(); n != reports || dropped != 0 {
		t.Errorf("%d of %d reports were written, %d dropped", n, reports, dropped)
	}
}

// Reports wait while no connection to Redis can be established.
func TestWriterWithoutConnection(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: redistest.FreeAddr(t), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	link := func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
		return f(ctx, client)
	}
	w := NewWriter(Config{Redis: link, Stream: testStream}, []protocol.ReportKind{protocol.ReportPublished})
	w.Write(protocol.Report{Kind: protocol.ReportPublished})
	if w.writeAll(t.Context()) || len(w.queue) != 1 {
		t.Errorf("%d reports wait, want 1", len(w.queue))
	}
}

// Answers of Redis are sorted into those that are final and those that pass.
func TestRefusals(t *testing.T) {
	for text, refused := range map[string]bool{
		"NOPERM this user has no permissions to run the 'xadd' command":     true,
		"WRONGTYPE Operation against a key holding the wrong kind of value": true,
		"ERR unknown command": true,
		"ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -NOPERM this user has no permissions":          true,
		"LOADING Redis is loading the dataset in memory":                                                                         false,
		"READONLY You can't write against a read only replica.":                                                                  false,
		"ERR max number of clients reached":                                                                                      false,
		"ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't write against a read only": false,
		"ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed":                      false,
	} {
		if got := isRefusal(answer(text)); got != refused {
			t.Errorf("%q is a refusal: %v, want %v", text, got, refused)
		}
	}
}

// An answer is an error that Redis answers with.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// The stream does not grow without limit.
func TestWriterTrims(t *testing.T) {
	s := newServer(t)
	w := NewWriter(s.config(), []protocol.ReportKind{protocol.ReportPublished})
	stop := run(t, w.Run)
	for i := range 3 * Length {
		for w.waiting() > queueBytes/2 {
			time.Sleep(time.Millisecond)
		}
		w.Write(protocol.Report{Kind: protocol.ReportPublished, Session: fmt.Sprint(i)})
	}
	stop()
	if n := len(s.entries()); n < Length || n > Length+200 {
		t.Errorf("the stream has %d entries", n)
	}
}

func (w *Writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// Without the right, the log says what to grant, without the reports.
func TestWriterWithoutRights(t *testing.T) {
	s := newServer(t)
	s.redis.CLI("ACL", "SETUSER", "default", "-xadd")
	var log strings.Builder
	w := NewWriter(s.logTo(&log), []protocol.ReportKind{protocol.ReportPublished})
	w.Write(protocol.Report{Kind: protocol.ReportPublished, User: "hunter2"})
	run(t, w.Run)()
	if !strings.Contains(log.String(), "grant +xadd and the key ~sidecast:events") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log is %s", &log)
	}
}

var errRefused = errors.New("connection refused")
