package web_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/browser"
)

// envelope is what Laravel's redis driver publishes.
func envelope(t *testing.T, event string, data any, socket string) string {
	t.Helper()
	fields := map[string]any{"event": event, "data": data, "socket": nil}
	if socket != "" {
		fields["socket"] = socket
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The real Laravel Echo works with the connector.
func TestEcho(t *testing.T) {
	t.Parallel()
	relay, redis := startProcess(t, map[string]string{
		"SIDECAST_CHANNELS": "orders,secret,private-*,presence-*", "SIDECAST_PUBLIC_CHANNELS": "orders,private-*,presence-*",
		"SIDECAST_PUBLISH_CHANNELS": "private-*",
	})
	dir := npmInstall(t, "ws@8", "laravel-echo@2")
	script, err := os.ReadFile("client/test/echo.mjs")
	if err != nil {
		t.Fatal(err)
	}
	echo := node(t, dir, string(script), relay.URL())
	say := func(line string) {
		_, _ = io.WriteString(echo.stdin, line+"\n")
	}
	if got := echo.awaitAll("status", 2); !slices.Equal(got, []string{"connecting", "connected"}) {
		t.Errorf("the connection was %q", got)
	}
	subscribed := echo.awaitAll("subscribed", 3)
	if slices.Sort(subscribed); !slices.Equal(subscribed, []string{"orders", "other", "private-chat"}) {
		t.Errorf("subscribed to %q", subscribed)
	}
	if code := echo.await("refused", 0); code != "forbidden" {
		t.Errorf("a channel that is not allowed: %s", code)
	}
	socket := echo.await("socket", 0)
	for _, payload := range []string{
		envelope(t, `App\Events\OrderShipped`, map[string]any{"order": map[string]any{"id": "first"}}, socket), // toOthers()
		envelope(t, `App\Events\OrderShipped`, map[string]any{"order": map[string]any{"id": "second"}}, "1.2"),
		envelope(t, "order.paid", map[string]any{"total": "12"}, ""),
		envelope(t, `Illuminate\Notifications\Events\BroadcastNotificationCreated`, map[string]any{"text": "news"}, ""),
		"no envelope", `{"a":1}`,
	} {
		redis.CLI("PUBLISH", "orders", payload)
	}
	for kind, want := range map[string][]string{
		"shipped": {"second"}, "paid": {"12"}, "notification": {"news"}, "plain": {"no envelope", `{"a":1}`},
		"all": {"OrderShipped", ".order.paid", `.Illuminate\Notifications\Events\BroadcastNotificationCreated`, ".message", ".message"},
	} {
		if got := echo.awaitAll(kind, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}

	say("whisper")
	if got := echo.await("whisper", 0); got != "Ann" {
		t.Errorf("whispered %q", got)
	}
	say("forget")
	echo.await("done", 1)
	redis.CLI("PUBLISH", "orders", envelope(t, "order.paid", map[string]any{"total": "13"}, ""))
	redis.CLI("PUBLISH", "orders", "the last one")
	if got := echo.await("plain", 2); got != "the last one" {
		t.Errorf("received %q", got)
	}
	say("leave")
	say("disconnect")
	if got := echo.await("status", 2); got != "disconnected" {
		t.Errorf("the connection is %q", got)
	}
	for _, event := range echo.since(0) {
		if event.Kind == "own whisper" || event.Kind == "paid" && event.text() == "13" {
			t.Errorf("received %s %s", event.Kind, event.Value)
		}
	}
}

// The snippet of the README works.
func TestEchoReadme(t *testing.T) {
	t.Parallel()
	relay, redis := startProcess(t, map[string]string{"SIDECAST_CHANNELS": "private-*", "SIDECAST_PUBLIC_CHANNELS": "private-*"})
	dir := npmInstall(t, "ws@8", "laravel-echo@2")
	snippet := strings.Replace(readmeSnippet(t, "js", "SidecastConnector"), "{ broadcaster: SidecastConnector }",
		"{ broadcaster: SidecastConnector, WebSocket, url: '"+relay.URL()+"' }", 1)
	echo := node(t, dir, "import { WebSocket } from 'ws'\n"+emit+snippet+"\necho.private('orders').subscribed(() => emit('subscribed'))")
	echo.await("subscribed", 0)
	redis.CLI("PUBLISH", "private-orders", envelope(t, `App\Events\OrderShipped`, map[string]any{"order": map[string]any{"id": "seven"}}, ""))
	if got := echo.await("output", 0); got != "seven" {
		t.Errorf("the page has received %q", got)
	}
}

// The script for pages without modules contains all that Echo needs, also for
// channels that an application of another origin signs.
func TestEchoScript(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "X-Tenant")
		switch channel := r.FormValue("channel_name"); {
		case channel == "private-orders" && r.Header.Get("X-Tenant") == "7":
			auth := access.NewApp("", pusherKey, pusherSecret).SignChannel(r.FormValue("socket_id"), channel, "")
			_ = json.NewEncoder(w).Encode(map[string]string{"auth": auth})
		case r.Method == http.MethodPost:
			http.Error(w, "forbidden", http.StatusForbidden)
		}
	}))
	defer app.Close()
	relay, redis := startProcess(t, map[string]string{
		"SIDECAST_CHANNELS": "orders,private-*", "SIDECAST_PUBLIC_CHANNELS": "orders",
		"SIDECAST_PUSHER_KEY": pusherKey, "SIDECAST_PUSHER_SECRET": pusherSecret,
	})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate("http://"+relay.Addr()+"/livez"))
	browser.Eval[chromedp.Void](ctx, t, echoScript(t)+`
		window.seen = []
		window.ready = new Set()
		void document.head.append(Object.assign(document.createElement("script"), { src: "/sidecast-echo.js", onload() {
			const auth = { headers: { "X-Tenant": "7" } }
			const echo = new Echo.default({ broadcaster: SidecastConnector, authEndpoint: "`+app.URL+`", auth })
			for (const channel of [echo.channel("orders"), echo.private("orders")]) {
				channel.listen(".paid", (data) => seen.push(data)).subscribed(() => ready.add(channel.name))
			}
			echo.private("secret").error(({ status }) => (window.refused = status))
		} }))`)
	browser.Await(ctx, t, `ready.size === 2 && refused === 403`)
	redis.CLI("PUBLISH", "orders", envelope(t, "paid", 12, ""))
	browser.Await(ctx, t, `seen[0] === 12`)
	redis.CLI("PUBLISH", "private-orders", envelope(t, "paid", 13, ""))
	browser.Await(ctx, t, `seen[1] === 13`)
}

// With Laravel's redis driver, which does not sign, the relay signs for the
// connector what the application allows.
func TestEchoWithRedisDriver(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch cookie, _ := r.Cookie("session"); {
		case cookie == nil || cookie.Value != "7":
			http.Error(w, "forbidden", http.StatusForbidden)
		case r.FormValue("channel_name") == "presence-room":
			_, _ = io.WriteString(w, `{"channel_data":{"user_id":7,"user_info":{"name":"Ann"}}}`)
		default:
			_, _ = io.WriteString(w, "true")
		}
	}))
	defer app.Close()
	relay, redis := startProcess(t, map[string]string{
		"SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_PRESENCE_CHANNELS": "presence-*",
		"SIDECAST_PUSHER_KEY": pusherKey, "SIDECAST_PUSHER_SECRET": pusherSecret,
		"SIDECAST_BROADCAST_AUTH_URL": app.URL + "/broadcasting/auth",
	})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate("http://"+relay.Addr()+"/livez"))
	browser.Eval[chromedp.Void](ctx, t, echoScript(t)+`
		document.cookie = "session=7"
		window.seen = []
		void document.head.append(Object.assign(document.createElement("script"), { src: "/sidecast-echo.js", onload() {
			window.echo = new Echo.default({ broadcaster: SidecastConnector })
			echo.private("orders").listen(".paid", (data) => seen.push(data)).subscribed(() => (window.ready = true))
			echo.join("room").here((members) => (window.members = members))
		} }))`)
	browser.Await(ctx, t, `ready && JSON.stringify(members) === '[{"id":"7","name":"Ann"}]'`)
	redis.CLI("PUBLISH", "private-orders", envelope(t, "paid", 12, ""))
	browser.Await(ctx, t, `seen[0] === 12`)
	browser.Eval[chromedp.Void](ctx, t, `
		document.cookie = "session=8"
		void echo.private("others").error(({ status }) => (window.refused = status))`)
	browser.Await(ctx, t, `refused === 403`)
}

// echoScript returns the script of Laravel Echo for pages without modules.
func echoScript(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(npmInstall(t, "laravel-echo@2"), "node_modules/laravel-echo/dist/echo.iife.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}
