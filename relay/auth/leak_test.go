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

// canary stands in every secret of this test, so that whatever repeats one is found.
const canary = "kanarienvogel"

// Nothing that is secret stands in a log, a metric, an error, a close reason, a profile, the effective settings or the
// process's title, wherever it was used, well or badly.
func TestNothingLeaks(t *testing.T) {
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
	s := newStage(t, "JWT_SECRET="+secret, "JWT_PREVIOUS_SECRET="+secret+"-before", "JWT_COOKIE=jwt", "LOG_LEVEL=debug",
		"ADMIN_TOKEN="+canary+"-admin", "AUTH_URL="+app.URL+"/?key="+canary, "CHANNEL_AUTH_URL="+app.URL+"/channel?key="+canary)
	token := s.token("--user", "42", "--channel", "chat:*")
	signature := token[strings.LastIndex(token, ".")+1:]
	seen := use(t, s, token)
	seen["log"] = s.relay.Log()
	seen["settings"] = s.output("config")
	seen["check"] = s.output("check")
	admin := "http://" + s.relay.AdminAddr()
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline?debug=1", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/allocs?debug=1", "/livez", "/readyz", "/nothing"} {
		seen["admin "+path] = get(t, admin+path)
		seen["public "+path] = get(t, "http://"+s.relay.Addr()+path)
	}
	if runtime.GOOS == "linux" {
		title, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.relay.PID()), "cmdline"))
		if err != nil {
			t.Fatal(err)
		}
		seen["title"] = string(title)
	}
	for place, text := range seen {
		for name, part := range map[string]string{"a secret": canary, "a token": token, "a signature": signature} {
			if i := strings.Index(text, part); i >= 0 {
				t.Errorf("%s shows %s: ...%.200q", place, name, text[max(0, i-80):])
			}
		}
		if len(text) == 0 && place != "check" {
			t.Errorf("%s is empty, so it proves nothing", place)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/vars"} {
		if !strings.HasPrefix(seen["public "+path], "404") && path != "/debug/vars" {
			t.Errorf("public %s: %.40q", path, seen["public "+path])
		}
	}
}

// use brings secrets wherever a client can, and returns what it was told.
func use(t *testing.T, s *stage, token string) map[string]string {
	t.Helper()
	seen := make(map[string]string)
	note := func(name string, c *relaytest.Client) {
		t.Helper()
		end := s.await(c, name, relaytest.Is(relaytest.KindEnd))
		var told strings.Builder
		for _, e := range c.Events() {
			told.WriteString(e.String() + " " + e.Text + " " + e.Data + "\n")
		}
		seen[name] = end.String() + "\n" + told.String()
	}
	cookie := func(value string) http.Header { return http.Header{"Cookie": {value}} }
	for name, c := range map[string]caller{
		"bad token":          {token: canary},
		"forged token":       {token: token + canary},
		"bad header":         {header: http.Header{"Authorization": {"Bearer " + canary}}},
		"bad cookie":         {header: cookie("jwt=" + canary)},
		"query":              {raw: true, query: "?token=" + token + "&password=" + canary, channels: []string{"other"}},
		"failing app":        {header: cookie("bad=" + canary)},
		"basic password":     {raw: true, header: http.Header{"Authorization": {"Basic " + canary}}, channels: []string{"sidecast:x"}},
		"forbidden by token": {raw: true, token: token, channels: []string{"sidecast:x"}},
		"query that is none": {raw: true, query: "?" + canary + "=%zz"},
	} {
		note(name, s.dial(c))
	}
	good := s.dial(caller{token: token, header: cookie("PHPSESSID=" + canary)})
	s.await(good, "let in", on(relaytest.KindSubscribed, "user:42"))
	for _, text := range []string{`{"type":"auth","token":"` + token + `"}`, `{"type":"` + canary + `"}`, `{"type":"auth","token":"` + canary + `"}`} {
		if err := good.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	note("auth", good)
	garbled := s.dial(caller{token: token})
	if err := garbled.SendText(`{"type":"auth","token":"` + canary); err != nil {
		t.Fatal(err)
	}
	note("garbled", garbled)
	for name, offer := range map[string][]string{"alone": {"sidecast.token." + token}, "two": {"sidecast.token." + canary, "sidecast.token." + token}} {
		_, err := (&relaytest.Dialer{URL: s.relay.URL(), Offer: offer}).Dial(t.Context())
		if err == nil {
			t.Fatalf("%s: let in", name)
		}
		seen[name] = err.Error()
	}
	foreign := &relaytest.Dialer{URL: s.relay.URL() + "?token=" + url.QueryEscape(canary), Header: http.Header{
		"Origin": {"https://evil.example"}, "X-Forwarded-For": {"1.2.3.4"}, "Cookie": {canary}, "User-Agent": {canary},
	}}
	_, err := foreign.Dial(t.Context())
	if err == nil {
		t.Fatal("a foreign origin is let in")
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

// What hostile clients write into what is logged stays one line, and is written so that it can be read.
func TestLogInjection(t *testing.T) {
	s := newStage(t, "LOG_FORMAT=json")
	for _, hostile := range []string{"https://a\x1b[31m\"}{", "https://evil\u202e", `https://x","level":"ERROR`} {
		d := &relaytest.Dialer{URL: s.relay.URL(), Header: http.Header{"Origin": {hostile}}}
		if _, err := d.Dial(t.Context()); err == nil {
			t.Errorf("%q is let in", hostile)
		}
	}
	for line := range strings.Lines(s.relay.Log()) {
		if strings.Contains(line, "refused a page") && (!strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") ||
			strings.ContainsAny(line, "\x1b") || strings.Contains(line, `"level":"ERROR"`)) {
			t.Errorf("logged %q", line)
		}
	}
}
