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

// `sidecast tail` hears what a user hears, by a token that is no argument.
func TestTailWithToken(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret)
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
		notes, err := tail.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := tail.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tail.Process.Kill(); _ = tail.Wait() })
		for lines := bufio.NewScanner(notes); lines.Scan() && lines.Text() != "# listening to chat:1"; {
		}
		s.redis.CLI("PUBLISH", "chat:1", "hello")
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "hello\n" {
			t.Errorf("by %s: %q, %v", from, line, err)
		}
	}
}

// What `sidecast tail` says to whom the relay does not know.
func TestTailSaysHowToLogIn(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret)
	for _, tt := range []struct{ comment, stdin, want string }{
		{"no token", "", "unauthorized\\); log in with --token-file\n$"},
		{"a bad token", "bad", "closes the connection: 4401 .*; the token has expired, or is not one for this relay: `sidecast token` makes one\n$"},
		{"nothing", "\n", "reading the token: there has to be one"},
		{"more than one", "a b", "reading the token: there has to be one"},
	} {
		args := []string{"tail", "--url", s.relay.URL(), "chat:1"}
		if tt.stdin != "" {
			args = []string{"tail", "--url", s.relay.URL(), "--token-file", "-", "chat:1"}
		}
		tail := s.command(args...)
		tail.Stdin = strings.NewReader(tt.stdin)
		var said bytes.Buffer
		tail.Stderr = &said
		if err := tail.Run(); err == nil || !regexp.MustCompile(tt.want).MatchString(said.String()) {
			t.Errorf("%s: %v\n%s", tt.comment, err, &said)
		}
	}
}

// What `sidecast check` says of the application: it must know nobody by a cookie that nobody has, and answer.
func TestCheckAsksTheApplication(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"/401":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"/403":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"/302":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"/404":  http.NotFound,
		"/page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"/any":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"user":"1"}`)) },
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Cookie"), "sidecast_check=") || r.Header.Get("X-Requested-With") == "" {
			t.Errorf("asked with %v", r.Header)
		}
		answers[r.URL.Path](w, r)
	}))
	t.Cleanup(app.Close)
	s := newStage(t)
	const login, channel = "AUTH_URL", "CHANNEL_AUTH_URL"
	for _, tt := range []struct{ setting, url, want string }{
		{login, app.URL + "/401", "ok    SIDECAST_AUTH_URL: the application answers 401"},
		{login, app.URL + "/403", "ok    SIDECAST_AUTH_URL: the application answers 403"},
		{login, app.URL + "/302", "ok    SIDECAST_AUTH_URL: the application answers 302"},
		{login, app.URL + "/404", "warn  SIDECAST_AUTH_URL: the application answers 404"},
		{login, app.URL + "/page", "warn  SIDECAST_AUTH_URL: the application answers 200"},
		{login, app.URL + "/any", "warn  SIDECAST_AUTH_URL: the application answers 200 to a cookie that it cannot know, and opens"},
		{channel, app.URL + "/403", "ok    SIDECAST_CHANNEL_AUTH_URL: the application answers 403"},
		{channel, app.URL + "/302", "warn  SIDECAST_CHANNEL_AUTH_URL: the application answers 302"},
		{channel, app.URL + "/any", "warn  SIDECAST_CHANNEL_AUTH_URL: the application answers 200 to a cookie that it cannot know, and opens"},
		{login, "http://" + redistest.FreeAddr(t) + "/", "fail  SIDECAST_AUTH_URL: it does not answer"},
	} {
		command := s.command("check")
		command.Env = append(command.Env, "SIDECAST_"+tt.setting+"="+tt.url, "SIDECAST_MARKERS=false") // else it listens for other relays
		out, err := command.CombinedOutput()
		if !strings.Contains(string(out), "\n"+tt.want) || (err != nil) != strings.HasPrefix(tt.want, "fail") {
			t.Errorf("%s at %s: %v\n%s", tt.setting, tt.url, err, out)
		}
		if strings.Contains(string(out), tt.url) {
			t.Errorf("shows the URL:\n%s", out)
		}
	}
}

// The application of the README, checked as it is.
func TestCheckAsksPHP(t *testing.T) {
	addr := startPHP(t, t.TempDir())
	s := newStage(t, "AUTH_URL=http://"+addr+"/live-auth", "CHANNEL_AUTH_URL=http://"+addr+"/may-hear")
	out := s.output("check")
	for _, want := range []string{"ok    SIDECAST_AUTH_URL: the application answers 401", "ok    SIDECAST_CHANNEL_AUTH_URL: the application answers 403"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q:\n%s", want, out)
		}
	}
}
