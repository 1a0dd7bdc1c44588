package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

// A fakeRelay records what a Control does to its sessions.
type fakeRelay struct {
	*Control
	t        *testing.T
	client   *redis.Client
	stats    stats.Stats
	log      bytes.Buffer // read after stop
	onRevoke func()       // runs after each page; may be nil
	down     error        // guarded by mu, like the next ones

	mu   sync.Mutex
	did  []string
	more chan struct{} // has an entry if did has grown
}

func newFakeRelay(t *testing.T, server *redistest.Server, names access.Names, age time.Duration) *fakeRelay {
	r := &fakeRelay{t: t, client: relaytest.NewRedis(server.Addr, time.Minute), more: make(chan struct{}, 1)}
	t.Cleanup(func() { _ = r.client.Close() })
	r.Control = New(Config{
		Names: names, Sessions: r, Link: func() Commands { return r }, Login: true, RevokedAge: age,
		Answer: func(id string, count int) { r.record("answer %s %d", id, count) },
		Stats:  &r.stats, Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	return r
}

// run runs the Control until stop is called.
func (r *fakeRelay) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

func (r *fakeRelay) Do(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
	r.mu.Lock()
	err := r.down
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return f(ctx, r.client)
}

func (r *fakeRelay) record(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did = append(r.did, fmt.Sprintf(format, args...))
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// await waits until the Control has done this.
func (r *fakeRelay) await(what string) {
	r.t.Helper()
	limit := time.After(relaytest.Patience)
	for {
		r.mu.Lock()
		text := strings.Join(r.did, "\n")
		r.mu.Unlock()
		if strings.Contains(text, what) {
			return
		}
		select {
		case <-r.more:
		case <-limit:
			r.t.Fatalf("it did not %s, but:\n%s", what, text)
		}
	}
}

func subjectText(who access.Subject) string { return access.SubjectKinds[who.Kind] + ":" + who.Name }

func (r *fakeRelay) Revoke(list []access.Revocation) {
	for _, revoked := range list {
		r.record("revoke %s %d", subjectText(revoked.Subject), revoked.Ms)
	}
	if r.onRevoke != nil {
		r.onRevoke()
	}
}

func (r *fakeRelay) ForgetRevoked(before time.Time) { r.record("forget") }

func (r *fakeRelay) Disconnect(who access.Subject) int {
	r.record("disconnect %s", subjectText(who))
	return 3
}

func (r *fakeRelay) Refresh(who access.Subject) int {
	r.record("refresh %s", subjectText(who))
	return 0
}

func (r *fakeRelay) SubscribeFor(who access.Subject, channel string) (int, protocol.Code) {
	if channel == "closed" {
		return 0, protocol.CodeForbidden
	}
	r.record("subscribe %s %s", subjectText(who), channel)
	return 1, protocol.CodeOK
}

func (r *fakeRelay) UnsubscribeFor(who access.Subject, channel string) int {
	r.record("unsubscribe %s %s", subjectText(who), channel)
	return 2
}

// Control messages are done in order, after the newest revocations were read.
// Those that cannot be understood are counted and logged, without their text.
func TestControl(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("app:", "sc:"), time.Hour)
	service := r.Service()
	if service.Channel != "app:sc:control" {
		t.Errorf("the channel is %q", service.Channel)
	}
	if err := service.Prepare(t.Context(), r.client); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	r.client.ZAdd(t.Context(), "app:sc:revoked", redis.Z{Score: float64(now), Member: "user:42"})
	for _, message := range []string{
		`{"action":"disconnect","user":42,"id":"a"}`, `{"action":"secret"}`, `{"action":"refresh","session":"S"}`,
		`{"action":"subscribe","user":"42","channel":"closed","id":"b"}`, "\xff", `{"action":"subscribe","token":"T","channel":"a","id":7}`,
		`{"action":"unsubscribe","user":"42","channel":"a","id":"c"}`,
	} {
		service.Receive([]byte(message))
	}
	stop := r.run()
	r.await("answer c 2")
	stop()
	want := []string{
		fmt.Sprint("revoke user:42 ", now), "disconnect user:42", "answer a 3", "refresh session:S", "subscribe token:T a", "answer 7 1",
		"unsubscribe user:42 a", "answer c 2",
	}
	if got, want := strings.Join(r.did, ", "), strings.Join(want, ", "); got != want {
		t.Errorf("it did\n%s\nwant\n%s", got, want)
	}
	for kind, want := range []uint64{1, 1, 1, 1, 3, 0} {
		if got := r.stats.Control[kind].Load(); got != want {
			t.Errorf("%d of %s, want %d", got, stats.ControlActions[kind], want)
		}
	}
	for _, problem := range []string{"SIDECAST_CHANNELS", "not UTF-8", "action must be"} {
		if !strings.Contains(r.log.String(), problem) {
			t.Errorf("the log does not say %q: %s", problem, &r.log)
		}
	}
	if strings.Contains(r.log.String(), "secret") {
		t.Errorf("the log has the message: %s", &r.log)
	}
}

// An epoch begins with all revocations, and a control message makes the relay
// read the newest ones, written in milliseconds or seconds, by whatever clock,
// but not old ones again.
func TestWhichRevocationsAreRead(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("", ""), 0)
	add := func(score float64, member string) {
		r.client.ZAdd(t.Context(), "sidecast:revoked", redis.Z{Score: score, Member: member})
	}
	now := float64(time.Now().UnixMilli())
	add(1_000_000_000_000, "user:old")
	add(now-600_000, "user:earlier")
	add(now+240_000, "user:fast") // an application server whose clock is 4 minutes ahead
	if err := r.Service().Prepare(t.Context(), r.client); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "earlier", "fast"} {
		r.await("revoke user:" + name)
	}
	r.did = nil
	add(now-280_000, "user:slow") // one whose clock is nearly 5 minutes behind
	add(float64(int64(now/1000)), "user:seconds")
	r.Service().Receive([]byte(`{"action":"refresh","user":"x"}`))
	stop := r.run()
	r.await("refresh user:x")
	stop()
	for _, name := range []string{"slow", "fast", "seconds"} {
		r.await("revoke user:" + name)
	}
	if text := strings.Join(r.did, "\n"); strings.Contains(text, "old") || strings.Contains(text, "earlier") {
		t.Errorf("it has read old revocations: %s", text)
	}
	if !strings.Contains(r.log.String(), "time in seconds") {
		t.Errorf("the log does not mention the seconds: %s", &r.log)
	}
}

// While Redis is not available, control messages that were received are done
// all the same, and the revocations are read as soon as it is available.
func TestControlWithoutRedis(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("", ""), 0)
	r.down = errors.New("away")
	r.client.ZAdd(t.Context(), "sidecast:revoked", redis.Z{Score: 1_000_000_000_000, Member: "user:42"})
	defer r.run()()
	r.Service().Receive([]byte(`{"action":"disconnect","user":"42"}`))
	r.await("disconnect user:42")
	r.mu.Lock()
	r.down = nil
	r.mu.Unlock()
	r.await("revoke user:42")
}

// If the time is not enough to read all revocations, the next attempt goes on,
// and they are read once more later.
func TestManyRevocations(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("", ""), 0)
	const n = 2*pageSize + 10
	for i := 0; i < n; i += 1000 {
		var entries []redis.Z
		for k := i; k < min(i+1000, n); k++ {
			entries = append(entries, redis.Z{Score: float64(1e12 + 1000*k), Member: fmt.Sprint("user:", k)})
		}
		r.client.ZAdd(t.Context(), "sidecast:revoked", entries...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.onRevoke = cancel // as if the time was over after one page
	if err := r.Service().Prepare(ctx, r.client); err == nil || len(r.did) != pageSize {
		t.Fatalf("the first attempt: %v after %d entries", err, len(r.did))
	}
	r.onRevoke = nil
	if err := r.Service().Prepare(t.Context(), r.client); err != nil || len(r.did) != n+1 {
		t.Fatalf("the second attempt: %v after %d entries", err, len(r.did)) // one is read twice
	}
	r.did = nil
	if r.readAll(t.Context()); len(r.did) != n {
		t.Errorf("later, %d entries are read", len(r.did))
	}
	r.did = nil
	if r.readAll(t.Context()); len(r.did) > 0 {
		t.Errorf("and again, %d entries are read", len(r.did))
	}
}

// ago moves the last reads of a Control into the past.
func (r *fakeRelay) ago(d time.Duration) {
	r.Control.mu.Lock()
	defer r.Control.mu.Unlock()
	r.readAt, r.allAt = r.readAt.Add(-d), r.allAt.Add(-d)
}

// No entry is missed that was added while reads failed, or with an old score,
// even if another entry has a time in the future.
func TestNoRevocationIsMissed(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("", ""), 0)
	add := func(score float64, member string) {
		r.client.ZAdd(t.Context(), "sidecast:revoked", redis.Z{Score: score, Member: member})
	}
	add(math.Inf(1), "user:locked")
	if err := r.Service().Prepare(t.Context(), r.client); err != nil {
		t.Fatal(err)
	}
	r.ago(7 * time.Minute) // as if the reads had failed since then
	add(float64(time.Now().Add(-6*time.Minute).UnixMilli()), "user:missed")
	add(0, "token:old")
	if _, ok := r.readNewest(t.Context()); !ok {
		t.Fatal("the newest entries cannot be read")
	}
	r.await("revoke user:missed")
	r.ago(10 * time.Minute)
	r.readAll(t.Context())
	r.await("revoke token:old")
}

// As soon as Redis lets the relay read the revocations, it does, without a new
// connection.
func TestRevocationsBecomeReadable(t *testing.T) {
	server := redistest.Start(t)
	for refused, permitted := range map[string]string{
		"ACL SETUSER default -zrangebyscore": "ACL SETUSER default +zrangebyscore",
		"SET sidecast:revoked x":             "DEL sidecast:revoked",
	} {
		server.CLI(strings.Fields(refused)...)
		r := newFakeRelay(t, server, access.NewNames("", ""), 0)
		if err := r.Service().Prepare(t.Context(), r.client); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.readNewest(t.Context()); !ok || len(r.did) > 0 {
			t.Errorf("%s: it read %v", refused, r.did)
		}
		server.CLI(strings.Fields(permitted)...)
		server.CLI("ZADD", "sidecast:revoked", "1000000000000", "user:42")
		r.Service().Receive([]byte(`{"action":"disconnect","user":"42"}`))
		stop := r.run()
		r.await("disconnect user:42")
		stop()
		r.await("revoke user:42")
		if n := strings.Count(r.log.String(), "revocations cannot be read"); n != 1 {
			t.Errorf("%s: logged %d times", refused, n)
		}
		server.CLI("DEL", "sidecast:revoked")
	}
}

// An epoch does not begin if the revocations cannot be read, unless that will
// never change: then there is a message that says what to do.
func TestPrepare(t *testing.T) {
	server := redistest.Start(t)
	for _, test := range []struct {
		why, setup string // redis-cli commands
		fails      bool
		log        string
	}{
		{"no entries", "", false, ""},
		{"no right to the command", "ACL SETUSER default -zrangebyscore", false, "grant +zrangebyscore and ~sidecast:revoked"},
		{"no right to the key", "ACL SETUSER default +@all resetkeys ~other", false, "grant +zrangebyscore and ~sidecast:revoked"},
		{"another type", "ACL SETUSER default allkeys;SET sidecast:revoked x", false, "delete the key"},
		{"a wrong entry", "DEL sidecast:revoked;ZADD sidecast:revoked 1 42", false, "name the entry like"},
		{"a time in the future", "DEL sidecast:revoked;ZADD sidecast:revoked 99999999999999 user:42", false, "time in the future"},
		{"the server is not available", "DEL sidecast:revoked;CONFIG SET requirepass x", true, ""},
	} {
		for command := range strings.SplitSeq(test.setup, ";") {
			if command != "" {
				server.CLI(strings.Fields(command)...)
			}
		}
		r := newFakeRelay(t, server, access.NewNames("", ""), 0)
		err := r.Service().Prepare(t.Context(), r.client)
		if (err != nil) != test.fails || !strings.Contains(r.log.String(), test.log) || test.log == "" && r.log.Len() > 0 {
			t.Errorf("%s: %v, log: %s", test.why, err, &r.log)
		}
	}
}

// Old revocations are deleted, in milliseconds and in seconds, and no others.
func TestTrim(t *testing.T) {
	server := redistest.Start(t)
	r := newFakeRelay(t, server, access.NewNames("", ""), time.Hour)
	now := time.Now()
	for member, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": 30 * time.Minute} {
		r.client.ZAdd(t.Context(), "sidecast:revoked", redis.Z{Score: float64(now.Add(-age).UnixMilli()), Member: "user:" + member},
			redis.Z{Score: float64(now.Add(-age).Unix()), Member: "session:" + member})
	}
	r.trim(t.Context())
	if left := server.CLI("ZRANGE", "sidecast:revoked", "0", "-1"); left != "session:new\nuser:new" || len(r.did) != 1 {
		t.Errorf("%q is left, it did %v", left, r.did)
	}
	forever := newFakeRelay(t, server, access.NewNames("", ""), 0)
	if forever.trim(t.Context()); len(forever.did) > 0 {
		t.Errorf("without an age, it did %v", forever.did)
	}
	server.CLI("ACL", "SETUSER", "default", "-zremrangebyscore")
	if r.trim(t.Context()); !strings.Contains(r.log.String(), "grant +zremrangebyscore") {
		t.Errorf("the log is %s", &r.log)
	}
}

// What waits is bounded in bytes, and what is too much is counted.
func TestQueueIsBounded(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("", ""), 0)
	message := []byte(`{"action":"refresh","user":"x","more":"` + strings.Repeat("x", 1<<20-200) + `"}`)
	for range 6 {
		r.Service().Receive(message)
	}
	if dropped, n := r.stats.Control[stats.ControlDropped].Load(), len(r.queue.takeAll()); dropped != 2 || n != 4 {
		t.Errorf("%d are dropped and %d wait", dropped, n)
	}
	if r.Service().Receive(message); len(r.queue.takeAll()) != 1 {
		t.Error("there is no room afterwards")
	}
}
