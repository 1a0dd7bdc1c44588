package web_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
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
	relay.on("state", (event) => states.push(event))
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

	sent map[string]int // the newest number on each channel; of send, and when it is done of the test
}

func newShareWorld(t *testing.T, channels int, env map[string]string) *shareWorld {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, sharePage)
	}))
	t.Cleanup(origin.Close)
	more := map[string]string{"SIDECAST_ALLOWED_ORIGINS": origin.URL}
	for name, value := range env {
		more[name] = value
	}
	w := &shareWorld{t: t, origin: origin.URL, browser: browser.Start(t), sent: make(map[string]int)}
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
	ctx, done := chromedp.NewContext(w.browser)
	w.t.Cleanup(done)
	if err := chromedp.Do(ctx); err != nil { // without a deadline: it would end the tab
		w.t.Fatalf("opening a tab: %v", err)
	}
	tab := &shareTab{w: w, ctx: ctx, close: done}
	browser.Do(ctx, w.t, chromedp.Navigate(w.origin))
	tab.start(options)
	return tab
}

func (tab *shareTab) start(options string) {
	tab.w.t.Helper()
	channels, err := json.Marshal(tab.w.channels)
	if err != nil {
		tab.w.t.Fatal(err)
	}
	browser.Eval[chromedp.Void](tab.ctx, tab.w.t, fmt.Sprintf(`void start("http://%s", %s, {%s})`, tab.w.relay.Addr(), channels, options))
	browser.Await(tab.ctx, tab.w.t, fmt.Sprintf(`joined.size === %d`, len(tab.w.channels)))
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
	if err := client.Publish(context.Background(), channel, w.sent[channel]).Err(); err != nil {
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
