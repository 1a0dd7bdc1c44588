package auth_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// TestTailWithToken checks that `sidecast tail` receives the messages of a
// user, with a token from a file or from standard input.
func TestTailWithToken(t *testing.T) {
	s := newSetup(t, "JWT_SECRET="+testSecret)
	file := filepath.Join(t.TempDir(), "token")
	token := s.token("--user", "42", "--channel", "chat:*")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, stdin := range map[string]string{file: "", "-": token} {
		tail := s.command("tail", "--url", s.relay.URL(), "--token-file", from, "chat:1")
		tail.Stdin = strings.NewReader(stdin)
		out, err := tail.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := tail.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := tail.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tail.Process.Kill(); _ = tail.Wait() })
		for lines := bufio.NewScanner(stderr); lines.Scan() && lines.Text() != "# listening to chat:1"; {
		}
		s.redis.CLI("PUBLISH", "chat:1", "hello")
		lines := bufio.NewReader(out)
		for line := ""; !strings.Contains(line, `"data":"hello"`); {
			if line, err = lines.ReadString('\n'); err != nil {
				t.Fatalf("token from %s: %q, %v", from, line, err)
			}
		}
	}
}

// TestTailLoginErrors checks the errors of `sidecast tail` without a valid
// token.
func TestTailLoginErrors(t *testing.T) {
	s := newSetup(t, "JWT_SECRET="+testSecret)
	for _, tt := range []struct{ comment, stdin, want string }{
		{"no token", "", "unauthorized\\); log in with --token-file\n$"},
		{"a bad token", "bad", "closes the connection: 4401 .*; the token has expired or is not valid for this relay: `sidecast token` makes one\n$"},
		{"an empty token", "\n", "reading the token: standard input must contain one token"},
		{"two words", "a b", "reading the token: standard input must contain one token"},
	} {
		args := []string{"tail", "--url", s.relay.URL(), "chat:1"}
		if tt.stdin != "" {
			args = []string{"tail", "--url", s.relay.URL(), "--token-file", "-", "chat:1"}
		}
		tail := s.command(args...)
		tail.Stdin = strings.NewReader(tt.stdin)
		var stderr bytes.Buffer
		tail.Stderr = &stderr
		if err := tail.Run(); err == nil || !regexp.MustCompile(tt.want).MatchString(stderr.String()) {
			t.Errorf("%s: %v\n%s", tt.comment, err, &stderr)
		}
	}
}

// TestCheckCallsApplication checks that `sidecast check` reports an application
// that does not answer, or that grants something to a random cookie.
func TestCheckCallsApplication(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"/401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"/403": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"/302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"/404": http.NotFound,
		"/tls": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+"/tls", http.StatusMovedPermanently)
		},
		"/page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"/true": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("true")) },
		"/none": func(http.ResponseWriter, *http.Request) {},
		"/big":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 65<<10)) },
		"/yes":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) },
		"/any":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"user":"1"}`)) },
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Cookie"), "sidecast_check=") || r.Header.Get("X-Requested-With") == "" {
			t.Errorf("the request has headers %v", r.Header)
		}
		answers[r.URL.Path](w, r)
	}))
	t.Cleanup(app.Close)
	s := newSetup(t)
	const login, channel, broadcast = "AUTH_URL", "CHANNEL_AUTH_URL", "BROADCAST_AUTH_URL"
	s.env["SIDECAST_PUSHER_KEY"], s.env["SIDECAST_PUSHER_SECRET"] = "key", testSecret
	for _, tt := range []struct{ setting, url, want string }{
		{login, app.URL + "/401", "ok    SIDECAST_AUTH_URL: the application answers 401"},
		{login, app.URL + "/403", "ok    SIDECAST_AUTH_URL: the application answers 403"},
		{login, app.URL + "/302", "ok    SIDECAST_AUTH_URL: the application answers 302"},
		{login, app.URL + "/404", "warn  SIDECAST_AUTH_URL: the application's answer to a random test cookie cannot be used: HTTP status 404"},
		{login, app.URL + "/page", "warn  SIDECAST_AUTH_URL: the application's answer to a random test cookie cannot be used: not a JSON object: HTML"},
		{login, app.URL + "/any", "warn  SIDECAST_AUTH_URL: the application answers 200 to a random test cookie, and grants access"},
		{login, app.URL + "/tls", "fail  SIDECAST_AUTH_URL: the URL redirects to https\n      write the URL to which it redirects: Sidecast does not follow redirects; until then, logins fail"},
		{channel, app.URL + "/tls", "fail  SIDECAST_CHANNEL_AUTH_URL: the URL redirects to https\n"},
		{channel, app.URL + "/403", "ok    SIDECAST_CHANNEL_AUTH_URL: the application answers 403"},
		{channel, app.URL + "/302", "warn  SIDECAST_CHANNEL_AUTH_URL: the application's answer to a random test cookie cannot be used: HTTP status 302"},
		{channel, app.URL + "/any", `warn  SIDECAST_CHANNEL_AUTH_URL: the application's answer to a random test cookie cannot be used: "user" is unknown`},
		{channel, app.URL + "/yes", "warn  SIDECAST_CHANNEL_AUTH_URL: the application answers 200 to a random test cookie, and grants access"},
		{broadcast, app.URL + "/403", "ok    SIDECAST_BROADCAST_AUTH_URL: the application answers 403"},
		{broadcast, app.URL + "/302", "ok    SIDECAST_BROADCAST_AUTH_URL: the application answers 302"},
		{broadcast, app.URL + "/404", "warn  SIDECAST_BROADCAST_AUTH_URL: the application's answer to a random test cookie cannot be used: HTTP status 404"},
		{broadcast, app.URL + "/none", "warn  SIDECAST_BROADCAST_AUTH_URL: the application's answer to a random test cookie cannot be used: an answer without content\n      set BROADCAST_CONNECTION=redis in Laravel"},
		{broadcast, app.URL + "/true", "warn  SIDECAST_BROADCAST_AUTH_URL: the application answers 200 to a random test cookie, and grants access"},
		{broadcast, app.URL + "/tls", "fail  SIDECAST_BROADCAST_AUTH_URL: the URL redirects to https\n"},
		{login, app.URL + "/big", "fail  SIDECAST_AUTH_URL: the answer is too large\n      correct the URL, or the answer; until then, logins fail"},
		{login, "http://" + redistest.FreeAddr(t) + "/", "fail  SIDECAST_AUTH_URL: nothing listens at this address\n      start the application, or correct the URL; until then, logins fail"},
	} {
		command := s.command("check")
		command.Env = append(command.Env, "SIDECAST_"+tt.setting+"="+tt.url, "SIDECAST_MARKERS=false")
		out, err := command.CombinedOutput()
		if !strings.Contains(string(out), "\n"+tt.want) || (err != nil) != strings.HasPrefix(tt.want, "fail") {
			t.Errorf("%s at %s: %v\n%s", tt.setting, tt.url, err, out)
		}
		if strings.Contains(string(out), tt.url) {
			t.Errorf("the output contains the URL:\n%s", out)
		}
	}
}
