package web_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidecast/relay/access"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

var echoKills = flag.Int("echo-kills", 3, "how many relays TestEchoKills kills")

// echoPackages are those of client/test/echo.page.mjs.
var echoPackages = []string{
	"laravel-echo@2", "@laravel/echo-react@2", "@laravel/echo-vue@2", "pusher-js@8", "react@19", "react-dom@19", "vue@3", "esbuild@0",
}

const pusherKey, pusherSecret = "app-key", "a secret of the application"

// An echoWorld has two relays on one Redis, and an application that serves a
// page with Laravel Echo and signs its subscriptions. The page connects to one
// of the relays, through a proxy.
type echoWorld struct {
	t         *testing.T // the subtest, if there is one
	whole     *testing.T // ends the processes
	redis     *redistest.Server
	relays    [2]*relaytest.Process
	connected int // the relay to which the proxy connects the page
	proxy     *faultproxy.Proxy
	app       *httptest.Server

	down   atomic.Bool  // the application answers 503
	signed atomic.Int64 // how many subscriptions the application has signed
}

func newEchoWorld(t *testing.T) *echoWorld {
	t.Helper()
	w := &echoWorld{t: t, whole: t}
	dir := npmInstall(t, echoPackages...)
	copyInto(t, dir, "echo.page.mjs")
	run(t, dir, "npx", "--no-install", "esbuild", "echo.page.mjs", "--bundle", "--outfile=page.js", "--log-level=warning",
		`--define:process.env.NODE_ENV="production"`)
	script, err := os.ReadFile(filepath.Join(dir, "page.js"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><meta charset=utf-8><meta name=csrf-token content=token><body><script src=/page.js></script>`)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(script)
	})
	mux.HandleFunc("GET /favicon.ico", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /broadcasting/auth", w.authorize)
	w.app = httptest.NewServer(mux)
	t.Cleanup(w.app.Close)
	w.redis = redistest.Start(t)
	for i := range w.relays {
		w.relays[i] = w.startRelay()
	}
	w.proxy = faultproxy.Start(t, w.relays[0].Addr())
	return w
}

func (w *echoWorld) startRelay() *relaytest.Process {
	w.t.Helper()
	relay := relaytest.Start(w.whole, map[string]string{
		"SIDECAST_REDIS_URL": w.redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
		"SIDECAST_PRESENCE_CHANNELS": "presence-*", "SIDECAST_ALLOWED_ORIGINS": w.app.URL,
		"SIDECAST_PUSHER_KEY": pusherKey, "SIDECAST_PUSHER_SECRET": pusherSecret,
	})
	relay.AwaitReady()
	return relay
}

// authorize signs subscriptions like Laravel, for the user in a cookie.
func (w *echoWorld) authorize(rw http.ResponseWriter, r *http.Request) {
	socket, channel := r.FormValue("socket_id"), r.FormValue("channel_name")
	user, err := r.Cookie("session")
	switch {
	case w.down.Load():
		http.Error(rw, "down for maintenance", http.StatusServiceUnavailable)
		return
	case err != nil || channel == "private-secret" || r.Header.Get("X-CSRF-TOKEN") != "token":
		http.Error(rw, "forbidden", http.StatusForbidden)
		return
	}
	id, name, _ := strings.Cut(user.Value, "-")
	answer := make(map[string]string)
	if strings.HasPrefix(channel, "presence-") {
		answer["channel_data"] = fmt.Sprintf(`{"user_id":%s,"user_info":{"id":%s,"name":%q}}`, id, id, name)
	}
	answer["auth"] = access.NewApp("", pusherKey, pusherSecret).SignChannel(socket, channel, answer["channel_data"])
	w.signed.Add(1)
	_ = json.NewEncoder(rw).Encode(answer)
}

// An echoTab is a page with one of the libraries.
type echoTab struct {
	w       *echoWorld
	ctx     context.Context
	library string
}

// open opens the page in a tab, for a user like 1-Ann, and starts a library.
func (w *echoWorld) open(ctx context.Context, user, library string) *echoTab {
	w.t.Helper()
	tab := &echoTab{w, ctx, library}
	browser.Do(ctx, w.t, chromedp.Navigate(w.app.URL))
	tab.start(user)
	return tab
}

// start starts the tab's library as a user.
func (tab *echoTab) start(user string) {
	tab.w.t.Helper()
	browser.Eval[chromedp.Void](tab.ctx, tab.w.t, fmt.Sprintf(`document.cookie = "session=%s"; start(%q, { url: "ws://%s/ws" })`,
		user, tab.library, tab.w.proxy.Addr))
}

// values returns the values of all events of a kind.
func (tab *echoTab) values(kind string) []any {
	tab.w.t.Helper()
	return browser.Eval[[]any](tab.ctx, tab.w.t, tab.of(kind))
}

func (tab *echoTab) of(kind string) string {
	return fmt.Sprintf(`seen.%s.filter(({ kind }) => kind === %q).map(({ value }) => value)`, tab.library, kind)
}

// await waits until the values of a kind are the given ones, in JSON.
func (tab *echoTab) await(kind, want string) {
	tab.w.t.Helper()
	browser.Await(tab.ctx, tab.w.t, fmt.Sprintf(`JSON.stringify(%s) === %q`, tab.of(kind), want))
}

// awaitMembers waits until the room has these members.
func (tab *echoTab) awaitMembers(want ...string) {
	tab.w.t.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		tab.w.t.Fatal(err)
	}
	browser.Await(tab.ctx, tab.w.t, fmt.Sprintf(`JSON.stringify(seen.%s.reduce((members, { kind, value }) =>
		kind === "here" ? value : kind === "joining" ? [...members, ...value].sort() :
		kind === "leaving" ? members.filter((each) => !value.includes(each)) : members, [])) === %q`, tab.library, text))
}

func (tab *echoTab) eval(expression string) string {
	tab.w.t.Helper()
	return browser.Eval[string](tab.ctx, tab.w.t, "String(echoes."+tab.library+"."+expression+")")
}

// publish publishes an event with a number, as Laravel's redis driver does.
func (w *echoWorld) publish(channel, event string, n int, socket string) {
	w.t.Helper()
	w.redis.CLI("PUBLISH", channel, envelope(w.t, event, map[string]any{"n": n}, socket))
}

// switchRelay lets the page's next connection be one to the other relay. It
// returns the number of the present one.
func (w *echoWorld) switchRelay() (former int) {
	former = w.connected
	w.connected = 1 - w.connected
	w.proxy.Retarget(w.relays[w.connected].Addr())
	return former
}

const (
	roomChannel, chatChannel, userOfEcho = "presence-room", "private-chat", "private-App.Models.User.7"

	notification = `Illuminate\Notifications\Events\BroadcastNotificationCreated`
)

// The newest libraries of Laravel work with the connector in Chromium.
func TestEchoInChromium(t *testing.T) {
	t.Parallel()
	w := newEchoWorld(t)
	first := browser.Start(t)
	for _, library := range []string{"echo", "react", "vue"} {
		t.Run(library, func(t *testing.T) {
			second, closeTab := chromedp.NewContext(first, chromedp.WithNewBrowserContext()) // another user has other cookies
			defer closeTab()
			if err := chromedp.Do(second); err != nil { // without a deadline: it would end the tab
				t.Fatalf("opening a tab: %v", err)
			}
			testEchoPage(w.in(t), first, second, library)
		})
	}
}

// in returns the world of a subtest.
func (w *echoWorld) in(t *testing.T) *echoWorld {
	w.t = t
	return w
}

func testEchoPage(w *echoWorld, first, second context.Context, library string) {
	t := w.t
	ann := w.open(first, "1-Ann", library)
	ann.awaitMembers("1 Ann")
	bob := w.open(second, "2-Bob", library)
	for _, tab := range []*echoTab{ann, bob} {
		tab.awaitMembers("1 Ann", "2 Bob")
		tab.awaitSubscribed()
	}

	// Events, and those for others.
	socket := ann.eval("socketId()")
	w.publish("orders", `App\Events\OrderShipped`, 1, "")
	w.publish("orders", `App\Events\OrderShipped`, 2, socket)
	w.publish(chatChannel, `App\Events\MessageSent`, 1, "")
	w.publish(chatChannel, `App\Events\MessageSent`, 2, socket)
	w.publish(roomChannel, "room.changed", 1, "")
	w.redis.CLI("PUBLISH", userOfEcho, envelope(t, notification, map[string]any{"text": "news"}, ""))
	bob.await("orders", "[1,2]")
	bob.await("chat", "[1,2]")
	ann.eval(`private("chat").whisper("typing", { name: "Ann" })`)
	bob.await("whisper", `["Ann"]`)
	for _, tab := range []*echoTab{ann, bob} {
		tab.await("room", "[1]")
		tab.await("notification", `["news"]`)
	}

	// The relay is restarted while the application is down. The page is connected
	// to the other one before the application is back.
	w.down.Store(true)
	w.proxy.Refuse(true)
	restarted := w.switchRelay()
	w.relays[restarted].Signal(syscall.SIGTERM)
	w.relays[restarted].Wait()
	for _, tab := range []*echoTab{ann, bob} {
		browser.Await(tab.ctx, t, `echoes.`+library+`.connectionStatus() !== "connected"`)
	}
	w.publish(chatChannel, `App\Events\MessageSent`, 3, socket)
	w.publish(chatChannel, `App\Events\MessageSent`, 4, "")
	w.publish("orders", `App\Events\OrderShipped`, 3, "")
	w.proxy.Refuse(false)
	ann.await("orders", "[1,3]")
	bob.await("orders", "[1,2,3]")
	browser.Await(ann.ctx, t, `seen.`+library+`.some(({ kind }) => kind === "error")`)
	w.down.Store(false)
	ann.await("chat", "[1,4]")
	bob.await("chat", "[1,2,3,4]")
	ann.await("whisper", "[]")
	if now := ann.eval("socketId()"); now == socket {
		t.Errorf("the socket id is still %s", now)
	}
	for _, tab := range []*echoTab{ann, bob} {
		tab.awaitMembers("1 Ann", "2 Bob")
		tab.await("gap", "[]")
	}
	w.relays[restarted] = w.startRelay()

	// A channel to which the application gives no right.
	ann.eval(`private("secret").error(({ status }) => seen.` + library + `.push({ kind: "refused", value: status }))`)
	ann.await("refused", "[403]")
	bob.eval(`leave("room")`)
	ann.awaitMembers("1 Ann")
	bob.eval(`disconnect()`)
	browser.Await(bob.ctx, t, `echoes.`+library+`.connectionStatus() === "disconnected"`)
	ann.eval(`disconnect()`)
}

// awaitSubscribed waits until the tab is subscribed to its four channels.
func (tab *echoTab) awaitSubscribed() {
	tab.w.t.Helper()
	browser.Await(tab.ctx, tab.w.t, fmt.Sprintf(`new Set(%s).size === 4`, tab.of("subscribed")))
}

// The page of TestEchoInChromium loses nothing while relays are killed. The long
// form:
//
//	go test ./relay/web -run TestEchoKills -v -timeout 1h -echo-kills 50
func TestEchoKills(t *testing.T) {
	t.Parallel()
	w := newEchoWorld(t)
	ctx := browser.Start(t)
	tabs := []*echoTab{w.open(ctx, "1-Ann", "echo")}
	for _, library := range []string{"react", "vue"} {
		tab := &echoTab{w, ctx, library}
		tab.start("1-Ann")
		tabs = append(tabs, tab)
	}
	for _, tab := range tabs {
		tab.awaitSubscribed()
	}
	publisher := w.startPublisher()
	for n := range *echoKills {
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond) // traffic
		killed := w.switchRelay()
		w.relays[killed].Kill()
		w.relays[killed] = w.startRelay()
		// From now on, clients have positions that the new relay knows.
		w.awaitNumber(tabs, publisher.newest())
		if n%10 == 9 {
			t.Logf("%d kills, %d numbers on each channel", n+1, publisher.newest())
		}
	}
	last := publisher.stop()
	w.awaitNumber(tabs, last)
	var want []any
	for n := range last {
		want = append(want, float64(n+1))
	}
	for _, tab := range tabs {
		for _, kind := range echoKinds {
			if got := tab.values(kind); !slices.Equal(got, want) {
				t.Errorf("%s: %d events of %s, want the numbers to %d: %v", tab.library, len(got), kind, last, got)
			}
		}
		if gaps := tab.values("gap"); len(gaps) > 0 {
			t.Errorf("%s: gaps: %v", tab.library, gaps)
		}
	}
	t.Logf("%d relays killed, %d numbers on %d channels, %d libraries: nothing lost; %d subscriptions signed",
		*echoKills, last, len(echoKinds), len(tabs), w.signed.Load())
}

// echoKinds are the kinds of the events that have numbers, one on each channel.
var echoKinds = []string{"orders", "chat", "room", "notification"}

// awaitNumber waits until all tabs have received a number on all channels.
func (w *echoWorld) awaitNumber(tabs []*echoTab, n int) {
	w.t.Helper()
	for _, tab := range tabs {
		for _, kind := range echoKinds {
			browser.Await(tab.ctx, w.t, fmt.Sprintf(`%s.at(-1) >= %d`, tab.of(kind), n))
		}
	}
}

// A numberPublisher publishes the numbers from 1 on each channel.
type numberPublisher struct {
	number  atomic.Int64 // the last that was published on all channels
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (w *echoWorld) startPublisher() *numberPublisher {
	client := relaytest.NewRedis(w.redis.Addr, time.Second)
	ctx, cancel := context.WithCancel(w.t.Context())
	p := &numberPublisher{cancel: cancel}
	events := map[string]string{
		"orders": `App\Events\OrderShipped`, chatChannel: `App\Events\MessageSent`, roomChannel: "room.changed", userOfEcho: notification,
	}
	p.running.Go(func() {
		defer client.Close()
		for n := int64(1); ctx.Err() == nil; n++ {
			for channel, event := range events {
				if err := client.Publish(context.WithoutCancel(ctx), channel, envelope(w.t, event, map[string]any{"n": n}, "")).Err(); err != nil {
					w.t.Error(err)
					return
				}
			}
			p.number.Store(n)
			time.Sleep(5 * time.Millisecond)
		}
	})
	w.t.Cleanup(func() { p.stop() })
	return p
}

func (p *numberPublisher) newest() int { return int(p.number.Load()) }

// stop ends the publisher, and returns the last number.
func (p *numberPublisher) stop() int {
	p.cancel()
	p.running.Wait()
	return p.newest()
}
