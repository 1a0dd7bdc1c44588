package events

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

// The bodies and signatures that the application receives.
func TestWebhookRequest(t *testing.T) {
	count := int64(0)
	batch := []Event{
		{Entry: "1-0", Kind: "joined", MS: 1, User: "42", Channel: "presence-chat"},
		{Entry: "2-0", Kind: "left", MS: 2, User: "<é>", Channel: "chat"},
		{Entry: "3-0", Kind: "unheard", MS: 3, Channel: "user:42", Cursor: "c"},
		{Entry: "4-0", Kind: "control", MS: 4, ID: "a1", Count: &count},
		{Entry: "5-0", Kind: "disconnected", MS: 5, Session: "S", Code: "1001"},
	}
	now := time.Unix(1_700_000_000, 0)
	for format, want := range map[Format]string{
		FormatJSON: `{"events":[` +
			`{"entry":"1-0","kind":"joined","ms":1,"user":"42","channel":"presence-chat"},` +
			`{"entry":"2-0","kind":"left","ms":2,"user":"<é>","channel":"chat"},` +
			`{"entry":"3-0","kind":"unheard","ms":3,"channel":"user:42","cursor":"c"},` +
			`{"entry":"4-0","kind":"control","ms":4,"id":"a1","count":0},` +
			`{"entry":"5-0","kind":"disconnected","ms":5,"session":"S","code":"1001"}]}`,
		FormatPusher: `{"time_ms":1700000000000,"events":[` +
			`{"name":"member_added","channel":"presence-chat","user_id":"42"},` +
			`{"name":"member_removed","channel":"chat","user_id":"<é>"},` +
			`{"name":"sidecast:unheard","entry":"3-0","kind":"unheard","ms":3,"channel":"user:42","cursor":"c"},` +
			`{"name":"sidecast:control","entry":"4-0","kind":"control","ms":4,"id":"a1","count":0},` +
			`{"name":"sidecast:disconnected","entry":"5-0","kind":"disconnected","ms":5,"session":"S","code":"1001"}]}`,
	} {
		if got := string(format.body(batch, now)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
	}
	if got, want := Sign("secret", []byte("body"), now), "t=1700000000,v1="+signature("secret", []byte("1700000000.body")); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

// Why a request failed, and in which metric it counts. Redirects are not
// followed.
func TestWebhookFails(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/accepted", http.StatusTemporaryRedirect)
		case "/error":
			http.Error(w, "hunter2", http.StatusInternalServerError)
		case "/large":
			_, _ = io.CopyN(w, neverEnds{}, 1<<20)
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/location":
			w.Header().Set("Location", "http://%zz/hunter2")
			w.WriteHeader(http.StatusFound)
		case "/busy":
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/garbage":
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(conn, "HTTP/1.1 hunter2\r\n\r\n")
			conn.Close()
		}
	}
	app := httptest.NewServer(http.HandlerFunc(answer))
	defer app.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for url, want := range map[string]*postError{
		app.URL + "/accepted?key=hunter2":             nil,
		app.URL + "/large?key=hunter2":                nil, // only the status counts
		app.URL + "/redirect?key=hunter2":             {result: stats.WebhookRefused, reason: "it answers with the redirect 307, which is not followed"},
		app.URL + "/error?key=hunter2":                {result: stats.WebhookRefused, reason: "it answers with status 500"},
		app.URL + "/cut?key=hunter2":                  {result: stats.WebhookFailed, reason: "it closes the connection without an answer"},
		app.URL + "/location":                         {result: stats.WebhookRefused, reason: "it answers with the redirect 302"},
		app.URL + "/busy":                             {result: stats.WebhookRefused, reason: "it answers with status 429", after: 17 * time.Second},
		app.URL + "/garbage":                          {result: stats.WebhookFailed, reason: "the connection broke, or the answer is not valid HTTP"},
		"https" + strings.TrimPrefix(app.URL, "http"): {result: stats.WebhookFailed, reason: "it does not speak TLS"},
		secure.URL: {result: stats.WebhookFailed, reason: "tls: failed to verify certificate"},
		"http://no-such-host.invalid/?key=hunter2":          {result: stats.WebhookFailed, reason: "dial tcp: lookup no-such-host.invalid"},
		"http://" + redistest.FreeAddr(t) + "/?key=hunter2": {result: stats.WebhookFailed, reason: "dial tcp"},
	} {
		w := NewWebhooks(WebhookConfig{URL: url, Secret: testSecret})
		got := w.post(t.Context(), []Event{{Entry: "1-0", Kind: "joined"}})
		switch {
		case (got == nil) != (want == nil):
			t.Errorf("%s: %v, want %v", url, got, want)
		case got == nil:
		case got.result != want.result, got.after != want.after, !strings.HasPrefix(got.reason, want.reason), strings.Contains(got.reason+got.do, "hunter2"):
			t.Errorf("%s: %+v, want %+v", url, got, want)
		}
	}
	if newTransport().Proxy != nil {
		t.Error("the client uses a proxy")
	}
}

// neverEnds is a reader.
type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) { return len(p), nil }

// A transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// While the application fails, requests become rare. After that, they begin
// slowly, one after the other, until the relay has caught up.
func TestWebhookPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWebhooks(WebhookConfig{Config: Config{Redis: noRedis}, URL: "http://app.internal/", Secret: testSecret})
		began := time.Now()
		var at []time.Time
		w.client = transport(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Now())
			status := http.StatusServiceUnavailable
			if time.Since(began) > 10*time.Minute {
				status = http.StatusOK
			}
			return &http.Response{StatusCode: status, Body: http.NoBody}, nil
		})
		batch := make([]Event, batchEvents)
		w.deliver(t.Context(), batch)
		if n := len(at); n < 18 || n > 35 {
			t.Errorf("%d requests in an outage of 10 minutes", n)
		}
		if last := at[len(at)-1].Sub(at[len(at)-2]); last > maxBackoff*6/5 {
			t.Errorf("the last request follows after %v", last)
		}
		at = at[len(at)-1:]
		for range 100 {
			w.deliver(t.Context(), batch)
		}
		for i, least := range map[int]time.Duration{1: slowest, 2: slowest * 9 / 10, 10: slowest / 3, 100: fastest} {
			if gap := at[i].Sub(at[i-1]); gap < least {
				t.Errorf("request %d follows after %v, want at least %v", i, gap, least)
			}
		}
	})
}

// noRedis is a [Redis] whose link is up, and that does nothing.
func noRedis(context.Context, func(context.Context, redis.UniversalClient) error) error { return nil }

// Three relays post each event once. Events that a relay took before it was
// killed are posted by another one.
func TestWebhooksOfThreeRelays(t *testing.T) {
	s, app := newServer(t), newReceiver(t)
	killed := s.webhooks(app.URL)
	if batch, err := killed.next(t.Context()); err != nil || len(batch) != 0 {
		t.Fatal(batch, err)
	}
	users := numbered(1000)
	s.add(users[:150]...)
	batch, err := killed.next(t.Context()) // it has taken these and does not post them
	if err != nil || len(batch) != batchEvents {
		t.Fatal(len(batch), err)
	}
	killed.setIdle(t.Context(), batch, claimAfter)
	for range 3 {
		run(t, s.webhooks(app.URL).Run)
	}
	s.add(users[150:]...)
	eventually(t, func() string { return missing(app.bodies(), users) })
	eventually(t, func() string {
		if n := s.pending(); n != 0 {
			return fmt.Sprintf("%d events are pending", n)
		}
		return ""
	})
	for _, user := range users {
		if n := strings.Count(app.bodies(), `"user":"`+user+`"`); n != 1 {
			t.Errorf("user %s was posted %d times", user, n)
		}
	}
}

func numbered(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprint(i))
	}
	return users
}

// missing names a user without an event in the bodies.
func missing(bodies string, users []string) string {
	for _, user := range users {
		if !strings.Contains(bodies, `"user":"`+user+`"`) {
			return "user " + user + " is missing"
		}
	}
	return ""
}

// A relay that is stopped while the application fails leaves its events to the
// others at once.
func TestWebhooksReleased(t *testing.T) {
	s, app := newServer(t), newReceiver(t)
	app.status.Store(http.StatusBadGateway)
	first := s.webhooks(app.URL)
	stop := run(t, first.Run)
	eventually(t, func() string {
		if n, _ := s.client.Exists(t.Context(), testStream).Result(); n == 0 {
			return "there is no group"
		}
		return ""
	})
	s.add("42")
	eventually(t, func() string {
		if first.cfg.Stats.WebhookRequests[stats.WebhookRefused].Load() == 0 {
			return "there is no request"
		}
		return ""
	})
	stop()
	app.status.Store(http.StatusOK)
	run(t, s.webhooks(app.URL).Run)
	eventually(t, func() string { return missing(app.bodies(), []string{"42"}) })
}

// Events that are no longer in the stream do not stay pending, and are counted.
func TestWebhooksTrimmed(t *testing.T) {
	s, app := newServer(t), newReceiver(t)
	w := s.webhooks(app.URL)
	if _, err := w.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.add("1", "2", "3")
	batch, err := w.next(t.Context())
	if err != nil || len(batch) != 3 {
		t.Fatal(batch, err)
	}
	w.setIdle(t.Context(), batch, claimAfter)
	s.redis.CLI("XTRIM", testStream, "MAXLEN", "1")
	w = s.webhooks(app.URL)
	run(t, w.Run)
	eventually(t, func() string { return missing(app.bodies(), []string{"3"}) })
	eventually(t, func() string {
		if n := s.pending(); n != 0 {
			return fmt.Sprintf("%d events are pending", n)
		}
		return ""
	})
	if n := w.cfg.Stats.WebhookLost.Load(); n != 2 {
		t.Errorf("%d events are counted as lost, want 2", n)
	}
}

// The application can ask for a longer pause, by seconds or a date.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                      0,
		"20":                                    20 * time.Second,
		"99999999999999999999":                  0,
		"-1":                                    0,
		"soon":                                  0,
		"Fri, 02 Jan 2026 03:04:30 GMT":         25 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT":         0,
		now.Add(time.Hour).Format(time.RFC3339): 0,
	} {
		if got := retryAfterOf(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	w := NewWebhooks(WebhookConfig{URL: "http://app"})
	w.failed(&postError{after: 20 * time.Second})
	if w.pause < 16*time.Second || w.pause > 24*time.Second {
		t.Errorf("the pause is %v, want about 20 s", w.pause)
	}
	if w.failed(&postError{after: time.Hour}); w.pause > 36*time.Second {
		t.Errorf("the pause is %v", w.pause)
	}
}

// If Redis loses its data, the webhooks go on with everything that is new.
func TestWebhooksAfterLossOfData(t *testing.T) {
	s, app := newServer(t), newReceiver(t)
	s.add("old") // before the first relay with webhooks: it is not posted
	w := s.webhooks(app.URL)
	if _, err := w.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.redis.CLI("FLUSHALL")
	s.add("1", "2")
	run(t, w.Run)
	eventually(t, func() string { return missing(app.bodies(), []string{"1", "2"}) })
	if strings.Contains(app.bodies(), "old") {
		t.Error("an event was posted that is older than the group")
	}
}

// Without rights, the log says what to grant.
func TestWebhooksWithoutRights(t *testing.T) {
	s := newServer(t)
	s.redis.CLI("ACL", "SETUSER", "default", "-xgroup")
	var log bytes.Buffer
	w := NewWebhooks(WebhookConfig{Config: s.logTo(&log), Secret: testSecret})
	if _, err := w.next(t.Context()); err == nil || !strings.Contains(log.String(), "grant +xgroup") {
		t.Errorf("error %v, log %s", err, &log)
	}
}

var outage = flag.Duration("outage", 3*time.Second, "how long the application is down in TestWebhookOutage; 60s is the whole test")

// An application that is down while 100 events arrive each second gets all of
// them afterwards, and is not flooded.
func TestWebhookOutage(t *testing.T) {
	s, app := newServer(t), newReceiver(t)
	var relays []*Webhooks
	for range 3 {
		w := s.webhooks(app.URL)
		relays = append(relays, w)
		if _, err := w.next(t.Context()); err != nil {
			t.Fatal(err)
		}
		run(t, w.Run)
	}
	app.status.Store(http.StatusServiceUnavailable)
	stop, events := make(chan struct{}), make(chan int)
	go func() {
		defer close(events)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				events <- i
				return
			case <-tick.C:
				s.add(fmt.Sprint(i))
			}
		}
	}()
	time.Sleep(*outage)
	app.status.Store(http.StatusOK)
	up := time.Now()
	time.Sleep(*outage / 2)
	close(stop)
	sent := <-events
	users := numbered(sent)
	eventually(t, func() string { return missing(app.bodies(), users) })

	var failed uint64
	for _, w := range relays {
		failed += w.cfg.Stats.WebhookRequests[stats.WebhookRefused].Load()
	}
	perSecond := map[int]int{}
	busiest, posted := 0, 0
	for _, r := range app.accepted() {
		second := int(r.at.Sub(up) / time.Second)
		perSecond[second] += strings.Count(r.body, `"entry"`)
		posted += strings.Count(r.body, `"entry"`)
		busiest = max(busiest, perSecond[second])
	}
	t.Logf("down for %v: %d events, no event lost, %d posted more than once; %d requests failed, %d were accepted; busiest second after the outage: %d events",
		*outage, sent, posted-sent, failed, len(app.accepted()), busiest)
	t.Logf("events accepted in each second after the outage: %v", perSecond)
	if posted != sent {
		t.Errorf("%d events were posted, want %d", posted, sent)
	}
}

// A request that is under way when the relay stops is completed, so that its
// events are not posted again.
func TestWebhookIsCompleted(t *testing.T) {
	s := newServer(t)
	arrived, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(arrived) })
		<-answer
	}))
	defer app.Close()
	w := s.webhooks(app.URL)
	if _, err := w.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.add("42")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	<-arrived
	cancel()
	close(answer)
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := s.pending(); n != 0 {
		t.Errorf("%d events are pending", n)
	}
}
