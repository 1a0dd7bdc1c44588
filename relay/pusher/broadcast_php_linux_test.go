package pusher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidecast/relay/access"
	"sidecast/relay/auth"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

const secret = "at-least-16-random-bytes"

var app = access.NewApp("", "app-key", secret)

// startPHP runs the application in testdata/app, and returns its host:port.
func startPHP(t *testing.T) string {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	addr := redistest.FreeAddr(t)
	runUntilEnd(t, exec.Command("php", "-d", "session.save_path="+t.TempDir(), "-S", addr, "-t", "testdata/app", "testdata/app/index.php"))
	awaitHTTP(t, "http://"+addr+"/")
	return addr
}

// startNginx runs nginx at an address with the configuration in the README, in
// front of a relay and an application.
func startNginx(t *testing.T, listen, relay, application string) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // where Debian installs it
	redistest.Require(t, "nginx", "nginx-light")
	dir := t.TempDir()
	text := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;\nevents {}\nhttp {\naccess_log off; "+
		"client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\n%[2]s}\n",
		dir, strings.NewReplacer("listen 80;", "listen "+listen+";", "127.0.0.1:8080", relay, "127.0.0.1:8000", application).Replace(snippet(t, "nginx.conf")))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, exec.Command("nginx", "-c", file, "-e", "stderr"))
	awaitHTTP(t, "http://"+listen+"/")
}

// snippet returns the code in the README between the comments with this name.
func snippet(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(text), "<!-- "+name+" -->\n```")
	code, _, ended := strings.Cut(rest, "```\n<!-- /"+name+" -->")
	_, code, _ = strings.Cut(code, "\n") // the language
	if !begun || !ended {
		t.Fatalf("README.md has no %s", name)
	}
	return code
}

func runUntilEnd(t *testing.T, command *exec.Cmd) {
	t.Helper()
	var out strings.Builder
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", command.Path, &out)
		}
	})
}

func awaitHTTP(t *testing.T, url string) {
	t.Helper()
	limit, tick := time.After(relaytest.Patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		if response, err := http.Get(url); err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no answer at %s", url)
		}
	}
}

// startRelay runs a relay with the settings in the README and this URL.
func startRelay(t *testing.T, broadcastURL string) *relaytest.Process {
	t.Helper()
	relay, _ := startRelayAndRedis(t, broadcastURL)
	return relay
}

func startRelayAndRedis(t *testing.T, broadcastURL string) (*relaytest.Process, *redistest.Server) {
	t.Helper()
	redis := redistest.Start(t)
	env := map[string]string{"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_TRUSTED_PROXIES": "127.0.0.1",
		"SIDECAST_AUTH_TIMEOUT": "10s"} // the machine may be busy
	for line := range strings.Lines(snippet(t, "broadcast.env")) {
		line, _, _ = strings.Cut(line, "#")
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env[name] = value
		}
	}
	env["SIDECAST_BROADCAST_AUTH_URL"] = broadcastURL
	relay := relaytest.Start(t, env)
	relay.AwaitReady()
	return relay, redis
}

// A visitor is a browser with its cookies. site is a URL without a path.
type visitor struct {
	t      *testing.T
	client http.Client
	site   string
}

func newVisitor(t *testing.T, site string) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, client: http.Client{Jar: jar}, site: site}
}

// visit requests a page.
func (v *visitor) visit(path string) string {
	v.t.Helper()
	response, err := v.client.Get(v.site + path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

// authorize asks for the signature of a channel, as pusher-js does on a page of
// this origin.
func (v *visitor) authorize(origin, channel string) (status int, answer map[string]string, header http.Header) {
	v.t.Helper()
	form := url.Values{"socket_id": {socketID}, "channel_name": {channel}}
	request, err := http.NewRequest(http.MethodPost, v.site+"/broadcasting/auth", strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {origin}}
	response, err := v.client.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	_ = json.NewDecoder(response.Body).Decode(&answer) // a page of another origin gets a text
	return response.StatusCode, answer, response.Header
}

var socketID = app.SocketID(4711)

// TestLaravelWithRedisDriver runs an application that answers like Laravel with
// its driver redis, in a site with nginx. Who is logged in gets the signatures
// of the channels that the application allows.
func TestLaravelWithRedisDriver(t *testing.T) {
	php, listen := startPHP(t), redistest.FreeAddr(t)
	relay := startRelay(t, "http://"+php+"/broadcasting/auth")
	startNginx(t, listen, relay.Addr(), php)
	site := "http://" + listen
	user, stranger, guest := newVisitor(t, site), newVisitor(t, site), newVisitor(t, site)
	if page := user.visit("/login?user=42"); page != "welcome" {
		t.Fatalf("nginx sends the application's pages to another server: %q", page)
	}
	stranger.visit("/login?user=43")
	forged := newVisitor(t, site)
	forged.client.Jar.SetCookies(&url.URL{Scheme: "http", Host: listen}, []*http.Cookie{{Name: "PHPSESSID", Value: "0123456789abcdef"}})

	for _, tt := range []struct {
		comment string
		visitor *visitor
		channel string
		status  int
		data    string
	}{
		{"the user's private channel", user, "private-order.7", 200, ""},
		{"a private channel whose callback returns data", user, "private-user.1", 200, ""},
		{"a presence channel", user, "presence-room.1", 200, `{"user_id":42,"user_info":{"name":"User <42>","url":"https:\/\/x\/\u00fc"}}`},
		{"a presence channel, as another user", stranger, "presence-room.1", 200, `{"user_id":43,"user_info":{"name":"User <43>","url":"https:\/\/x\/\u00fc"}}`},
		{"a presence channel whose callback returns true", user, "presence-order.7", 403, ""},
		{"the channel of another order", user, "private-order.8", 403, ""},
		{"another user", stranger, "private-order.7", 403, ""},
		{"a channel without a callback", user, "private-x", 403, ""},
		{"a visitor without a login", guest, "private-order.7", 403, ""},
		{"a made-up session", forged, "private-order.7", 403, ""},
		{"an encrypted channel", user, "private-encrypted-order.7", 403, ""},
		{"a public channel", user, "order.7", 403, ""},
	} {
		status, answer, header := tt.visitor.authorize(site, tt.channel)
		if status != tt.status || answer["channel_data"] != tt.data || (answer["auth"] != "") != (status == 200) {
			t.Errorf("%s: %d %q, want %d with %q", tt.comment, status, answer, tt.status, tt.data)
		}
		if want := app.SignChannel(socketID, tt.channel, tt.data); status == 200 && !app.Verify(answer["auth"], want) {
			t.Errorf("%s: signature %q, want %q", tt.comment, answer["auth"], want)
		}
		if header.Get("Access-Control-Allow-Origin") != site {
			t.Errorf("%s: the page cannot read the answer: %v", tt.comment, header)
		}
	}

	if status, answer, header := user.authorize("https://evil.example", "private-order.7"); status != http.StatusForbidden ||
		answer != nil || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page of another origin: %d %q %v", status, answer, header)
	}
	user.visit("/logout")
	if status, answer, _ := user.authorize(site, "private-order.7"); status != http.StatusForbidden {
		t.Errorf("after the logout: %d %q", status, answer)
	}
	if strings.Contains(relay.Log(), "PHPSESSID") {
		t.Error("the log contains a cookie")
	}
}

// TestBroadcastAuthInBrowser lets a page in Chromium request a signature from
// another port, with the headers of Laravel Echo: the browser sends the cookies
// of the application, and the page can read the answer. A page of another host
// cannot.
func TestBroadcastAuthInBrowser(t *testing.T) {
	php := startPHP(t)
	relay := startRelay(t, "http://"+php+"/broadcasting/auth")
	_, appPort, _ := net.SplitHostPort(php)
	_, relayPort, _ := net.SplitHostPort(relay.Addr())
	ctx := browser.Start(t)
	ask := func(channel string) string {
		browser.Eval[any](ctx, t, fmt.Sprintf(`window.answer = undefined; fetch('http://localhost:%s/broadcasting/auth', {
			method: 'POST', credentials: 'include', body: JSON.stringify({socket_id: %q, channel_name: %q}),
			headers: {'Content-Type': 'application/json', 'X-CSRF-TOKEN': 'x', 'X-Socket-ID': %[2]q, 'X-Requested-With': 'XMLHttpRequest'},
		}).then(async (r) => { answer = r.status + ' ' + await r.text() }, (error) => { answer = String(error) }); null`,
			relayPort, socketID, channel))
		browser.Await(ctx, t, "answer !== undefined")
		return strings.TrimSpace(browser.Eval[string](ctx, t, "answer"))
	}
	browser.Do(ctx, t, chromedp.Navigate("http://localhost:"+appPort+"/login?user=42"))
	if got, want := ask("private-order.7"), fmt.Sprintf(`200 {"auth":%q}`, app.SignChannel(socketID, "private-order.7", "")); got != want {
		t.Errorf("the page reads %s, want %s", got, want)
	}
	if got := ask("private-order.8"); !strings.HasPrefix(got, "403 ") {
		t.Errorf("the page reads %s, want 403", got)
	}
	browser.Do(ctx, t, chromedp.Navigate("http://127.0.0.1:"+appPort+"/"))
	if got := ask("private-order.7"); !strings.Contains(got, "Failed to fetch") {
		t.Errorf("a page of another host reads %s", got)
	}
}

// TestLaravelEvents lets a page in Chromium receive what Laravel publishes: on a
// presence and a private channel that it has a signature for, and on a private
// channel for which the relay asks the application.
func TestLaravelEvents(t *testing.T) {
	php, listen := startPHP(t), redistest.FreeAddr(t)
	relay, redis := startRelayAndRedis(t, "http://"+php+"/broadcasting/auth")
	startNginx(t, listen, relay.Addr(), php)
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate("http://"+listen+"/login?user=42"))
	browser.Eval[any](ctx, t, fmt.Sprintf(`window.seen = [];
		window.socket = new WebSocket('ws://%s/app/app-key?protocol=7');
		socket.onmessage = ({data}) => {
			const frame = JSON.parse(data);
			seen.push(frame);
			if (frame.event === 'pusher:connection_established') window.id = JSON.parse(frame.data).socket_id;
		};
		window.got = (event, channel) => seen.find((f) => f.event === event && f.channel === channel);
		window.subscribe = async (channel, signed) => {
			const form = new URLSearchParams({socket_id: id, channel_name: channel});
			const answer = signed ? await (await fetch('/broadcasting/auth', {method: 'POST', body: form})).json() : {};
			socket.send(JSON.stringify({event: 'pusher:subscribe', data: {channel, ...answer}}));
		}; null`, listen))
	browser.Await(ctx, t, "window.id")
	for channel, signed := range map[string]bool{
		"private-order.7": true, "presence-room.1": true, "private-user.1": false,
	} {
		browser.Eval[any](ctx, t, fmt.Sprintf("subscribe(%q, %v); null", channel, signed))
		browser.Await(ctx, t, fmt.Sprintf("got('pusher_internal:subscription_succeeded', %q)", channel))
		redis.CLI("PUBLISH", "laravel-database-"+channel, `{"event":"App\\Events\\Shipped","data":{"n":1},"socket":null}`)
		browser.Await(ctx, t, fmt.Sprintf(`got('App\\Events\\Shipped', %q)`, channel))
	}
	for channel, signed := range map[string]bool{"private-order.8": false, "presence-room.2": false, "private-order.9": true} {
		browser.Eval[any](ctx, t, fmt.Sprintf("subscribe(%q, %v); null", channel, signed))
		browser.Await(ctx, t, fmt.Sprintf("got('pusher:subscription_error', %q)", channel))
	}
	if ids := browser.Eval[string](ctx, t, "JSON.parse(got('pusher_internal:subscription_succeeded', 'presence-room.1').data).presence.ids.join()"); ids != "42" {
		t.Errorf("the members are %q", ids)
	}
}

// TestBroadcastLoop checks a URL that leads back to Sidecast, because nginx
// sends the path to it: the request ends, and the log names the setting.
func TestBroadcastLoop(t *testing.T) {
	listen := redistest.FreeAddr(t)
	relay := startRelay(t, "http://"+listen+"/broadcasting/auth")
	startNginx(t, listen, relay.Addr(), startPHP(t))
	site := "http://" + listen
	user := newVisitor(t, site)
	user.visit("/login?user=42")
	status, answer, header := user.authorize(site, "private-order.7")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %q", status, answer)
	}
	inner := relay.AwaitMessage("client rejected")
	outer := relay.AwaitMessage("the application's answer is unusable: clients are asked to try again later")
	if !strings.Contains(inner, "SIDECAST_BROADCAST_AUTH_URL") || !strings.Contains(outer, "leads back to Sidecast") {
		t.Errorf("the log is\n%s\n%s", inner, outer)
	}
}

// TestPrivateSubscribeAsksLaravel checks the question about a client that sends
// no signature, with the cookies of its handshake.
func TestPrivateSubscribeAsksLaravel(t *testing.T) {
	site := "http://" + startPHP(t)
	application := auth.NewApplication(auth.ApplicationConfig{
		BroadcastURL: site + "/broadcasting/auth", Timeout: relaytest.Patience, Concurrency: 4, Stats: new(stats.Stats),
		Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = application.Run(ctx) })
	defer running.Wait()
	defer cancel()

	user := newVisitor(t, site)
	user.visit("/login?user=42")
	handshake, err := http.NewRequest(http.MethodGet, site+"/app/app-key", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range user.client.Jar.Cookies(handshake.URL) {
		handshake.AddCookie(cookie)
	}
	ask := application.PrivateAuthorizer(handshake)
	for channel, want := range map[string]protocol.Code{
		"private-order.7": protocol.CodeOK, "private-order.8": protocol.CodeForbidden, "presence-room.1": protocol.CodeForbidden,
	} {
		for _, socket := range []string{"", socketID} {
			if _, code := ask(t.Context(), socket, channel); code != want {
				t.Errorf("%s for socket %q: %q, want %q", channel, socket, code, want)
			}
		}
	}
	user.visit("/logout")
	if _, code := ask(t.Context(), "", "private-order.7"); code != protocol.CodeForbidden {
		t.Errorf("after the logout: %q", code)
	}
}
