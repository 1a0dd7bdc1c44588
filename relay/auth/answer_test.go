package auth

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// TestLoginOutcomes sends every kind of answer. An answer that is neither a
// grant nor a denial grants nothing and is not reported as a denial.
func TestLoginOutcomes(t *testing.T) {
	for _, tt := range []struct {
		comment string
		answer  http.HandlerFunc
		user    string
		code    protocol.Code
	}{
		{"granted", respond(200, `{"user":"42","channels":["chat:*"],"publish":["chat:lobby"],"expires_in":60}`), "42", protocol.CodeOK},
		{"user is a number", respond(200, `{"user":42}`), "42", protocol.CodeOK},
		{"granted with 201", respond(201, `{"user":"42"}`), "42", protocol.CodeOK},
		{"unknown fields", respond(200, `{"user":"42","name":"x","channels":[]}`), "42", protocol.CodeOK},
		{"401", respond(401, `{"user":"42"}`), "", protocol.CodeOK},
		{"302", redirect, "", protocol.CodeOK},
		{"301 to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/login", http.StatusMovedPermanently)
		}, "", protocol.CodeOK},
		{"301 to the same path on another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusMovedPermanently)
		}, "", protocol.CodeUnavailable},
		{"403", respond(403, ""), "", protocol.CodeForbidden},
		{"404", respond(404, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"419, the status of Laravel for an expired page", respond(419, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"429", respond(429, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"500 with a grant", respond(500, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"503", respond(503, ""), "", protocol.CodeUnavailable},
		{"empty answer", respond(200, ""), "", protocol.CodeUnavailable},
		{"204", respond(204, ""), "", protocol.CodeUnavailable},
		{"login page", respond(200, "<!doctype html><form>"), "", protocol.CodeUnavailable},
		{"no user", respond(200, `{"channels":["*"]}`), "", protocol.CodeUnavailable},
		{"user is null", respond(200, `{"user":null,"channels":["*"]}`), "", protocol.CodeUnavailable},
		{"user is empty", respond(200, `{"user":"","channels":["*"]}`), "", protocol.CodeUnavailable},
		{"user is false", respond(200, `{"user":false}`), "", protocol.CodeUnavailable},
		{"user is a list", respond(200, `{"user":["42"]}`), "", protocol.CodeUnavailable},
		{"user with a line break", respond(200, `{"user":"4\n2"}`), "", protocol.CodeUnavailable},
		{"user too long", respond(200, `{"user":"`+strings.Repeat("x", 129)+`"}`), "", protocol.CodeUnavailable},
		{"channels is not a list", respond(200, `{"user":"42","channels":"*"}`), "", protocol.CodeUnavailable},
		{"invalid pattern", respond(200, `{"user":"42","channels":["["]}`), "", protocol.CodeUnavailable},
		{"expires_in is a string", respond(200, `{"user":"42","expires_in":"3600"}`), "", protocol.CodeUnavailable},
		{"expires_in is 0", respond(200, `{"user":"42","expires_in":0}`), "", protocol.CodeUnavailable},
		{"expires_in is negative", respond(200, `{"user":"42","expires_in":-5}`), "", protocol.CodeUnavailable},
		{"two answers", respond(200, `{"user":"42"}{"user":"43"}`), "", protocol.CodeUnavailable},
		{"PHP warning before the JSON", respond(200, "Warning: x\n"+`{"user":"42"}`), "", protocol.CodeUnavailable},
		{"too large", respond(200, `{"user":"42","pad":"`+strings.Repeat("x", maxAnswerBytes)+`"}`), "", protocol.CodeUnavailable},
		{"incomplete body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"user":"42"}`)
		}, "", protocol.CodeUnavailable},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b\x08\x00")
		}, "", protocol.CodeUnavailable},
		{"headers too large", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			fmt.Fprint(w, `{"user":"42"}`)
		}, "", protocol.CodeUnavailable},
	} {
		a := newTestApp(t, tt.answer)
		id, code := a.Login(t.Context(), request("Cookie", "s=1"))
		user := ""
		if id != nil {
			user = id.User
		}
		if user != tt.user || code != tt.code || code != protocol.CodeOK && id != nil {
			t.Errorf("%s: %q, %v; want %q, %v", tt.comment, user, code, tt.user, tt.code)
		}
		if measured, _, _ := a.stats.AuthSeconds.Snapshot(); a.requests.Load() != 1 || measured != 1 {
			t.Errorf("%s: %d requests, of which %d were measured", tt.comment, a.requests.Load(), measured)
		}
		if logged := strings.Contains(a.log.String(), "SIDECAST_AUTH_URL"); logged != (tt.code == protocol.CodeUnavailable) {
			t.Errorf("%s: logged %q", tt.comment, a.log)
		}
	}
}

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/login", http.StatusFound)
}

func TestChannelOutcomes(t *testing.T) {
	for _, tt := range []struct {
		comment string
		answer  http.HandlerFunc
		code    protocol.Code
	}{
		{"empty", respond(200, ""), protocol.CodeOK},
		{"204", respond(204, ""), protocol.CodeOK},
		{"object", respond(200, `{}`), protocol.CodeOK},
		{"white space", respond(200, " \r\n"), protocol.CodeOK},
		{"with expires_in", respond(200, `{"expires_in":60}`), protocol.CodeOK},
		{"expires_in is null", respond(200, `{"expires_in":null}`), protocol.CodeOK},
		{"expires_in is 0", respond(200, `{"expires_in":0}`), protocol.CodeUnavailable},
		{"expires_in is negative", respond(200, `{"expires_in":-5}`), protocol.CodeUnavailable},
		{"not allowed", respond(200, `{"allowed":false}`), protocol.CodeUnavailable},
		{"allowed, in a way that Sidecast does not know", respond(200, `{"allowed":true,"expires_in":60}`), protocol.CodeUnavailable},
		{"an error", respond(200, `{"error":"no such order"}`), protocol.CodeUnavailable},
		{"expires_in in another case", respond(200, `{"Expires_In":60}`), protocol.CodeUnavailable},
		{"an empty array", respond(200, `[]`), protocol.CodeUnavailable},
		{"201", respond(201, ""), protocol.CodeUnavailable},
		{"202 with an object", respond(202, "{}"), protocol.CodeUnavailable},
		{"a space that is not ASCII", respond(200, "\u00a0"), protocol.CodeUnavailable},
		{"401", respond(401, ""), protocol.CodeForbidden},
		{"403", respond(403, ""), protocol.CodeForbidden},
		{"302", redirect, protocol.CodeUnavailable},
		{"404", respond(404, ""), protocol.CodeUnavailable},
		{"500", respond(500, "{}"), protocol.CodeUnavailable},
		{"login page", respond(200, "<form>"), protocol.CodeUnavailable},
		{"false", respond(200, "false"), protocol.CodeUnavailable},
		{"null", respond(200, "null"), protocol.CodeUnavailable},
		{"list with an element", respond(200, `["x"]`), protocol.CodeUnavailable},
		{"expires_in is a string", respond(200, `{"expires_in":"soon"}`), protocol.CodeUnavailable},
		{"too large", respond(200, strings.Repeat(" ", maxAnswerBytes+1)), protocol.CodeUnavailable},
	} {
		a := newTestApp(t, tt.answer)
		authorize := a.ChannelAuthorizer(request("Cookie", "s=1"), nil)
		if _, code := authorize(t.Context(), "", "order:1"); code != tt.code {
			t.Errorf("%s: %v, want %v", tt.comment, code, tt.code)
		}
	}
}

// TestExpiry checks how long a login lasts for each expires_in.
func TestExpiry(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"user":1}`:                    time.Hour,
		`{"user":1,"expires_in":60}`:    time.Minute,
		`{"user":1,"expires_in":90.5}`:  90500 * time.Millisecond,
		`{"user":1,"expires_in":0.1}`:   10 * time.Second,
		`{"user":1,"expires_in":9}`:     10 * time.Second,
		`{"user":1,"expires_in":1e300}`: 24 * time.Hour,
		`{"user":1,"expires_in":null}`:  time.Hour,
	} {
		a := newTestApp(t, respond(200, body))
		id, code := a.Login(t.Context(), request("Cookie", "s=1"))
		if code != protocol.CodeOK {
			t.Errorf("%s: %v", body, code)
			continue
		}
		if left := time.Until(id.Until); left > want || left < want-5*time.Second {
			t.Errorf("%s: %v left, want %v", body, left, want)
		}
	}
}

// TestChannelExpiry checks how long a channel is open for each expires_in.
func TestChannelExpiry(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"expires_in":60}`: time.Minute, `{"expires_in":1}`: 10 * time.Second, `{"expires_in":10}`: 10 * time.Second,
		`{"expires_in":0.001}`: 10 * time.Second, `{"expires_in":1e9}`: 24 * time.Hour,
	} {
		a, err := parseChannel(reply{status: 200, body: []byte(body)})
		if left := time.Until(a.until); err != nil || left > want || left < want-5*time.Second {
			t.Errorf("%s: %v left, %v; want %v", body, left, err, want)
		}
	}
	for _, body := range []string{``, `{}`} {
		if a, err := parseChannel(reply{status: 200, body: []byte(body)}); err != nil || !a.until.IsZero() {
			t.Errorf("%q: until %v, %v; want no end", body, a.until, err)
		}
	}
}

// TestUnknownKeyIsNamed checks that the log names what prevents a channel from
// opening, and does not contain the value.
func TestUnknownKeyIsNamed(t *testing.T) {
	a := newTestApp(t, respond(200, `{"expires_in":60,"allowed":"canary","zzz":1}`))
	if _, code := a.ChannelAuthorizer(request("Cookie", "s=1"), nil)(t.Context(), "", "order:1"); code != protocol.CodeUnavailable {
		t.Errorf("code %v", code)
	}
	for text, want := range map[string]bool{`allowed`: true, "is unknown": true, "SIDECAST_CHANNEL_AUTH_URL": true, "canary": false} {
		if strings.Contains(a.log.String(), text) != want {
			t.Errorf("the log contains %q: %v\n%s", text, !want, a.log)
		}
	}
}

// FuzzLoginAnswer checks that every identity has a valid user id and an end,
// and that no answer with an error grants anything.
func FuzzLoginAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"user":"42","channels":["chat:*"],"expires_in":60}`, `{"user":42}`, `{"user":null}`, ``, `[]`, `{"user":"\u0000"}`,
		`{"user":1e9}`,
	} {
		f.Add(200, []byte(seed))
		f.Add(401, []byte(seed))
	}
	grants := Grants{UserChannels: []string{"user:{user}"}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		answered, err := parseLogin(grants, reply{status: status, body: body})
		if (answered.outcome == granted) != (answered.identity != nil) || err != nil && answered.outcome != unavailable {
			t.Errorf("status %d, body %q: %+v, %v", status, body, answered, err)
		}
		id := answered.identity
		if id != nil && (status < 200 || status > 299 || !access.ValidUser(id.User) || id.Until.IsZero()) {
			t.Errorf("status %d, body %q: grants %+v", status, body, id)
		}
	})
}

// FuzzChannelAnswer checks that no answer with an error or a status other than
// 200 and 204 opens a channel.
func FuzzChannelAnswer(f *testing.F) {
	for _, seed := range []string{``, `{}`, `[]`, `{"expires_in":60}`, `{"expires_in":"x"}`, `<form>`, `null`, `true`} {
		f.Add(200, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		answered, err := parseChannel(reply{status: status, body: body})
		if answered.outcome == granted && (err != nil || status != 200 && status != 204) {
			t.Errorf("status %d, body %q: the channel is open", status, body)
		}
	})
}

// TestAnswerWithBOM checks that an answer with a byte order mark, which a script
// has that an editor saved with one, grants nothing, and that the log says so.
// A line break of Windows after the answer is no problem.
func TestAnswerWithBOM(t *testing.T) {
	a := newTestApp(t, respond(200, "\ufeff"+`{"user":"42"}`))
	if _, code := a.Login(t.Context(), request("Cookie", "s=1")); code != protocol.CodeUnavailable {
		t.Errorf("with a byte order mark: %v", code)
	}
	if !strings.Contains(a.log.String(), "byte order mark (BOM)") {
		t.Errorf("logged %q", a.log)
	}
	if _, err := parseChannel(reply{status: 200, body: []byte("\ufeff")}); err == nil || !strings.Contains(err.Error(), "byte order mark") {
		t.Errorf("the answer about a channel: %v", err)
	}
	a = newTestApp(t, respond(200, `{"user":"42"}`+"\r\n"))
	if _, code := a.Login(t.Context(), request("Cookie", "s=1")); code != protocol.CodeOK {
		t.Errorf("with a line break: %v", code)
	}
}
