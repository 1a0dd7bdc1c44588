package through_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/relaytest/webserver"
	"sidecast/relay/source"
	"sidecast/relay/through"
)

// TestMain lets more tests run at a time than there are processors: they wait
// most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set("8"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// The relays that the tests connect to.
type relays struct {
	often  string // sends heartbeats every 10 s
	seldom string // sends them every 25 s
	base   string // has the base path /live
	listed string // allows the pages of https://www.example.com
	pusher string // serves pusher-js, whose key is app-key
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
		often: start("PING_INTERVAL=10s", "PONG_TIMEOUT=9900ms"), seldom: start(), base: start("BASE_PATH=/live"),
		listed: start("ALLOWED_ORIGINS=https://www.example.com"),
		pusher: start("PUSHER_KEY=app-key", "PUSHER_SECRET=at-least-16-random-bytes", "PUSHER_APP_ID=1"), none: redistest.FreeAddr(t),
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
// OFTEN, SELDOM, BASE, LISTED, PUSHER and NONE are the addresses of the relays.
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
		"ok event stream: begins at once",
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
	{"no Origin", `location / { proxy_pass http://OFTEN; proxy_set_header Origin ""; ` + nginxUpgrade + "}", "", []string{
		"ok WebSocket: works", "warn origin: pages of every other site can connect", "\nnginx: no \"proxy_set_header Origin\"",
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
	{"no Upgrade for Echo", "location / { proxy_pass http://PUSHER; }", "/app/app-key", []string{
		"fail WebSocket: the relay answers 426: ", "\nnginx: proxy_http_version 1.1;",
	}},
	{"no path of Echo", "location /ws { proxy_pass http://PUSHER; }", "/app/app-key", []string{
		"fail WebSocket: nginx/", " answers 404: the path does not lead to the relay", "\nnginx: location ~ ^/(app/.*|ws|",
	}},
	{"another key of Echo", "location / { proxy_pass http://PUSHER; " + nginxUpgrade + "}", "/app/other", []string{
		"fail WebSocket: the proxies pass it, but the relay closes it with 4001", "use the key in SIDECAST_PUSHER_KEY",
	}},
	{"no Pusher protocol", "location / { proxy_pass http://OFTEN; " + nginxUpgrade + "}", "/app/app-key", []string{
		"fail WebSocket: the relay answers 404: this relay does not speak the Pusher protocol: set SIDECAST_PUSHER_KEY",
	}},
	{"Echo, and no mistake", "location / { proxy_pass http://PUSHER; " + nginxUpgrade + "}", "/app/app-key", []string{
		"ok WebSocket: works", "ok messages of pages: 15 KiB reach the relay", "ok event stream: begins at once",
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
	{"an extension", "location / { proxy_pass http://OFTEN; add_header Sec-WebSocket-Extensions permessage-deflate always; " + nginxUpgrade + "}", "", []string{
		`warn WebSocket: the answer accepts the extension "permessage-deflate", which the relay never does`,
		"fail WebSocket: the answer 101 accepts an extension that was not offered",
	}},
	{"no key", `location / { proxy_pass http://OFTEN; proxy_set_header Sec-WebSocket-Key ""; ` + nginxUpgrade + "}", "", []string{
		"fail WebSocket: the relay answers 400: Sec-WebSocket-Key must be", "let the proxy pass the headers of the handshake unchanged",
	}},
	{"a stream that waits", nginxRight + "location /sse { proxy_ignore_headers X-Accel-Buffering; " + nginxStream + "}", "", []string{
		"ok WebSocket: works", "fail event stream: no answer arrives within 10s: a proxy waits for its end", "\nnginx: proxy_buffering off;",
	}},
	{"no stream", "location /ws { proxy_pass http://OFTEN; " + nginxUpgrade + "}", "", []string{
		"ok WebSocket: works", "warn event stream: nginx/", " answers 404: the path does not lead to the relay; pages with EventSource",
	}},
	{"a short timeout", "location / { proxy_read_timeout 2s; proxy_pass http://SELDOM; " + nginxUpgrade + "}", "", []string{
		"fail idle WebSocket: was cut after ", "by a FIN without a close frame", "the relay sends a heartbeat only every 25 s",
		"or set SIDECAST_PING_INTERVAL to less than ", "\nnginx: proxy_read_timeout 1h;", "fail idle event stream: was cut after ",
	}},
	{"no mistake", "recipe nginx", "", nil},
}

// The page of an HAProxy that replaces nothing has the name "a proxy", because
// HAProxy does not say who it is: all lines are shown.
var haproxyMistakes = []mistake{
	{"no Upgrade", "\thttp-request del-header Upgrade\n\tserver relay OFTEN", "", []string{
		"fail WebSocket: the relay answers 426: this WebSocket handshake arrived as HTTP/1.1 without its header", "\nHAProxy: mode http, without ", "\nnginx: proxy_http_version 1.1;",
	}},
	{"HTTP/2 to the relay", "\tserver relay OFTEN proto h2", "", []string{"fail WebSocket: a proxy answers 502", "\nHAProxy: "}},
	{"no relay", "\tserver relay NONE", "", []string{"fail WebSocket: a proxy answers 503: it cannot reach the relay", "SIDECAST_LISTEN"}},
	{"another upstream for the path", "\thttp-request return status 404 unless { path_beg /app }\n\tserver relay OFTEN", "", []string{
		"fail WebSocket: a proxy answers 404: the path does not lead to the relay", "\nHAProxy: use_backend relays if { path_beg /ws /sse /sidecast }",
	}},
	{"a redirect to TLS", "\tredirect scheme https code 302", "", []string{"fail WebSocket: a proxy redirects to https://127.0.0.1:", "write wss:// in the URL"}},
	{"another path", "\thttp-request replace-path /live(/.*) \\1\n\tserver relay BASE", "/live/ws", []string{
		"fail WebSocket: the relay serves /live/ws, but receives another path: a proxy changes it", "\nHAProxy: no http-request set-path",
	}},
	{"another Host", "\thttp-request set-header Host sidecast.internal\n\tserver relay OFTEN", "", []string{
		", because a proxy replaces the Host header", "\nHAProxy: no \"http-request set-header Host\"",
	}},
	{"another query", "\thttp-request set-query a=b\n\tserver relay OFTEN", "", []string{
		"ok WebSocket: works", "fail query of the URL: does not reach the relay", "\nHAProxy: no http-request set-query",
	}},
	{"no subprotocol", "\thttp-request del-header Sec-WebSocket-Protocol\n\tserver relay OFTEN", "", []string{
		"fail WebSocket: the header Sec-WebSocket-Protocol does not reach the relay", "\nHAProxy: no \"http-request del-header Sec-WebSocket-",
	}},
	{"a stream that waits", "\thttp-request set-var(txn.path) path\n\thttp-response wait-for-body time 1m if { var(txn.path) -m str /sse }\n\tserver relay OFTEN", "", []string{
		"ok WebSocket: works", "fail event stream: no answer arrives within 10s", "\nHAProxy: no \"http-response wait-for-body\"",
	}},
	{"a stream that waits for 2 s", "\thttp-request set-var(txn.path) path\n\thttp-response wait-for-body time 2s if { var(txn.path) -m str /sse }\n\tserver relay OFTEN", "", []string{
		"ok WebSocket: works", "fail event stream: a proxy answers 504 after ", "\nHAProxy: no \"http-response wait-for-body\"",
	}},
	{"short timeouts", "\ttimeout tunnel 2s\n\ttimeout server 2s\n\tserver relay SELDOM", "", []string{
		"fail idle WebSocket: was cut after ", "\nHAProxy: timeout tunnel 1h", "fail idle event stream: was cut after ",
	}},
	{"no mistake", "\tserver relay OFTEN", "", nil},
}

const apacheModules = "LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so\n" +
	"LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\n" +
	"LoadModule ext_filter_module /usr/lib/apache2/modules/mod_ext_filter.so\nProxyPreserveHost On\n"

const apacheRight = `ProxyPass "/ws" "http://OFTEN/ws" upgrade=websocket` + "\n" + `ProxyPass "/sse" "http://OFTEN/sse"` + "\n"

var apacheMistakes = []mistake{
	{"nothing about Upgrade", `ProxyPass "/" "http://OFTEN/"`, "", []string{
		"fail WebSocket: the relay answers 426: this WebSocket handshake arrived as HTTP/1.1 without its header Upgrade: websocket",
		"\nApache: ProxyPass \"/ws\" \"http://127.0.0.1:8080/ws\" upgrade=websocket",
	}},
	{"another upstream for the path", `ProxyPass "/app" "http://OFTEN/app"`, "", []string{
		"fail WebSocket: Apache/", " answers 40", "\nApache: ProxyPass \"/ws\"",
	}},
	{"no relay", `ProxyPass "/" "http://NONE/" upgrade=websocket`, "", []string{"fail WebSocket: Apache/", " answers 503: it cannot reach the relay"}},
	{"another path", `ProxyPass "/live/" "http://BASE/" upgrade=websocket`, "/live/ws", []string{
		"fail WebSocket: the relay serves /live/ws, but receives another path", "\nApache: the same path twice: ProxyPass \"/live/ws\"",
	}},
	{"another Host", "RequestHeader set Host sidecast.internal\n" + apacheRight, "", []string{", because a proxy replaces the Host header"}},
	{"no query", "RewriteEngine On\nRewriteRule ^/ws$ ws://OFTEN/ws? [P]\n" + apacheRight, "", []string{
		"ok WebSocket: works", "fail query of the URL: does not reach the relay", "\nApache: ProxyPass, or RewriteRule without a ?",
	}},
	{"no subprotocol", "RequestHeader unset Sec-WebSocket-Protocol\n" + apacheRight, "", []string{
		"fail WebSocket: the header Sec-WebSocket-Protocol does not reach the relay", "\nApache: no \"RequestHeader unset Sec-WebSocket-",
	}},
	{"a stream that waits", "ExtFilterDefine whole cmd=/usr/bin/tac\n" + apacheRight + "<Location /sse>\nSetOutputFilter whole\n</Location>", "", []string{
		"ok WebSocket: works", "fail event stream: ", "\nApache: ProxyPass \"/sse\"",
	}},
	{"a short timeout", "Timeout 2\n" + strings.ReplaceAll(apacheRight, "OFTEN", "SELDOM"), "", []string{
		"fail idle WebSocket: was cut after ", "\nApache: ProxyPass \"/ws\" \"http://127.0.0.1:8080/ws\" upgrade=websocket timeout=3600", "fail idle event stream: was cut after ",
	}},
	{"no mistake", "recipe apache", "", nil},
}

var caddyMistakes = []mistake{
	{"no Upgrade", "app.example.com {\nreverse_proxy OFTEN {\nheader_up -Upgrade\n}\n}", "", []string{
		"fail WebSocket: the relay answers 426: ", "\nCaddy: reverse_proxy 127.0.0.1:8080, without header_up for Upgrade",
	}},
	{"another upstream for the path", "app.example.com {\nreverse_proxy /app/* OFTEN\n}", "", []string{
		"fail WebSocket: Caddy answers 200 OK", "\nCaddy: reverse_proxy @sidecast 127.0.0.1:8080, with @sidecast path /ws /sse /sidecast*",
	}},
	{"no relay", "app.example.com {\nreverse_proxy NONE\n}", "", []string{"fail WebSocket: Caddy answers 502: it cannot reach the relay"}},
	{"another path", "app.example.com {\nhandle_path /live/* {\nreverse_proxy BASE\n}\n}", "/live/ws", []string{
		"fail WebSocket: the relay serves /live/ws, but receives another path", "\nCaddy: handle in place of handle_path",
	}},
	{"another Host", "app.example.com {\nreverse_proxy OFTEN {\nheader_up Host sidecast.internal\n}\n}", "", []string{
		", because a proxy replaces the Host header", "\nCaddy: no \"header_up Host\"",
	}},
	{"no query", "app.example.com {\nrewrite * {path}?\nreverse_proxy OFTEN\n}", "", []string{
		"ok WebSocket: works", "fail query of the URL: does not reach the relay", "\nCaddy: no rewrite with a ? at its end",
	}},
	{"no subprotocol", "app.example.com {\nreverse_proxy OFTEN {\nheader_up -Sec-WebSocket-Protocol\n}\n}", "", []string{
		"fail WebSocket: the header Sec-WebSocket-Protocol does not reach the relay", "\nCaddy: no \"header_up -Sec-WebSocket-",
	}},
	{"a stream that waits", "app.example.com {\nreverse_proxy /sse OFTEN {\nbuffer_responses\n}\nreverse_proxy OFTEN\n}", "", []string{
		"ok WebSocket: works", "fail event stream: no answer arrives within 10s", "\nCaddy: no response_buffers",
	}},
	{"a short timeout", "app.example.com {\nreverse_proxy SELDOM {\ntransport http {\nread_timeout 2s\n}\n}\n}", "", []string{
		"fail idle WebSocket: was cut after ", "\nCaddy: no stream_timeout", "fail idle event stream: was cut after ",
	}},
	{"no mistake", "recipe caddyfile", "", nil},
}

// recipe returns the configuration in the README of relay/auth in this language.
func recipe(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../auth/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, begun := strings.Cut(string(text), "\n```"+language+"\n")
	code, _, ended := strings.Cut(code, "```\n")
	if !begun || !ended || !strings.Contains(code, "127.0.0.1:8080") {
		t.Fatalf("the README has no configuration in %s", language)
	}
	return strings.ReplaceAll(code, "127.0.0.1:8080", "OFTEN")
}

// TestMistakes makes mistakes in the configuration of real web servers. Each is
// named, with the lines that correct it. The configurations of the README are
// right.
func TestMistakes(t *testing.T) {
	all := startRelays(t)
	addresses := strings.NewReplacer("OFTEN", all.often, "SELDOM", all.seldom, "BASE", all.base, "LISTED", all.listed, "PUSHER", all.pusher, "NONE", all.none)
	for _, server := range []struct {
		webserver.Server
		mistakes []mistake
		before   string
	}{{webserver.Nginx, nginxMistakes, ""}, {webserver.HAProxy, haproxyMistakes, ""}, {webserver.Apache, apacheMistakes, apacheModules}, {webserver.Caddy, caddyMistakes, ""}} {
		for _, m := range server.mistakes {
			t.Run(server.Program+"/"+m.comment, func(t *testing.T) {
				t.Parallel()
				if language, ok := strings.CutPrefix(m.part, "recipe "); ok {
					m.part = recipe(t, language)
				}
				addr := server.Start(t, server.before+addresses.Replace(m.part)+"\n")
				idle := time.Duration(0)
				switch {
				case m.wants == nil:
					idle = 12 * time.Second // longer than the interval of heartbeats
				case strings.Contains(strings.Join(m.wants, ""), "fail idle"):
					idle = relaytest.Patience // it ends when both connections are cut
				}
				path := m.path
				if path == "" {
					path = "/ws"
				}
				got := check(t, "http://"+addr+path, "public:1", idle)
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
