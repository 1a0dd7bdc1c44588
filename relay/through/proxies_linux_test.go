package through_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/relaytest/webserver"
	"sidecast/relay/source"
	"sidecast/relay/through"
)

// The relays that the tests connect to.
type relays struct {
	often  string // sends heartbeats each second
	seldom string // sends them every 25 s
	base   string // has the base path /live
	listed string // allows the pages of https://www.example.com
	none   string // an address without a relay
}

func startRelays(t *testing.T) relays {
	redis := redistest.Start(t)
	start := func(settings ...string) string {
		env := map[string]string{"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "public:*"}
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			env["SIDECAST_"+name] = value
		}
		p := relaytest.Start(t, env)
		p.AwaitReady()
		return p.Addr()
	}
	return relays{
		often: start("PING_INTERVAL=1s", "PONG_TIMEOUT=900ms"), seldom: start(), base: start("BASE_PATH=/live"),
		listed: start("ALLOWED_ORIGINS=https://www.example.com"), none: redistest.FreeAddr(t),
	}
}

// check returns the findings of a check, as text.
func check(t *testing.T, target, channel string, idle time.Duration) string {
	t.Helper()
	u, err := through.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
	defer cancel()
	var out strings.Builder
	through.Check(ctx, through.Config{URL: u, Channel: channel, Idle: idle, Report: func(f source.Finding) {
		fmt.Fprintf(&out, "%s %s: %s\n%s\n", f.Level, f.Subject, f.Text, f.Do)
	}})
	return out.String()
}

// Parts of configurations that are right.
const (
	nginxUpgrade = `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_set_header Host $host;` + "\n"
	nginxRight   = "location / { proxy_pass http://OFTEN; " + nginxUpgrade + "}\n"
	nginxStream  = "proxy_pass http://OFTEN; proxy_http_version 1.1; proxy_set_header Host $host;"
)

// A mistake is a part of the configuration of a web server that breaks something.
// OFTEN, SELDOM, BASE, LISTED and NONE are the addresses of the relays.
type mistake struct {
	comment string
	part    string
	path    string   // of the URL, if it is not /ws
	wants   []string // parts of the findings
}

var nginxMistakes = []mistake{
	{"nothing about Upgrade", "location / { proxy_pass http://OFTEN; }", "", []string{
		"fail WebSocket: the relay answers 426: this WebSocket handshake arrived as HTTP/1.0 without its header Upgrade: websocket and its header Connection: Upgrade",
		"\nnginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;",
		"ok event stream: begins at once", "ok idle event stream: ",
	}},
	{"HTTP/1.0", "location / { proxy_pass http://OFTEN; proxy_http_version 1.0; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }", "", []string{
		"fail WebSocket: the relay answers 426: this WebSocket handshake arrived as HTTP/1.0: a proxy must pass them on, as HTTP/1.1", "\nnginx: proxy_http_version 1.1;",
	}},
	{"no Connection", "location / { proxy_pass http://OFTEN; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; }", "", []string{
		"fail WebSocket: the relay answers 426: this WebSocket handshake arrived as HTTP/1.1 without its header Connection: Upgrade: ",
	}},
	{"another upstream for the path", "location /app { proxy_pass http://OFTEN; }", "", []string{
		"fail WebSocket: nginx/", " answers 404: the path does not lead to the relay", "\nnginx: location ~ ^/(ws|sse|",
		"warn event stream: the same answer as for WebSocket",
	}},
	{"no relay", "location / { proxy_pass http://NONE; " + nginxUpgrade + "}", "", []string{
		"fail WebSocket: nginx/", " answers 502: it cannot reach the relay", "SIDECAST_LISTEN",
	}},
	{"a redirect to TLS", "return 301 https://$host$request_uri;", "", []string{
		"fail WebSocket: nginx/", " redirects to https://127.0.0.1/ws (301), and browsers do not follow that", "write wss:// in the URL",
	}},
	{"a redirect to a login", "return 302 /login?next=/ws&secret=1;", "", []string{
		"fail WebSocket: nginx/", "/login (302)", "let the login or the rule that redirects except this path",
	}},
	{"a login page", `location / { default_type text/html; return 200 '<title>Log in</title><form><input type="password">'; }`, "", []string{
		"fail WebSocket: nginx/", ` answers 200 with a login page titled "Log in"`, "let the login except this path",
	}},
	{"an application's page", `gzip on; gzip_min_length 1; location / { default_type text/html; return 200 '<title>Shop &amp; more</title>'; }`, "", []string{
		"fail WebSocket: nginx/", ` answers 200 with a page titled "Shop & more": the path does not lead to the relay`,
	}},
	{"a password", "auth_basic staging; auth_basic_user_file /dev/null;" + nginxRight, "", []string{
		"fail WebSocket: nginx/", " asks for a login of its own (401)",
	}},
	{"a firewall", "location / { deny all; }", "", []string{"fail WebSocket: nginx/", " refuses the request (403) before the relay sees it"}},
	{"another Host", "location / { proxy_pass http://OFTEN; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host sidecast; }", "", []string{
		"fail WebSocket: the relay refuses a page of http://127.0.0.1:", ", because a proxy replaces the Host header", "\nnginx: proxy_set_header Host $host;",
	}},
	{"a list of origins", "location / { proxy_pass http://LISTED; " + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the relay refuses a page of http://127.0.0.1:", "add it to SIDECAST_ALLOWED_ORIGINS",
	}},
	{"another Origin", "location / { proxy_pass http://OFTEN; proxy_set_header Origin none-at-all; " + nginxUpgrade + "}", "", []string{
		", because a proxy changes the Origin header", "\nnginx: no \"proxy_set_header Origin\"",
	}},
	{"no query", "location / { proxy_pass http://OFTEN$uri; " + nginxUpgrade + "}", "", []string{
		"ok WebSocket: works", "fail query of the URL: does not reach the relay", "\nnginx: proxy_pass http://127.0.0.1:8080; without variables",
	}},
	{"no base path", "location /live/ { proxy_pass http://BASE/; " + nginxUpgrade + "}", "/live/ws", []string{
		"fail WebSocket: the relay serves /live/ws, but receives another path: a proxy changes it", "\nnginx: proxy_pass http://127.0.0.1:8080; without a path",
	}},
	{"a base path that the URL lacks", "location / { proxy_pass http://BASE; " + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the relay does not serve /ws, but /live/ws", "connect to /live/ws, or",
	}},
	{"a base path that the relay lacks", "location / { proxy_pass http://OFTEN; " + nginxUpgrade + "}", "/live/ws", []string{
		"fail WebSocket: the relay does not serve /live/ws, but /ws", "or set SIDECAST_BASE_PATH=/live",
	}},
	{"no subprotocol for the relay", `location / { proxy_pass http://OFTEN; proxy_set_header Sec-WebSocket-Protocol ""; ` + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the header Sec-WebSocket-Protocol does not reach the relay", "\nnginx: no \"proxy_set_header Sec-WebSocket-",
	}},
	{"no subprotocol for the browser", "location / { proxy_pass http://OFTEN; proxy_hide_header Sec-WebSocket-Protocol; " + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the header Sec-WebSocket-Protocol is missing in the answer",
	}},
	{"another key", "location / { proxy_pass http://OFTEN; proxy_set_header Sec-WebSocket-Key dGhlIHNhbXBsZSBub25jZQ==; " + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the answer 101 has a wrong Sec-WebSocket-Accept",
	}},
	{"no key", `location / { proxy_pass http://OFTEN; proxy_set_header Sec-WebSocket-Key ""; ` + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the relay answers 400: Sec-WebSocket-Key must be", "let the proxy pass the headers of the handshake unchanged",
	}},
	{"a stream that waits", nginxRight + "location /sse { proxy_ignore_headers X-Accel-Buffering; " + nginxStream + "}", "", []string{
		"ok WebSocket: works", "fail event stream: no answer arrives within 10s: a proxy waits for its end", "ok idle WebSocket: was open", "\nnginx: proxy_buffering off;",
	}},
	{"no stream", "location /ws { proxy_pass http://OFTEN; " + nginxUpgrade + "}", "", []string{
		"ok WebSocket: works", "warn event stream: nginx/", " answers 404: the path does not lead to the relay; pages with EventSource",
	}},
	{"a short timeout", "location / { proxy_read_timeout 2s; proxy_pass http://SELDOM; " + nginxUpgrade + "}", "", []string{
		"fail idle WebSocket: was cut after ", "by a FIN without a close frame", "the relay sends a heartbeat only every 25 s",
		"or set SIDECAST_PING_INTERVAL to less than ", "\nnginx: proxy_read_timeout 1h;", "fail idle event stream: was cut after ",
	}},
	{"nothing", nginxRight, "", nil},
}

// TestMistakes makes mistakes in the configuration of real web servers. Each is
// named, with the lines that correct it.
func TestMistakes(t *testing.T) {
	all := startRelays(t)
	addresses := strings.NewReplacer("OFTEN", all.often, "SELDOM", all.seldom, "BASE", all.base, "LISTED", all.listed, "NONE", all.none)
	for _, server := range []struct {
		webserver.Server
		mistakes []mistake
	}{{webserver.Nginx, nginxMistakes}} {
		for _, m := range server.mistakes {
			t.Run(server.Program+"/"+m.comment, func(t *testing.T) {
				addr := server.Start(t, addresses.Replace(m.part)+"\n")
				path := m.path
				if path == "" {
					path = "/ws"
				}
				got := check(t, "http://"+addr+path, "public:1", 4*time.Second)
				for _, want := range m.wants {
					if !strings.Contains(got, want) {
						t.Errorf("it does not say %q", want)
					}
				}
				if t.Failed() || m.wants == nil && (strings.Contains(got, "fail ") || strings.Contains(got, "warn ")) {
					t.Errorf("findings:\n%s", got)
				}
			})
		}
	}
}
