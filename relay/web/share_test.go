package web_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

var shareLong = flag.Bool("share-long", false, "run TestShare with 12 tabs, 30 channels and 50 changes of the leader")

// sharePage connects with share, and records what each channel receives. A tab
// that has the connection has a socket.
const sharePage = `<!doctype html><p>page<script>
async function start(base, channels, options) {
	const { connect } = await import(base + "/sidecast.mjs")
	window.sockets = new Set()
	window.record = {}
	window.notices = []
	addEventListener("error", ({ message }) => notices.push(message))
	addEventListener("unhandledrejection", ({ reason }) => notices.push(reason))
	window.states = []
	window.joined = new Set()
	class Socket extends WebSocket {
		constructor(url, protocols) {
			super(url, protocols)
			sockets.add(this)
			this.addEventListener("close", () => sockets.delete(this))
		}
		close() {
			sockets.delete(this)
			super.close()
		}
	}
	window.relay = connect(base.replace("http", "ws") + "/ws", { share: "user-42", WebSocket: Socket, ...options })
	relay.on("state", (event) => {
		states.push(event)
		if (event.state === "closed") window.closedAt = Date.now()
	})
	for (const name of channels) subscribe(name)
}
function subscribe(name, options) {
	record[name] = []
	const channel = relay.channel(name, { load: () => joined.add(name), ...options })
	channel.on("message", (m) => record[name].push(Number(m.data)))
	channel.on("gap", ({ reason }) => notices.push("gap " + reason + " " + name))
	channel.on("error", (error) => notices.push("error " + error + " " + name))
}
</script>`

// A shareWorld is a relay, a Redis and tabs of one browser.
type shareWorld struct {
	t        *testing.T
	relay    *relaytest.Process
	redis    *redistest.Server
	origin   string
	browser  context.Context
	channels []string
	durable  string // prefix of the durable channels
	release  func() // answers the requests of /stuck

	sent map[string]int // the newest number on each channel; of send, and when it is done of the test
}

func newShareWorld(t *testing.T, channels int, env map[string]string) *shareWorld {
	t.Helper()
	stuck := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			<-stuck
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, sharePage)
	}))
	t.Cleanup(origin.Close)
	more := map[string]string{"SIDECAST_ALLOWED_ORIGINS": origin.URL}
	maps.Copy(more, env)
	w := &shareWorld{
		t: t, origin: origin.URL, browser: browser.Start(t), durable: "order:", sent: make(map[string]int),
		release: sync.OnceFunc(func() { close(stuck) }),
	}
	t.Cleanup(w.release)
	w.relay, w.redis = startProcess(t, more)
	for i := range channels {
		w.channels = append(w.channels, "chat:"+strconv.Itoa(i))
	}
	return w
}

// A shareTab is a tab with a client.
type shareTab struct {
	w        *shareWorld
	ctx      context.Context
	close    context.CancelFunc
	fromZero bool // it has been subscribed before the first message
}

// open opens a tab that subscribes to all channels, and waits until it has.
func (w *shareWorld) open(options string) *shareTab {
	w.t.Helper()
	tab := w.navigate()
	tab.start(options)
	return tab
}

// navigate opens a tab that does not connect yet.
func (w *shareWorld) navigate() *shareTab {
	w.t.Helper()
	ctx, done := chromedp.NewContext(w.browser)
	w.t.Cleanup(done)
	if err := chromedp.Do(ctx); err != nil { // without a deadline: it would end the tab
		w.t.Fatalf("opening a tab: %v", err)
	}
	tab := &shareTab{w: w, ctx: ctx, close: done}
	browser.Do(ctx, w.t, chromedp.Navigate(w.origin))
	return tab
}

func (tab *shareTab) start(options string) {
	tab.w.t.Helper()
	channels, err := json.Marshal(tab.w.channels)
	if err != nil {
		tab.w.t.Fatal(err)
	}
	tab.connect(string(channels), options)
	browser.Await(tab.ctx, tab.w.t, fmt.Sprintf(`joined.size === %d`, len(tab.w.channels)))
}

// connect connects, and subscribes to a list of channels.
func (tab *shareTab) connect(channels, options string) {
	tab.w.t.Helper()
	browser.Eval[chromedp.Void](tab.ctx, tab.w.t, fmt.Sprintf(`void start("http://%s", %s, {%s}).then(() => (window.started = true))`,
		tab.w.relay.Addr(), channels, options))
	browser.Await(tab.ctx, tab.w.t, `started`)
}

// isLeader reports whether the tab has the connection.
func (tab *shareTab) isLeader() bool {
	return browser.Eval[bool](tab.ctx, tab.w.t, `sockets.size > 0`)
}

// leader returns the index of the tab that has the connection.
func (w *shareWorld) leader(tabs []*shareTab) int {
	w.t.Helper()
	for range 300 {
		for i, tab := range tabs {
			if tab.isLeader() {
				return i
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatal("no tab has the connection")
	return 0
}

// connections returns how many clients the relay counts.
func (w *shareWorld) connections() (n int) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.relay.AdminAddr()+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "sidecast_connections{") {
			continue
		}
		value, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndex(line, " "):]))
		if err != nil {
			w.t.Fatal(err)
		}
		n += value
	}
	return n
}

// awaitConnections waits until the relay counts n clients.
func (w *shareWorld) awaitConnections(n int) {
	w.t.Helper()
	got := -1
	for range 300 {
		if got = w.connections(); got == n {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatalf("the relay counts %d connections, want %d", got, n)
}

// publish publishes consecutive numbers on all channels in turn. The function
// that it returns publishes a last one on each, and ends it.
func (w *shareWorld) publish(every time.Duration) (stop func()) {
	client := relaytest.NewRedis(w.redis.Addr, time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			w.send(client, w.channels[i%len(w.channels)])
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		for _, channel := range w.channels {
			w.send(client, channel)
		}
	})
	stop = func() { cancel(); running.Wait(); _ = client.Close() }
	w.t.Cleanup(stop)
	return stop
}

// send publishes the next number on a channel. Only one goroutine at a time
// uses it.
func (w *shareWorld) send(client redis.UniversalClient, channel string) {
	w.sent[channel]++
	ctx := context.Background()
	payload := strconv.Itoa(w.sent[channel])
	if strings.HasPrefix(channel, w.durable) {
		entry := redis.XAddArgs{Stream: channel, Values: map[string]any{"data": payload}}
		if err := client.XAdd(ctx, &entry).Err(); err != nil {
			w.t.Errorf("adding an entry: %v", err)
		}
		payload = ""
	}
	if err := client.Publish(ctx, channel, payload).Err(); err != nil {
		w.t.Errorf("publishing: %v", err)
	}
}

// check checks that the tab has received consecutive numbers, and to the end if
// it is still open.
func (tab *shareTab) check(toTheEnd bool) (messages int) {
	t := tab.w.t
	t.Helper()
	if toTheEnd {
		for _, channel := range tab.w.channels {
			browser.Await(tab.ctx, t, fmt.Sprintf(`record[%q].at(-1) === %d`, channel, tab.w.sent[channel]))
		}
	}
	record := browser.Eval[map[string][]int](tab.ctx, t, `record`)
	for channel, numbers := range record {
		messages += len(numbers)
		for i, n := range numbers {
			if i == 0 && tab.fromZero && n != 1 {
				t.Errorf("%s: the first number is %d, want 1", channel, n)
			}
			if i > 0 && n != numbers[i-1]+1 {
				t.Errorf("%s: %d follows %d", channel, n, numbers[i-1])
			}
		}
	}
	if notices := browser.Eval[string](tab.ctx, t, `notices.join()`); notices != "" {
		t.Errorf("the tab has received %s", notices)
	}
	return messages
}

func (tab *shareTab) setFrozen(frozen bool) {
	tab.w.t.Helper()
	state := page.SetWebLifecycleStateStateActive
	if frozen {
		state = page.SetWebLifecycleStateStateFrozen
	}
	browser.Do(tab.ctx, tab.w.t, command(page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state}))
}

// All tabs use one connection. However their leaders end, each tab receives
// every message once, in order.
func TestShare(t *testing.T) {
	count, channels, changes := 4, 6, 5
	if *shareLong {
		count, channels, changes = 12, 30, 50
	}
	w := newShareWorld(t, channels, nil)
	var tabs []*shareTab
	for range count {
		tab := w.open("")
		tab.fromZero = true
		tabs = append(tabs, tab)
	}
	w.awaitConnections(1)
	stop := w.publish(5 * time.Millisecond)
	messages := 0
	for range changes {
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond) // traffic
		i := w.leader(tabs)
		leader := tabs[i]
		switch rand.IntN(3) {
		case 0: // the tab is closed
			messages += leader.check(false)
			leader.close()
			tabs[i] = w.open("")
		case 1: // the browser freezes the tab, and wakes it later
			leader.setFrozen(true)
			w.leader(append(tabs[:i:i], tabs[i+1:]...))
			leader.setFrozen(false)
		case 2: // the tab leaves, and joins again
			browser.Eval[chromedp.Void](leader.ctx, t, `relay.close()`)
			messages += leader.check(false)
			leader.start("")
			leader.fromZero = false
		}
	}
	stop()
	for _, tab := range tabs {
		messages += tab.check(true)
	}
	w.awaitConnections(1)
	t.Logf("%d tabs, %d channels, %d changes of the leader: %d messages published, %d received", count, channels, changes, w.total(), messages)
}

// total returns the number of messages.
func (w *shareWorld) total() (n int) {
	for _, sent := range w.sent {
		n += sent
	}
	return n
}

// awaitClosed waits until the tab's client is closed with a code, and returns
// when that happened.
func (tab *shareTab) awaitClosed(code int) time.Time {
	tab.w.t.Helper()
	browser.Await(tab.ctx, tab.w.t, `relay.state === "closed"`)
	if got := browser.Eval[int](tab.ctx, tab.w.t, `states.at(-1).code`); got != code {
		tab.w.t.Errorf("the tab was closed with code %d, want %d", got, code)
	}
	return time.UnixMilli(browser.Eval[int64](tab.ctx, tab.w.t, `closedAt`))
}

// A logout in one tab ends all of them. The snippet of the README is used.
func TestShareLogout(t *testing.T) {
	w := newShareWorld(t, 1, nil)
	tabs := []*shareTab{w.open(""), w.open(""), w.open("")}
	w.awaitConnections(1)
	browser.Eval[chromedp.Void](tabs[2].ctx, t, `document.body.innerHTML = "<button id=logout>"`)
	browser.Eval[chromedp.Void](tabs[2].ctx, t, `{ const connect = () => relay; window.listen = () => {`+
		strings.Replace(readmeSnippet(t, "js", "share: 'user-42'"), "const relay =", "const shared =", 1)+`} }; listen()`)
	start := time.Now()
	browser.Eval[chromedp.Void](tabs[2].ctx, t, `document.querySelector("#logout").click()`)
	for _, tab := range tabs {
		t.Logf("closed after %v", tab.awaitClosed(4401).Sub(start))
	}
	w.awaitConnections(0)
}

// When the last tab leaves, the connection ends.
func TestShareLastTabLeaves(t *testing.T) {
	w := newShareWorld(t, 1, nil)
	tabs := []*shareTab{w.open(""), w.open("")}
	browser.Eval[chromedp.Void](tabs[0].ctx, t, `relay.close()`)
	tabs[0].awaitClosed(1000)
	browser.Await(tabs[1].ctx, t, `sockets.size === 1 && relay.state === "open"`)
	w.awaitConnections(1)
	browser.Eval[chromedp.Void](tabs[1].ctx, t, `relay.close()`)
	w.awaitConnections(0)
}

// Tabs of two users do not share, also when the cookie changes while a tab is
// open: then its next connection is another user's, and ends.
func TestShareUsers(t *testing.T) {
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"user":%q}`, cookie.Value)
	}))
	defer login.Close()
	w := newShareWorld(t, 2, map[string]string{"SIDECAST_AUTH_URL": login.URL, "SIDECAST_AUTH_CACHE": "0s"})
	stop := w.publish(20 * time.Millisecond)
	setCookie := func(tab *shareTab, user string) {
		browser.Eval[chromedp.Void](tab.ctx, t, `void (document.cookie = "session=`+user+`")`)
	}
	login42 := w.navigate()
	setCookie(login42, "42")
	tabs := []*shareTab{w.open(""), w.open("")}
	w.awaitConnections(1)

	setCookie(login42, "43")
	other := w.open(`share: "user-43"`)
	w.awaitConnections(2)
	for _, tab := range tabs {
		browser.Await(tab.ctx, t, `relay.state === "open"`)
	}

	leader := tabs[w.leader(tabs)]
	browser.Eval[chromedp.Void](leader.ctx, t, `for (const socket of sockets) WebSocket.prototype.close.call(socket)`)
	for _, tab := range tabs {
		tab.awaitClosed(4401)
	}
	w.awaitConnections(1)
	stop()
	other.check(true)
	for _, tab := range tabs {
		tab.check(false)
	}
}

// Durable channels, and those to which the relay subscribes users when they
// connect, continue under each leader.
func TestShareOwnChannels(t *testing.T) {
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"user":"42"}`)
	}))
	defer login.Close()
	for name, channels := range map[string]map[string]string{
		"live":    {"SIDECAST_CHANNELS": "chat:*,user:*"},
		"durable": {"SIDECAST_DURABLE_CHANNELS": "order:*,user:*"},
	} {
		t.Run(name, func(t *testing.T) {
			channels["SIDECAST_AUTH_URL"] = login.URL
			w := newShareWorld(t, 1, channels)
			w.channels = append(w.channels, "user:42", "order:7")
			if name == "durable" {
				w.durable = "" // of chat:0, too
				w.channels = w.channels[1:]
			}
			tabs := []*shareTab{w.navigate(), w.navigate(), w.navigate()}
			for _, tab := range tabs {
				browser.Eval[chromedp.Void](tab.ctx, t, `void (document.cookie = "session=42")`)
				tab.start("")
				tab.fromZero = true
			}
			stop := w.publish(10 * time.Millisecond)
			for i := range 2 {
				browser.Await(tabs[i].ctx, t, `Object.values(record).every((numbers) => numbers.length > 5)`)
				leader := i + w.leader(tabs[i:])
				tabs[i], tabs[leader] = tabs[leader], tabs[i]
				browser.Eval[chromedp.Void](tabs[i].ctx, t, `relay.close()`)
			}
			w.leader(tabs[2:])
			stop()
			tabs[2].check(true)
			for _, tab := range tabs {
				tab.check(false)
			}
			w.awaitConnections(1)
		})
	}
}

// A leader that stops without a notice is replaced within two heartbeats. When
// it continues, it follows.
func TestShareStuckLeader(t *testing.T) {
	w := newShareWorld(t, 3, map[string]string{"SIDECAST_PING_INTERVAL": "3s", "SIDECAST_PONG_TIMEOUT": "2900ms"})
	tabs := []*shareTab{w.open(""), w.open("")}
	for _, tab := range tabs {
		tab.fromZero = true
	}
	stop := w.publish(10 * time.Millisecond)
	i := w.leader(tabs)
	leader, follower := tabs[i], tabs[1-i]
	browser.Await(follower.ctx, t, `Object.values(record).every((numbers) => numbers.length > 3)`)
	start := time.Now()
	// A synchronous request stops the page like a breakpoint: no event is handled.
	browser.Eval[chromedp.Void](leader.ctx, t, `void setTimeout(() => {
		const request = new XMLHttpRequest()
		request.open("GET", "/stuck", false)
		request.send()
	})`)
	browser.Await(follower.ctx, t, `sockets.size === 1 && relay.state === "open"`)
	t.Logf("the leader was replaced after %v, with a heartbeat every 3 s", time.Since(start))
	w.release()
	w.awaitConnections(1)
	stop()
	for _, tab := range tabs {
		tab.check(true)
	}
	if leader.isLeader() {
		t.Error("the leader has kept its connection")
	}
}

// A tab that asks for the newest messages has a connection of its own until the
// first message that arrives on both.
func TestShareNewestMessages(t *testing.T) {
	w := newShareWorld(t, 2, nil)
	first := w.open("")
	first.fromZero = true
	send := func(n int) {
		client := relaytest.NewRedis(w.redis.Addr, time.Second)
		defer func() { _ = client.Close() }()
		for range n {
			for _, channel := range w.channels {
				w.send(client, channel)
			}
		}
	}
	send(5)
	browser.Await(first.ctx, t, `Object.values(record).every((numbers) => numbers.length === 5)`)
	second := w.navigate()
	second.connect("[]", "")
	for _, channel := range w.channels {
		browser.Eval[chromedp.Void](second.ctx, t, fmt.Sprintf(`subscribe(%q, { last: 3 })`, channel))
	}
	for _, channel := range w.channels {
		browser.Await(second.ctx, t, fmt.Sprintf(`record[%q].join() === "3,4,5"`, channel))
	}
	// The other tab has received the newest message, so it is common to both.
	w.awaitConnections(1)

	third := w.navigate()
	third.connect("[]", "")
	stop := w.publish(5 * time.Millisecond)
	for _, channel := range w.channels {
		browser.Eval[chromedp.Void](third.ctx, t, fmt.Sprintf(`subscribe(%q, { last: 3 })`, channel))
	}
	browser.Await(third.ctx, t, `Object.values(record).every((numbers) => numbers.length > 50)`)
	w.awaitConnections(1)
	stop()
	for _, tab := range []*shareTab{first, second, third} {
		tab.check(true)
	}
}

// A message that a tab has published with echo: false reaches the other tabs.
func TestShareEcho(t *testing.T) {
	w := newShareWorld(t, 1, nil)
	tabs := []*shareTab{w.open(""), w.open("")}
	for i, tab := range tabs {
		browser.Eval[chromedp.Void](tab.ctx, t, fmt.Sprintf(`void relay.channel("chat:0").publish("%d", { echo: false })`, i))
		browser.Await(tabs[1-i].ctx, t, `record["chat:0"].length === 1`)
	}
	for i, tab := range tabs {
		want := strconv.Itoa(1 - i)
		if got := browser.Eval[string](tab.ctx, t, `record["chat:0"].join()`); got != want {
			t.Errorf("tab %d has received %q, want %q", i, got, want)
		}
	}
}
