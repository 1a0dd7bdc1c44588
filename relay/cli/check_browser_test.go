package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidecast/relay/app"
)

// application answers who has the cookie s=42, and lets this user receive
// order:7.
func application(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := r.Header.Get("Cookie") == "s=42"
		switch {
		case r.URL.Path == "/broken":
			_, _ = w.Write([]byte("<html>"))
		case r.Header.Get("Cookie") == "s=banned":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/login" && known:
			_, _ = w.Write([]byte(`{"user":"42","channels":["chat:*"],"publish":["chat:lobby"]}`))
		case r.URL.Path == "/channel" && known && r.Header.Get("X-Sidecast-Channel") == "order:7":
			w.WriteHeader(http.StatusNoContent)
		case r.URL.Path == "/channel":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// check says who a browser's user is, and what opens a channel to this user, or
// why nothing does.
func TestCheckBrowser(t *testing.T) {
	url := application(t)
	for _, tt := range []struct {
		name, set, cookie, channel string
		want                       []string
	}{
		{"a user", "", "s=42", "", []string{"ok    login: user 42; may receive chat:*,user:42; may publish to chat:lobby; until "}},
		{"a user without publish", "", "", "", []string{"ok    login: without a cookie, the client is anonymous"}},
		{"an unknown cookie", "", "s=x", "", []string{"ok    login: anonymous: the application does not know this cookie"}},
		{"a banned user", "", "s=banned", "", []string{"warn  login: the application refuses this user: SIDECAST_AUTH_URL answers 403; the relay closes with 4403"}},
		{"a login that does not work", "AUTH_URL=" + url + "/broken", "s=42", "", []string{"warn  login: whose cookie this is cannot be found out now: ", "; the relay closes with 1013"}},
		{"no login by cookie", "AUTH_URL=", "s=42", "", []string{"neither SIDECAST_AUTH_URL nor SIDECAST_JWT_COOKIE is set, so the relay looks at no cookie"}},

		{"public", "", "", "news", []string{`ok    receiving "news": every client may: "news" in SIDECAST_PUBLIC_CHANNELS`}},
		{"granted", "", "s=42", "chat:1", []string{`ok    receiving "chat:1": the login grants it: "chat:*" in channels`,
			`ok    publishing to "chat:1": not allowed: SIDECAST_PUBLISH_CHANNELS does not contain it; neither does the list publish of the login`}},
		{"granted to publish", "", "s=42", "chat:lobby", []string{`ok    publishing to "chat:lobby": the login grants it: "chat:lobby" in publish`}},
		{"the user's own", "", "s=42", "user:42", []string{`receiving "user:42": it is the user's own channel, by SIDECAST_USER_CHANNELS`}},
		{"another user's", "", "s=42", "user:43", []string{`warn  receiving "user:43": SIDECAST_PUBLIC_CHANNELS does not contain it; neither does the list channels of the login`}},
		{"anonymous", "", "", "chat:1", []string{`warn  receiving "chat:1": SIDECAST_PUBLIC_CHANNELS does not contain it; an anonymous client has no other rights`}},
		{"no login", "AUTH_URL=", "", "chat:1", []string{`; clients cannot log in`}},
		{"not relayed", "", "s=42", "other", []string{`warn  receiving "other": no pattern of SIDECAST_CHANNELS or SIDECAST_DURABLE_CHANNELS matches it`}},
		{"with the prefix", "CHANNEL_PREFIX=app_", "s=42", "app_chat:1", []string{`clients use names without SIDECAST_CHANNEL_PREFIX: "chat:1"`}},
		{"reserved", "", "s=42", "sidecast:mark", []string{`warn  receiving "sidecast:mark": "sidecast:mark" is a reserved name`}},
		{"the application allows it", "CHANNEL_AUTH_URL=" + url + "/channel", "s=42", "order:7", []string{`ok    receiving "order:7": the application allows it, by SIDECAST_CHANNEL_AUTH_URL`}},
		{"the application refuses it", "CHANNEL_AUTH_URL=" + url + "/channel", "s=42", "order:8", []string{`warn  receiving "order:8": the application refuses it`}},
		{"the answer is not usable", "CHANNEL_AUTH_URL=" + url + "/broken", "s=42", "order:8", []string{`warn  receiving "order:8": SIDECAST_CHANNEL_AUTH_URL gives no usable answer: `}},
		{"a token that is not valid", "JWT_COOKIE=token", "token=x.y.z", "chat:1", []string{"warn  login: the token in the cookie token is not valid: ", "; the relay closes with 4401"}},
		{"no token", "JWT_COOKIE=token", "s=42", "", []string{"user 42"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := []string{"CHANNELS=chat:*,news,user:*,order:*", "PUBLIC_CHANNELS=news", "AUTH_URL=" + url + "/login"}
			if strings.HasPrefix(tt.set, "JWT") {
				set = append(set, "JWT_SECRET="+strings.Repeat("s", 32))
			}
			if tt.set != "" {
				set = append(set, tt.set)
			}
			cfg := settings(t, set...)
			translated, faults := app.Translate(cfg)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			got := lines(checkBrowser(t.Context(), cfg, translated, tt.cookie, tt.channel))
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in\n%s", want, got)
				}
			}
			if tt.cookie != "" && strings.Contains(got, tt.cookie) {
				t.Errorf("the cookie is printed:\n%s", got)
			}
		})
	}
}

// A cookie can be read from a file or from standard input, because arguments
// are visible to all users of the machine.
func TestCookieFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cookie")
	if err := os.WriteFile(file, []byte("Cookie: s=42; t=1\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for argument, want := range map[string]string{
		"s=42; t=1": "s=42; t=1", "-": "s=42", "@" + file: "s=42; t=1", "": "", "cookie: a=b": "a=b",
	} {
		if got, err := cookieFrom(argument, strings.NewReader("s=42\n")); err != nil || got != want {
			t.Errorf("%s: %q, %v", argument, got, err)
		}
	}
	for _, argument := range []string{"s", "a=b\nc=d", "@" + file + ".missing", "@"} {
		if _, err := cookieFrom(argument, strings.NewReader("")); err == nil {
			t.Errorf("%q is accepted", argument)
		}
	}
}
