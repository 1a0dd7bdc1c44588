package auth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
)

// canary is part of every secret in this test, so that any output that repeats
// a secret is found.
const canary = "canarybird"

// TestNoSecretIsShown checks that no secret, valid or not, appears in logs,
// metrics, errors, close reasons, profiles, the printed settings or the process
// title.
func TestNoSecretIsShown(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Cookie"), "bad") {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, canary)
			return
		}
		_, _ = io.WriteString(w, `{"user":"42","channels":["chat:*"]}`)
	}))
	t.Cleanup(app.Close)
	secret := canary + "-secret-of-at-least-32-bytes-length"
	s := newSetup(t, "JWT_SECRET="+secret, "JWT_PREVIOUS_SECRET="+secret+"-before", "JWT_COOKIE=jwt", "LOG_LEVEL=debug",
		"ADMIN_TOKEN="+canary+"-admin", "PUBLISH_TOKEN="+canary+"-publish", "CHANNEL_SECRET="+secret+"-channels", "AUTH_URL="+app.URL+"/?key="+canary, "CHANNEL_AUTH_URL="+app.URL+"/channel?key="+canary)
	token := s.token("--user", "42", "--channel", "chat:*")
	signature := token[strings.LastIndex(token, ".")+1:]
	outputs := presentSecrets(t, s, token)
	outputs["log"] = s.relay.Log()
	outputs["settings"] = s.output("config")
	outputs["check"] = s.output("check")
	admin := "http://" + s.relay.AdminAddr()
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline?debug=1", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/allocs?debug=1", "/livez", "/readyz", "/nothing"} {
		outputs["admin "+path] = get(t, admin+path)
		outputs["public "+path] = get(t, "http://"+s.relay.Addr()+path)
	}
	outputs["publish"] = post(t, admin+"/publish?channel=chat:1", canary+"-publish-wrong", canary)
	outputs["published"] = post(t, admin+"/publish?channel=chat:1", canary+"-publish", "x")
	outputs["log of publish"] = s.relay.Log()
	if runtime.GOOS == "linux" {
		title, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.relay.PID()), "cmdline"))
		if err != nil {
			t.Fatal(err)
		}
		outputs["title"] = string(title)
	}
	for place, text := range outputs {
		for name, part := range map[string]string{"a secret": canary, "a token": token, "a signature": signature} {
			if i := strings.Index(text, part); i >= 0 {
				t.Errorf("%s shows %s: ...%.200q", place, name, text[max(0, i-80):])
			}
		}
		if len(text) == 0 && place != "check" {
			t.Errorf("%s is empty, so the test proves nothing", place)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/vars"} {
		if !strings.HasPrefix(outputs["public "+path], "404") && path != "/debug/vars" {
			t.Errorf("public %s: %.40q", path, outputs["public "+path])
		}
	}
}

// presentSecrets sends secrets in every place where a client can send one. It
// returns what the clients received.
func presentSecrets(t *testing.T, s *setup, token string) map[string]string {
	t.Helper()
	seen := make(map[string]string)
	record := func(name string, c *relaytest.Client) {
		t.Helper()
		end := s.await(c, name, relaytest.Is(relaytest.KindEnd))
		var received strings.Builder
		for _, e := range c.Events() {
			received.WriteString(e.String() + " " + e.Text + " " + e.Data + "\n")
		}
		seen[name] = end.String() + "\n" + received.String()
	}
	cookie := func(value string) http.Header { return http.Header{"Cookie": {value}} }
	for name, c := range map[string]dialOptions{
		"bad token":          {token: canary},
		"forged token":       {token: token + canary},
		"bad header":         {header: http.Header{"Authorization": {"Bearer " + canary}}},
		"bad cookie":         {header: cookie("jwt=" + canary)},
		"query":              {raw: true, query: "?token=" + token + "&password=" + canary, channels: []string{"other"}},
		"signature":          {raw: true, query: "?channel=order:7&user=42&sig=" + canary},
		"failing app":        {header: cookie("bad=" + canary)},
		"basic password":     {raw: true, header: http.Header{"Authorization": {"Basic " + canary}}, channels: []string{"sidecast:x"}},
		"forbidden by token": {raw: true, token: token, channels: []string{"sidecast:x"}},
		"invalid query":      {raw: true, query: "?" + canary + "=%zz"},
	} {
		record(name, s.dial(c))
	}
	valid := s.dial(dialOptions{token: token, header: cookie("PHPSESSID=" + canary)})
	s.await(valid, "the valid client", relaytest.IsOn(relaytest.KindSubscribed, "user:42"))
	for _, text := range []string{`{"type":"auth","token":"` + token + `"}`, `{"type":"` + canary + `"}`, `{"type":"auth","token":"` + canary + `"}`} {
		if err := valid.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	record("auth", valid)
	malformed := s.dial(dialOptions{token: token})
	if err := malformed.SendText(`{"type":"auth","token":"` + canary); err != nil {
		t.Fatal(err)
	}
	record("malformed", malformed)
	for name, offer := range map[string][]string{"alone": {"sidecast.token." + token}, "two": {"sidecast.token." + canary, "sidecast.token." + token}} {
		_, err := (&relaytest.Dialer{URL: s.relay.URL(), Offer: offer}).Dial(t.Context())
		if err == nil {
			t.Fatalf("%s: accepted", name)
		}
		seen[name] = err.Error()
	}
	foreign := &relaytest.Dialer{URL: s.relay.URL() + "?token=" + url.QueryEscape(canary), Header: http.Header{
		"Origin": {"https://evil.example"}, "X-Forwarded-For": {"1.2.3.4"}, "Cookie": {canary}, "User-Agent": {canary},
	}}
	_, err := foreign.Dial(t.Context())
	if err == nil {
		t.Fatal("a page of another origin is accepted")
	}
	seen["foreign origin"] = err.Error()
	seen["not found"] = get(t, "http://"+s.relay.Addr()+"/nothing?token="+canary)
	return seen
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.Status + "\n" + string(body)
}

// TestLogInjection checks that text of hostile clients cannot break out of its
// log line.
func TestLogInjection(t *testing.T) {
	s := newSetup(t, "LOG_FORMAT=json")
	for _, hostile := range []string{"https://a\x1b[31m\"}{", "https://evil\u202e", `https://x","level":"ERROR`} {
		d := &relaytest.Dialer{URL: s.relay.URL(), Header: http.Header{"Origin": {hostile}}}
		if _, err := d.Dial(t.Context()); err == nil {
			t.Errorf("%q is accepted", hostile)
		}
	}
	s.relay.AwaitLog(func(line string) bool { return strings.Contains(line, `https://x\",`) }) // the last one
	rejections := 0
	for line := range strings.Lines(s.relay.Log()) {
		if !strings.Contains(line, "SIDECAST_ALLOWED_ORIGINS") {
			continue
		}
		rejections++
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") || strings.ContainsAny(line, "\x1b") ||
			strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("logged %q", line)
		}
	}
	if rejections == 0 {
		t.Error("the log does not contain the rejected origins")
	}
}

// post sends a POST with a bearer token and a body, and returns the answer.
func post(t *testing.T, url, token, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.Status + "\n" + string(answer)
}
