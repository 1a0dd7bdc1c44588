package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// withBroadcasts lets the application be asked about broadcasts, too, and gives it
// the time that a busy machine needs.
func withBroadcasts(c *ApplicationConfig) {
	c.BroadcastURL, c.Timeout = c.LoginURL+"broadcasting/auth", identifyTimeout
}

const (
	privateChannel  = "private-order.7"
	presenceChannel = "presence-room.7"
)

// TestBroadcastAnswers sends every kind of answer for both kinds of channels.
// Only a JSON answer with status 200 that clearly allows the channel opens it.
func TestBroadcastAnswers(t *testing.T) {
	const ok, no, later = protocol.CodeOK, protocol.CodeForbidden, protocol.CodeUnavailable
	const member = `{"channel_data":{"user_id":42,"user_info":{"name":"Ann \u00fc","url":"https:\/\/x"}}}`
	for _, tt := range []struct {
		comment           string
		answer            http.HandlerFunc
		private, presence protocol.Code
		data              string // for the presence channel
		log               string // part of a log line; empty: none
	}{
		// What Laravel's RedisBroadcaster answers. Its content type is text/html.
		{"true", respond(200, "true"), ok, no, "", "true for a presence channel, without its user"},
		{"a member", respond(200, member), ok, ok, strings.TrimSuffix(strings.TrimPrefix(member, `{"channel_data":`), "}"), ""},
		{"the id is a string", respond(200, `{"channel_data":{"user_id":"42","user_info":null}}`), ok, ok, `{"user_id":"42","user_info":null}`, ""},
		{"no info", respond(200, `{"channel_data":{"user_id":"42"}}`), ok, ok, `{"user_id":"42"}`, ""},
		{"white space", respond(200, " {\n\"channel_data\": { \"user_id\": \"4 2\" } }\n"), ok, ok, `{"user_id":"4 2"}`, ""},
		{"true with white space", respond(200, "\r\n\ttrue\n"), ok, no, "", "without its user"},

		// Refusals.
		{"401", respond(401, "true"), no, no, "", ""},
		{"403", respond(403, "true"), no, no, "", ""},
		{"419, the status of Laravel for an expired page", respond(419, "true"), no, no, "", ""},
		{"redirect to a login page", redirect, no, no, "", ""},
		{"false", respond(200, "false"), no, no, "", ""},

		// What looks like a mistake refuses, too, and is logged.
		{"null", respond(200, "null"), no, no, "", "reason=null"},
		{"an empty object", respond(200, "{}"), no, no, "", "channel_data is missing"},
		{"an error", respond(200, `{"error":"no"}`), no, no, "", "channel_data is missing"},
		{"an empty answer, of Laravel's drivers null and log", respond(200, ""), no, no, "", "BROADCAST_CONNECTION=redis"},
		{"204", respond(204, ""), no, no, "", "HTTP status 204"},
		{"201", respond(201, member), no, no, "", "HTTP status 201"},
		{"a login page", respond(200, "<!doctype html><form>"), no, no, "", "HTML"},
		{"a signature, of Laravel's drivers reverb and pusher", respond(200, `{"auth":"key:0123"}`), no, no, "", "signs by itself"},
		{"a signed member", respond(200, `{"auth":"key:0123","channel_data":"{\"user_id\":\"42\"}"}`), no, no, "", "signs by itself"},
		{"a text", respond(200, `"true"`), no, no, "", "not a JSON object"},
		{"a number", respond(200, "1"), no, no, "", "not a JSON object"},
		{"a list", respond(200, `[true]`), no, no, "", "not a JSON object"},
		{"True", respond(200, "True"), no, no, "", "not a JSON object"},
		{"two answers", respond(200, "true true"), no, no, "", "not a JSON object"},
		{"a PHP warning before the JSON", respond(200, "Warning: x\n"+member), no, no, "", "display_errors"},
		{"a byte order mark", respond(200, "\ufefftrue"), no, no, "", "byte order mark"},
		{"a name twice", respond(200, `{"channel_data":{"user_id":"1"},"channel_data":{"user_id":"2"}}`), no, no, "", "a name occurs twice"},
		{"another case", respond(200, `{"Channel_Data":{"user_id":"1"}}`), no, no, "", "channel_data is missing"},
		{"channel_data is null", respond(200, `{"channel_data":null}`), no, no, "", "channel_data is missing"},
		{"channel_data is false", respond(200, `{"channel_data":false}`), no, no, "", "channel_data is true or false"},
		{"channel_data is a text", respond(200, `{"channel_data":"{\"user_id\":1}"}`), no, no, "", "channel_data is a string"},
		{"channel_data is an empty list, of an empty array in PHP", respond(200, `{"channel_data":[]}`), no, no, "", "channel_data is a list"},

		// A member needs an id, and is bounded; a private channel has no members.
		{"no id", respond(200, `{"channel_data":{"user_info":{}}}`), ok, no, "", "user_id is missing"},
		{"the id is null", respond(200, `{"channel_data":{"user_id":null}}`), ok, no, "", "user_id is missing"},
		{"the id is empty", respond(200, `{"channel_data":{"user_id":""}}`), ok, no, "", "user_id is not a valid id"},
		{"the id is a fraction", respond(200, `{"channel_data":{"user_id":4.5}}`), ok, no, "", "user_id is not a whole number"},
		{"the id is false", respond(200, `{"channel_data":{"user_id":false}}`), ok, no, "", "user_id is true or false"},
		{"the id has a line break", respond(200, `{"channel_data":{"user_id":"4\n2"}}`), ok, no, "", "user_id is not a valid id"},
		{"an id twice", respond(200, `{"channel_data":{"user_id":1,"user_id":2}}`), ok, no, "", "a name occurs twice"},
		{"half a surrogate pair", respond(200, `{"channel_data":{"user_id":"\ud83d"}}`), no, no, "", "surrogate"},
		{"two ids in different letters", respond(200, `{"channel_data":{"user_id":1,"USER_ID":2}}`), ok, no, "", "in other letters"},
		{"two ids in letters that are alike", respond(200, `{"channel_data":{"user_id":1,"u\u017fer_id":2}}`), ok, no, "", "in other letters"},
		{"large info", respond(200, `{"channel_data":{"user_id":1,"user_info":"`+strings.Repeat("x", access.MaxInfo)+`"}}`), ok, no, "", "user_info is larger"},
		{"large other parts", respond(200, `{"channel_data":{"user_id":1,"x":"`+strings.Repeat("x", maxChannelData)+`"}}`), ok, no, "", "channel_data is larger"},

		// Without an answer, the client may try again.
		{"404", respond(404, "true"), later, later, "", "install:broadcasting"},
		{"405", respond(405, "true"), later, later, "", "HTTP status 405"},
		{"429", respond(429, "true"), later, later, "", "HTTP status 429"},
		{"500", respond(500, "true"), later, later, "", "HTTP status 500"},
		{"503", respond(503, "true"), later, later, "", "HTTP status 503"},
		{"508, of a relay to which the URL leads", respond(508, "true"), later, later, "", "the URL leads back to Sidecast"},
		{"redirect to https", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
		}, later, later, "", "the URL redirects to https"},
		{"too large", respond(200, strings.Repeat(" ", maxAnswerBytes)+"true"), later, later, "", "the answer is too large"},
		{"a broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, later, later, "", "closed the connection"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			a := newTestApp(t, tt.answer, withBroadcasts)
			r := request("Cookie", "s=canary")
			_, private := a.AuthorizeBroadcast(t.Context(), r, "1.1", privateChannel)
			data, presence := a.AuthorizeBroadcast(t.Context(), r, "1.1", presenceChannel)
			if private != tt.private || presence != tt.presence || data != tt.data {
				t.Errorf("private %q, presence %q with %q; want %q, %q with %q", private, presence, data, tt.private, tt.presence, tt.data)
			}
			log := a.log.String()
			if strings.Contains(log, "canary") || !strings.Contains(log, tt.log) || (tt.log == "") != (log == "") ||
				log != "" && !strings.Contains(log, "setting=SIDECAST_BROADCAST_AUTH_URL") {
				t.Errorf("the log is %q, want %q", log, tt.log)
			}
		})
	}
}

// TestBroadcastRequest checks what the application receives: a form, the listed
// headers of the browser, and no other header.
func TestBroadcastRequest(t *testing.T) {
	var got *http.Request
	var form url.Values
	a := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got, form = r, r.PostForm
		fmt.Fprint(w, "true")
	}, withBroadcasts)
	r := request("Cookie", "a=1", "Cookie", "b=2", "Authorization", "Bearer x", "Origin", "https://app.example.com",
		"Referer", "https://app.example.com/room", "X-CSRF-TOKEN", "c", "X-XSRF-TOKEN", "x", "User-Agent", "Firefox",
		"X-Forwarded-For", "6.6.6.6", "X-Requested-With", "no", "Content-Type", "application/json", "X-Socket-ID", "1.1",
		"X-Sidecast-User", "admin", "X-Evil", "1", "Sec-WebSocket-Key", "k")
	r.RemoteAddr = "203.0.113.9:1234"
	want := http.Header{
		"Accept": {"application/json"}, "X-Requested-With": {"XMLHttpRequest"}, "Cookie": {"a=1", "b=2"}, "Authorization": {"Bearer x"},
		"Origin": {"https://app.example.com"}, "Referer": {"https://app.example.com/room"}, "X-Csrf-Token": {"c"}, "X-Xsrf-Token": {"x"},
		"User-Agent": {"Firefox"}, "X-Forwarded-For": {"203.0.113.9"}, "X-Sidecast-Forwarded": {"1"},
		"Content-Type": {"application/x-www-form-urlencoded"},
	}
	ask := a.PrivateAuthorizer(r)
	for comment, send := range map[string]func() protocol.Code{
		"a request of a client": func() protocol.Code {
			_, code := a.AuthorizeBroadcast(t.Context(), r, "1.1", "private-a&b=c")
			return code
		},
		"a subscribe without a signature": func() protocol.Code {
			_, code := ask(t.Context(), "1.1", "private-a&b=c")
			return code
		},
		"the same once more": func() protocol.Code {
			_, code := ask(t.Context(), "1.1", "private-a&b=c")
			return code
		},
	} {
		if code := send(); code != protocol.CodeOK {
			t.Fatal(comment, code)
		}
		if got.Method != http.MethodPost || got.URL.Path != "/broadcasting/auth" {
			t.Errorf("%s: %s %s", comment, got.Method, got.URL)
		}
		if form.Encode() != "channel_name=private-a%26b%3Dc&socket_id=1.1" {
			t.Errorf("%s: the form is %q", comment, form)
		}
		for name := range want {
			if !slices.Equal(got.Header[name], want[name]) {
				t.Errorf("%s: %s: %q, want %q", comment, name, got.Header[name], want[name])
			}
		}
		for name := range got.Header {
			if _, ok := want[name]; !ok && name != "Content-Length" {
				t.Errorf("%s: %s must not be forwarded", comment, name)
			}
		}
	}
}

// TestPrivateAuthorizer checks who can subscribe without a signature, and to
// what.
func TestPrivateAuthorizer(t *testing.T) {
	a := newTestApp(t, respond(200, `{"channel_data":{"user_id":1}}`), withBroadcasts)
	long := strings.Repeat("x", maxKeptHeaders)
	for comment, r := range map[string]*http.Request{
		"no credentials":      request("Origin", "https://x"),
		"a large cookie":      request("Cookie", long),
		"large other headers": request("Cookie", "a=1", "Referer", long[:4<<10], "User-Agent", long[:4<<10]),
	} {
		if a.PrivateAuthorizer(r) != nil {
			t.Errorf("%s: the client can ask", comment)
		}
	}
	if other := newTestApp(t, respond(200, "true")); other.PrivateAuthorizer(request("Cookie", "a=1")) != nil {
		t.Error("without the URL, the client can ask")
	}
	if NewGate(GateConfig{}).Application().PrivateAuthorizer(request("Cookie", "a=1")) != nil {
		t.Error("without an application, the client can ask")
	}
	ask := a.PrivateAuthorizer(request("Cookie", long[:7<<10]))
	if ask == nil {
		t.Fatal("a client with a cookie of 7 KiB cannot ask")
	}
	for channel, want := range map[string]protocol.Code{
		privateChannel: protocol.CodeOK, "private-cache-x": protocol.CodeOK, "private-": protocol.CodeOK,
		presenceChannel: protocol.CodeForbidden, "presence-cache-x": protocol.CodeForbidden, "private-encrypted-x": protocol.CodeForbidden,
		"news": protocol.CodeForbidden, "#server-to-user-1": protocol.CodeForbidden, "Private-x": protocol.CodeForbidden,
	} {
		before := a.requests.Load()
		until, code := ask(t.Context(), "", channel)
		if code != want || !until.IsZero() || a.requests.Load()-before != map[bool]int64{true: 1}[want == protocol.CodeOK] {
			t.Errorf("%s: %q until %v, with %d requests; want %q", channel, code, until, a.requests.Load()-before, want)
		}
	}
}

// TestBroadcastsAreNotCached checks that each question gets an answer of its
// own, and that only the same question at the same time shares one.
func TestBroadcastsAreNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		a := newStubApp(t, func(*http.Request) (int, string) {
			n := sent.Add(1)
			sleep(time.Second)
			return map[bool]int{true: 200, false: 403}[n%2 == 0], "true"
		}, withBroadcasts)
		r := request("Cookie", "a=1")
		for range 4 {
			before := sent.Load()
			for range 3 {
				go a.AuthorizeBroadcast(t.Context(), r, "1.1", privateChannel)
			}
			_, code := a.AuthorizeBroadcast(t.Context(), r, "1.1", privateChannel)
			synctest.Wait()
			if n := sent.Load(); n != before+1 || (code == protocol.CodeOK) != (n%2 == 0) {
				t.Errorf("request %d after %d: %q", n, before, code)
			}
		}
		before := sent.Load()
		for _, other := range []func(){
			func() { a.AuthorizeBroadcast(t.Context(), r, "1.1", privateChannel) },
			func() { a.AuthorizeBroadcast(t.Context(), r, "2.2", privateChannel) },
			func() { a.AuthorizeBroadcast(t.Context(), r, "1.1", "private-x") },
			func() { a.AuthorizeBroadcast(t.Context(), request("Cookie", "a=2"), "1.1", privateChannel) },
			func() {
				a.AuthorizeBroadcast(t.Context(), request("Cookie", "a=1", "X-CSRF-TOKEN", "x"), "1.1", privateChannel)
			},
			func() {
				a.AuthorizeBroadcast(t.Context(), from("198.18.0.1:1", "Cookie", "a=1"), "1.1", privateChannel)
			},
		} {
			go other()
		}
		sleep(time.Minute)
		if n := sent.Load() - before; n != 6 {
			t.Errorf("six different questions caused %d requests", n)
		}
	})
}

// TestBroadcastLimits checks that questions about broadcasts share the limits of
// the other questions, and end in time.
func TestBroadcastLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var running, most int
		counters := new(stats.Stats)
		a := newStubApp(t, func(r *http.Request) (int, string) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			defer func() { mu.Lock(); defer mu.Unlock(); running-- }()
			select {
			case <-r.Context().Done():
			case <-time.After(time.Hour):
			}
			return 200, "true"
		}, withBroadcasts, func(c *ApplicationConfig) { c.Concurrency, c.Stats, c.Timeout = 4, counters, 2*time.Second })
		codes := make(chan protocol.Code, 200)
		began := time.Now()
		for i := range 100 {
			go func() {
				_, code := a.AuthorizeBroadcast(t.Context(), from(publicPeer(i), "Cookie", "a=1"), "1.1", privateChannel)
				codes <- code
			}()
			go func() {
				_, code := a.Login(t.Context(), from(publicPeer(i), "Cookie", fmt.Sprint(i)))
				codes <- code
			}()
		}
		for range 200 {
			if code := <-codes; code != protocol.CodeUnavailable {
				t.Errorf("%q without an answer", code)
			}
		}
		busy, late := counters.AuthRequests[stats.AuthBusy].Load(), counters.AuthRequests[stats.AuthTimeout].Load()
		if most != 4 || busy != 200-4-4*placesPerSlot || late == 0 {
			t.Errorf("%d requests at a time, %d rejected, %d timeouts", most, busy, late)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the last answer came after %v", took)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, code := a.AuthorizeBroadcast(ended, request(), "1.1", privateChannel); code != protocol.CodeUnavailable {
			t.Errorf("%q for a client that has gone", code)
		}
	})
}

// FuzzBroadcastAnswer checks that an answer opens a presence channel only with
// channel_data that describes a user, whatever the application sends.
func FuzzBroadcastAnswer(f *testing.F) {
	for _, seed := range []string{
		"true", " true ", "false", "null", "{}", "", `{"auth":"a:b"}`, `{"channel_data":{}}`, `{"channel_data":[]}`,
		`{"channel_data":{"user_id":42,"user_info":{"name":"x"}}}`, `{"channel_data":{"user_id":"\u0034","user_id":1}}`,
		`{"channel_data":{"user_id":1e3}}`, `{"channel_data":"{}"}`, "\ufefftrue",
	} {
		f.Add(200, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		private, err := parsePrivate(reply{status: status, body: body})
		presence, err2 := parsePresence(reply{status: status, body: body})
		if err != nil && private.outcome != unavailable || err2 != nil && presence.outcome != unavailable {
			t.Fatalf("a decision with an error: %+v %v, %+v %v", private, err, presence, err2)
		}
		if presence.outcome == granted {
			var member map[string]any
			err := json.Unmarshal([]byte(presence.data), &member)
			_, number := member["user_id"].(float64)
			text, _ := member["user_id"].(string)
			if private.outcome != granted || len(presence.data) > maxChannelData || err != nil || !number && !access.ValidUser(text) {
				t.Fatalf("%q opens a presence channel with %q", body, presence.data)
			}
		}
		if private.outcome == granted && (status != 200 || private.data != "" || private.mistake != nil ||
			strings.TrimSpace(string(body)) != "true" && !strings.Contains(string(body), "channel_data") && !strings.Contains(string(body), `\u`)) {
			t.Fatalf("%d %q opens a private channel", status, body)
		}
	})
}
