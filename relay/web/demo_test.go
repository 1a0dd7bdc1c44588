package web_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/web"
)

// JavaScript expressions that read the state of the page.
const (
	live     = `document.getElementById("status")?.dataset.state === "live"`
	waiting  = `document.getElementById("status").dataset.state === "waiting"`
	stopped  = `document.getElementById("status").dataset.state === "stopped"`
	status   = `document.getElementById("status-text").textContent + document.getElementById("countdown").textContent`
	messages = `[...document.querySelectorAll("#messages li:not(.note) span")].map((e) => e.textContent)`
	// clickRetry clicks the button if the page is waiting, so that a test need
	// not wait as long.
	clickRetry = `document.getElementById("retry").hidden || document.getElementById("retry").click()`
	notes      = `[...document.querySelectorAll("#messages .note span")].map((e) => e.textContent)`
)

// open loads the page and waits until it is connected.
func open(t *testing.T, relay *testRelay) context.Context {
	t.Helper()
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(relay.url))
	browser.Await(ctx, t, live)
	return ctx
}

// wantMessages waits for that many messages and compares them.
func wantMessages(ctx context.Context, t *testing.T, want ...string) {
	t.Helper()
	browser.Await(ctx, t, fmt.Sprintf("%s.length >= %d", messages, len(want)))
	if got := browser.Eval[[]string](ctx, t, messages); !slices.Equal(got, want) {
		t.Errorf("the page shows %q, want %q", got, want)
	}
}

func wantNoProblems(ctx context.Context, t *testing.T) {
	t.Helper()
	if problems := browser.Problems(ctx); len(problems) > 0 {
		t.Errorf("the page has problems: %q", problems)
	}
}

// The page subscribes to chat, sends the typed text and shows it when the relay
// delivers it.
func TestSend(t *testing.T) {
	relay := startRelay(t, web.Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	browser.Do(ctx, t,
		chromedp.SendKeys(chromedp.ID("text"), "typed"+kb.Enter),
		chromedp.SendKeys(chromedp.ID("text"), "and clicked"),
		chromedp.Click(chromedp.CSS("#send button")))
	wantMessages(ctx, t, "typed", "and clicked")
	if left := browser.Eval[string](ctx, t, `document.getElementById("text").value`); left != "" {
		t.Errorf("the input still contains %q", left)
	}
	wantNoProblems(ctx, t)
}

// A message is always shown as text, even if it contains markup.
func TestHostileMessages(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	browser.Eval[chromedp.Void](ctx, t, `alert = () => { globalThis.pwned = true }`)
	before := browser.Eval[int](ctx, t, `document.querySelectorAll("img, script, a, iframe, svg").length`)
	hostile := []string{
		"<img src=x onerror=alert(1)>",
		"<script>alert(1)</script>",
		"</span></li></ol><iframe srcdoc='<script>parent.alert(1)</script>'>",
		"<svg onload=alert(1)>",
		"javascript:alert(1)",
		"&lt;b&gt; &amp; {{.}} ${alert(1)}",
		"two\nlines and a \x00",
	}
	for _, text := range hostile {
		relay.send("chat", text)
	}
	wantMessages(ctx, t, hostile...)
	if after := browser.Eval[int](ctx, t, `document.querySelectorAll("img, script, a, iframe, svg").length`); after != before {
		t.Errorf("messages created %d elements", after-before)
	}
	if browser.Eval[bool](ctx, t, `globalThis.pwned === true`) {
		t.Error("a message ran as a script")
	}
	wantNoProblems(ctx, t)
}

// The channel name from the page's URL is shown as text, too.
func TestHostileLink(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := browser.Start(t)
	const name = `<img src=x onerror=alert(1)>'"$(id)`
	browser.Do(ctx, t, chromedp.Navigate(relay.url+`?channel=%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E%27%22%24%28id%29`))
	browser.Await(ctx, t, live)
	relay.send(name, "received")
	wantMessages(ctx, t, "received")
	if value := browser.Eval[string](ctx, t, `document.getElementById("channel").value`); value != name {
		t.Errorf("the channel is %q", value)
	}
	wantNoProblems(ctx, t)
}

// The browser enforces the content security policy. The tests above depend on
// it.
func TestPolicyIsEnforced(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	for name, attack := range map[string]string{
		"markup":          `document.body.innerHTML = "<img src=x>"`,
		"inline script":   `document.body.append(Object.assign(document.createElement("script"), {text: "pwned = true"}))`,
		"inline style":    `document.body.setAttribute("style", "color: red"), void document.body.insertAdjacentElement("beforeend", Object.assign(document.createElement("style"), {textContent: "p {}"}))`,
		"foreign image":   `document.body.append(Object.assign(new Image, {src: "http://127.0.0.2:9/x.png"}))`,
		"foreign socket":  `void new WebSocket("ws://127.0.0.2:9/ws")`,
		"foreign request": `void fetch("http://127.0.0.2:9/").catch(() => {})`,
	} {
		t.Run(name, func(t *testing.T) {
			browser.Do(ctx, t, chromedp.Navigate(relay.url))
			browser.Await(ctx, t, live)
			browser.Forget(ctx)
			// Run the attack from a timer, as a script of the page: the policy
			// does not apply to the debugger.
			browser.Eval[chromedp.Void](ctx, t, `setTimeout(() => { `+attack+` })`)
			browser.AwaitProblem(ctx, t, "Content Security Policy", "Trusted")
			if browser.Eval[bool](ctx, t, `globalThis.pwned === true`) {
				t.Error("an inline script ran")
			}
		})
	}
}

// The list shows a limited number of messages, and a limited part of each.
func TestBounds(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	relay.send("chat", strings.Repeat("long ", 100_000))
	browser.Await(ctx, t, messages+`.length === 1`)
	if got := browser.Eval[string](ctx, t, messages+`[0]`); len(got) > 4100 || !strings.HasSuffix(got, "… (500,000 characters in total)") {
		t.Errorf("the page shows %d bytes of a long message: %.50s…%s", len(got), got, got[max(0, len(got)-50):])
	}
	relay.send("chat", "\xff\x00\x1f"+strings.Repeat("\x00", 1000))
	browser.Await(ctx, t, messages+`.length === 2`)
	if got := browser.Eval[string](ctx, t, messages+`[1]`); !strings.HasPrefix(got, "Binary message, 1,003 bytes: ff 00 1f 00") || len(got) > 300 {
		t.Errorf("the page shows a binary message as %q", got)
	}
	for i := range 1200 {
		relay.send("chat", fmt.Sprint("message ", i))
	}
	browser.Await(ctx, t, messages+`.at(-1) === "message 1199"`)
	got := browser.Eval[[]string](ctx, t, messages)
	if len(got) != 500 || got[0] != "message 700" {
		t.Errorf("the page shows %d messages, the first %q; want 500 starting with message 700", len(got), got[0])
	}
	if count := browser.Eval[string](ctx, t, `document.getElementById("count").textContent`); !strings.HasPrefix(count, "1,202 messages") {
		t.Errorf("the count of messages is %q", count)
	}
	if !browser.Eval[bool](ctx, t, `(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight < 2)(document.getElementById("log"))`) {
		t.Error("the newest message is not visible")
	}
	wantNoProblems(ctx, t)
}

// After a lost connection the page reconnects and notes that messages may be
// missing.
func TestReconnect(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	reconnects := 0
	for _, code := range []protocol.CloseCode{0, 1001, 1012, 1013, 4408, 4410} {
		relay.send("chat", fmt.Sprint("before ", code))
		browser.Await(ctx, t, fmt.Sprintf(`%s.at(-1) === "before %d"`, messages, code))
		relay.disconnect(code)
		reconnects++
		browser.Await(ctx, t, fmt.Sprintf(`(%s, %s && %s.length === %d)`, clickRetry, live, notes, reconnects))
		if note := browser.Eval[string](ctx, t, notes+`.at(-1)`); note != "Messages may be missing here: the relay no longer has them." {
			t.Errorf("after %d the page notes %q", code, note)
		}
	}
	relay.send("chat", "after")
	browser.Await(ctx, t, messages+`.at(-1) === "after"`)
}

// If the relay still has the messages that the page missed, the page shows them
// and says how many there were. It does not note that it missed nothing.
func TestResume(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	relay.send("chat", "before")
	wantMessages(ctx, t, "before")
	want := []string{"before"}
	for _, missed := range []int{1, 0, 40} {
		relay.setDown(true)
		relay.cut()
		browser.Await(ctx, t, waiting)
		for i := range missed {
			want = append(want, fmt.Sprint(missed, " missed ", i)+strings.Repeat(" long", 1000)) // more than the relay sends at once
			relay.send("chat", want[len(want)-1])
		}
		relay.setDown(false)
		browser.Await(ctx, t, fmt.Sprintf(`(%s, %s && %s.length >= %d)`, clickRetry, live, messages, len(want)))
	}
	browser.Await(ctx, t, notes+`.length === 2`)
	relay.send("chat", "after")
	want = append(want, "after")
	browser.Await(ctx, t, messages+`.at(-1) === "after"`)
	for i, text := range want {
		want[i] = text[:min(len(text), 4000)]
	}
	got := browser.Eval[[]string](ctx, t, messages+`.map((text) => text.slice(0, 4000))`)
	if !slices.Equal(got, want) {
		t.Errorf("the page shows %d messages, want %d: %.30q", len(got), len(want), got)
	}
	if got := browser.Eval[[]string](ctx, t, notes); !slices.Equal(got, []string{"1 message caught up.", "40 messages caught up."}) {
		t.Errorf("the page notes %q", got)
	}
}

// The page begins with the newest messages of the channel.
func TestNewest(t *testing.T) {
	relay := startRelay(t, web.Page{})
	var want []string
	for i := range 25 {
		text := fmt.Sprint("message ", i)
		relay.send("chat", text)
		want = append(want, text)
	}
	ctx := open(t, relay)
	relay.send("chat", "new")
	wantMessages(ctx, t, append(want[5:], "new")...)
}

// The page shows that Redis is unavailable, and notes the gap when it is back.
func TestRedisOffline(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	relay.setRedis(false)
	browser.Await(ctx, t, status+` === "Redis is unavailable: no messages arrive"`)
	if !browser.Eval[bool](ctx, t, `document.querySelector("#send button").disabled`) {
		t.Error("the send button is enabled")
	}
	relay.setRedis(true)
	browser.Await(ctx, t, live+` && `+notes+`.length === 1`)
	if note := browser.Eval[string](ctx, t, notes+`[0]`); note != "Messages may be missing here: the relay lost its connection to Redis." {
		t.Errorf("the page notes %q", note)
	}
	wantNoProblems(ctx, t)
}

// While the relay is unavailable, the page shows it and retries, immediately if
// the reader clicks the button.
func TestOffline(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	relay.setDown(true)
	relay.disconnect(0)
	browser.Await(ctx, t, waiting)
	for len(relay.attempts()) < 4 { // so that the delay is long enough to observe
		browser.Await(ctx, t, waiting)
	}
	browser.Await(ctx, t, waiting)
	if text := browser.Eval[string](ctx, t, status); !strings.HasPrefix(text, "Disconnected, retrying in ") {
		t.Errorf("the status is %q", text)
	}
	if !browser.Eval[bool](ctx, t, `document.querySelector("#send button").disabled`) {
		t.Error("the send button is enabled")
	}
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("text"), "kept"+kb.Enter))
	if text := browser.Eval[string](ctx, t, `document.getElementById("text").value`); text != "kept" {
		t.Errorf("the unsent text is now %q", text)
	}
	relay.setDown(false)
	browser.Do(ctx, t, chromedp.Click(chromedp.ID("retry")))
	browser.Await(ctx, t, live+` && `+notes+`.length === 1`)
}

// If the relay rejects the page, the page says why. After a permanent rejection
// it does not reconnect until the reader clicks the button.
func TestRejected(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := browser.Start(t)
	for _, test := range []struct {
		code  protocol.CloseCode
		state string
		want  string
	}{
		{4403, stopped, "You have no access to this channel (4403)"},
		{4409, stopped, "The application closed this connection (4409)"},
		// The user may log in in another tab.
		{4401, waiting, "You must log in to use this relay (4401), retrying"},
		{1008, waiting, "The relay rejected the request: it is not permitted, or there were too many (1008), retrying"},
	} {
		relay.reject(test.code)
		browser.Do(ctx, t, chromedp.Navigate(relay.url))
		browser.Await(ctx, t, test.state+` && `+status+fmt.Sprintf(`.startsWith(%q)`, test.want))
		before := len(relay.attempts())
		relay.reject(0)
		browser.Eval[chromedp.Void](ctx, t, clickRetry)
		browser.Await(ctx, t, live)
		if after := len(relay.attempts()); test.state == stopped && after != before+1 {
			t.Errorf("after %d there were %d more attempts, want 1", test.code, after-before)
		}
		if got := browser.Eval[[]string](ctx, t, notes); len(got) != 0 {
			t.Errorf("the page notes %q, but it cannot have missed messages", got)
		}
	}
	wantNoProblems(ctx, t)
}

// If the relay refuses the channel, the page says why, and asks again over a new
// connection when the reader clicks the button.
func TestRefusedChannel(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(relay.url+"?channel=sidecast:mark"))
	browser.Await(ctx, t, stopped+` && `+status+` === "The relay rejected the name of this channel (bad_channel)"`)
	before := len(relay.attempts())
	browser.Do(ctx, t, chromedp.Click(chromedp.ID("retry")))
	browser.Await(ctx, t, stopped)
	for len(relay.attempts()) == before {
		browser.Await(ctx, t, stopped)
	}
	exampleFor(ctx, t, "chat", "php")
	browser.Await(ctx, t, live)
	wantNoProblems(ctx, t)
}

// After a temporary rejection the page retries. It was never connected, so it
// notes no missing messages.
func TestTryLater(t *testing.T) {
	relay := startRelay(t, web.Page{})
	relay.reject(1013)
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(relay.url))
	browser.Await(ctx, t, waiting)
	relay.reject(0)
	browser.Await(ctx, t, live)
	if got := browser.Eval[[]string](ctx, t, notes); len(got) != 0 {
		t.Errorf("the page notes %q", got)
	}
}

// The page notes that a message may not have been sent.
func TestNotSent(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	browser.Eval[chromedp.Void](ctx, t, `document.getElementById("text").value = "x".repeat(17 << 10)`)
	browser.Do(ctx, t, chromedp.Click(chromedp.CSS("#send button")))
	browser.Await(ctx, t, live+` && `+notes+`.length === 1`)
	if note := browser.Eval[string](ctx, t, notes+`[0]`); !strings.HasPrefix(note, "Your message may not have been sent: ") {
		t.Errorf("the page notes %q", note)
	}
}

// Changing the channel clears the messages and changes the URL, which survives
// a reload.
func TestChannel(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	relay.send("chat", "to chat")
	wantMessages(ctx, t, "to chat")
	const name = "größe 42&x=1"
	browser.Eval[chromedp.Void](ctx, t, `document.getElementById("channel").select()`)
	browser.Do(ctx, t, chromedp.KeyEvent(name+kb.Enter))
	browser.Await(ctx, t, live+` && document.title.startsWith("größe")`)
	relay.send("chat", "to chat again")
	relay.send(name, "to the other")
	wantMessages(ctx, t, "to the other")

	browser.Do(ctx, t, chromedp.Reload())
	browser.Await(ctx, t, live)
	if value := browser.Eval[string](ctx, t, `document.getElementById("channel").value`); value != name {
		t.Errorf("after a reload the channel is %q", value)
	}
	relay.send(name, "still there")
	wantMessages(ctx, t, "to the other", "still there")
}

// Invalid channel names are rejected by the page itself.
func TestBadChannel(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	before := len(relay.attempts())
	for name, fault := range map[string]string{
		"":                       "Enter a channel name, for example chat.",
		strings.Repeat("ö", 101): "A channel name can have at most 200 bytes.",
		"a\u202eb":               "This name contains invisible characters.",
		"a\ufeffb":               "This name contains invisible characters.",
		"a\u007fb":               "This name contains invisible characters.",
		"a" + "\u2028" + "line":  "This name contains invisible characters.",
	} {
		exampleFor(ctx, t, name, "php")
		if got := browser.Eval[string](ctx, t, `document.getElementById("fault").textContent`); got != fault {
			t.Errorf("for %q the page shows %q, want %q", name, got, fault)
		}
	}
	if !browser.Eval[bool](ctx, t, live) || len(relay.attempts()) != before {
		t.Error("an invalid name affected the current subscription")
	}
	wantNoProblems(ctx, t)
}

// After the reader leaves the page and returns, it is connected again.
func TestBackAndForth(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	browser.Do(ctx, t, chromedp.Navigate("about:blank"))
	// The browser may restore the page from its back/forward cache, without a
	// load event.
	browser.Eval[int](ctx, t, "setTimeout(() => history.back())") // from a timer, so that the page answers first
	browser.Await(ctx, t, live)
	relay.send("chat", "again")
	browser.Await(ctx, t, messages+`.at(-1) === "again"`)
}
