package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/relaytest/browser"
)

// What the page shows, as JavaScript.
const (
	live     = `document.getElementById("status")?.dataset.state === "live"`
	waiting  = `document.getElementById("status").dataset.state === "waiting"`
	stopped  = `document.getElementById("status").dataset.state === "stopped"`
	status   = `document.getElementById("status-text").textContent + document.getElementById("countdown").textContent`
	messages = `[...document.querySelectorAll("#messages li:not(.note) span")].map((e) => e.textContent)`
	notes    = `[...document.querySelectorAll("#messages .note span")].map((e) => e.textContent)`
)

// open shows the page and waits until it listens.
func open(t *testing.T, relay *fakeRelay) context.Context {
	t.Helper()
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(relay.url))
	browser.Await(ctx, t, live)
	return ctx
}

// shows waits until the list of messages is exactly this.
func shows(ctx context.Context, t *testing.T, want ...string) {
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

// The page listens to chat, sends what is typed, and shows it when it comes back.
func TestSend(t *testing.T) {
	relay := startRelay(t, Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	browser.Do(ctx, t,
		chromedp.SendKeys(chromedp.ID("text"), "typed"+kb.Enter),
		chromedp.SendKeys(chromedp.ID("text"), "and clicked"),
		chromedp.Click(chromedp.CSS("#send button")))
	shows(ctx, t, "typed", "and clicked")
	if left := browser.Eval[string](ctx, t, `document.getElementById("text").value`); left != "" {
		t.Errorf("the input still holds %q", left)
	}
	if got, want := relay.attempts(), []string{"channel=chat&gap=close"}; !slices.Equal(got, want) {
		t.Errorf("the page asked for %q, want %q", got, want)
	}
	wantNoProblems(ctx, t)
}

// Whatever a message holds, it is text.
func TestHostileMessages(t *testing.T) {
	relay := startRelay(t, Page{})
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
		relay.say("chat", text)
	}
	shows(ctx, t, hostile...)
	if after := browser.Eval[int](ctx, t, `document.querySelectorAll("img, script, a, iframe, svg").length`); after != before {
		t.Errorf("messages have become %d elements", after-before)
	}
	if browser.Eval[bool](ctx, t, `globalThis.pwned === true`) {
		t.Error("a message ran as a script")
	}
	wantNoProblems(ctx, t)
}

// Nor does what a link puts into the page's address.
func TestHostileLink(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := browser.Start(t)
	const name = `<img src=x onerror=alert(1)>'"$(id)`
	browser.Do(ctx, t, chromedp.Navigate(relay.url+`?channel=%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E%27%22%24%28id%29`))
	browser.Await(ctx, t, live)
	relay.say(name, "heard")
	shows(ctx, t, "heard")
	if value := browser.Eval[string](ctx, t, `document.getElementById("channel").value`); value != name {
		t.Errorf("the channel is %q", value)
	}
	wantNoProblems(ctx, t)
}

// If the policy did not hold, the tests above would show less than they seem to.
func TestPolicyHolds(t *testing.T) {
	relay := startRelay(t, Page{})
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
			// From a timer, as the page's own script: policies do not apply to the debugger.
			browser.Eval[chromedp.Void](ctx, t, `setTimeout(() => { `+attack+` })`)
			browser.AwaitProblem(ctx, t, "Content Security Policy", "Trusted")
			if browser.Eval[bool](ctx, t, `globalThis.pwned === true`) {
				t.Error("an inline script ran")
			}
		})
	}
}

// The list is bounded, in messages and in what it shows of each.
func TestBounds(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	relay.say("chat", strings.Repeat("long ", 100_000))
	browser.Await(ctx, t, messages+`.length === 1`)
	if got := browser.Eval[string](ctx, t, messages+`[0]`); len(got) > 4100 || !strings.HasSuffix(got, "… (500,000 letters in all)") {
		t.Errorf("of a long message the page shows %d letters: %.50s…%s", len(got), got, got[max(0, len(got)-50):])
	}
	relay.publish("chat", opBinary, append([]byte{0xff, 0x00, 0x1f}, make([]byte, 1000)...))
	browser.Await(ctx, t, messages+`.length === 2`)
	if got := browser.Eval[string](ctx, t, messages+`[1]`); !strings.HasPrefix(got, "1,003 bytes that are not text: ff 00 1f 00") || len(got) > 300 {
		t.Errorf("of bytes the page shows %q", got)
	}
	for i := range 1200 {
		relay.say("chat", fmt.Sprint("message ", i))
	}
	browser.Await(ctx, t, messages+`.at(-1) === "message 1199"`)
	got := browser.Eval[[]string](ctx, t, messages)
	if len(got) != 500 || got[0] != "message 700" {
		t.Errorf("the page shows %d messages, the first %q; want 500 from message 700 on", len(got), got[0])
	}
	if count := browser.Eval[string](ctx, t, `document.getElementById("count").textContent`); !strings.HasPrefix(count, "1,202 messages") {
		t.Errorf("the page counts %q", count)
	}
	if !browser.Eval[bool](ctx, t, `(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight < 2)(document.getElementById("log"))`) {
		t.Error("the newest message is out of sight")
	}
	wantNoProblems(ctx, t)
}

// However the connection ends, the page comes back and says that something may be missing.
func TestReconnect(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	wanted := 0
	for _, code := range []uint16{0, 1001, 1012, 1013, 4408, 4410} {
		relay.say("chat", fmt.Sprint("before ", code))
		browser.Await(ctx, t, fmt.Sprintf(`%s.at(-1) === "before %d"`, messages, code))
		relay.disconnect(code)
		wanted++
		browser.Await(ctx, t, fmt.Sprintf(`%s && %s.length === %d`, live, notes, wanted))
		if note := browser.Eval[string](ctx, t, notes+`.at(-1)`); !strings.HasSuffix(note, "something may have been missed.") {
			t.Errorf("after %d the page says %q", code, note)
		}
	}
	relay.say("chat", "after")
	browser.Await(ctx, t, messages+`.at(-1) === "after"`)
}

// While nobody answers the page says so, keeps trying, and tries at once when told to.
func TestOffline(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	relay.setDown(true)
	relay.disconnect(0)
	browser.Await(ctx, t, waiting)
	for len(relay.attempts()) < 4 { // so that the next one is a while away
		browser.Await(ctx, t, waiting)
	}
	browser.Await(ctx, t, waiting)
	if text := browser.Eval[string](ctx, t, status); !strings.HasPrefix(text, "Offline, retrying in ") {
		t.Errorf("the page says %q", text)
	}
	if !browser.Eval[bool](ctx, t, `document.querySelector("#send button").disabled`) {
		t.Error("one can send")
	}
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("text"), "kept"+kb.Enter))
	if text := browser.Eval[string](ctx, t, `document.getElementById("text").value`); text != "kept" {
		t.Errorf("what could not be sent has become %q", text)
	}
	relay.setDown(false)
	browser.Do(ctx, t, chromedp.Click(chromedp.ID("retry")))
	browser.Await(ctx, t, live+` && `+notes+`.length === 1`)
}

// A refusal that will not pass ends the attempts, until a person wants another.
func TestRefused(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := browser.Start(t)
	for code, want := range map[uint16]string{
		4401: "This relay wants a login first (4401)",
		4403: "This channel is not open to you (4403)",
		4409: "The application has disconnected you (4409)",
		1008: "The relay did not allow that, or it was too fast (1008)",
	} {
		relay.refuse(code)
		browser.Do(ctx, t, chromedp.Navigate(relay.url))
		browser.Await(ctx, t, stopped)
		if got := browser.Eval[string](ctx, t, status); !strings.HasPrefix(got, want) {
			t.Errorf("on %d the page says %q, want %q", code, got, want)
		}
		before := len(relay.attempts())
		relay.refuse(0)
		browser.Do(ctx, t, chromedp.Click(chromedp.ID("retry")))
		browser.Await(ctx, t, live)
		if after := len(relay.attempts()); after != before+1 {
			t.Errorf("after %d there were %d more attempts, want the one that was asked for", code, after-before)
		}
		if got := browser.Eval[[]string](ctx, t, notes); len(got) != 0 {
			t.Errorf("the page notes %q, and could have missed nothing", got)
		}
	}
	wantNoProblems(ctx, t)
}

// A refusal that passes is tried again: the page never was live, so nothing is missing.
func TestTryLater(t *testing.T) {
	relay := startRelay(t, Page{})
	relay.refuse(1013)
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(relay.url))
	browser.Await(ctx, t, waiting)
	relay.refuse(0)
	browser.Await(ctx, t, live)
	if got := browser.Eval[[]string](ctx, t, notes); len(got) != 0 {
		t.Errorf("the page notes %q", got)
	}
}

// What a client sends too fast or too large is not lost without a word.
func TestNotSent(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	relay.disconnect(1009)
	browser.Await(ctx, t, live+` && `+notes+`.length === 2`)
	if note := browser.Eval[string](ctx, t, notes+`[0]`); note != "That message is too large. It may not have been sent." {
		t.Errorf("the page notes %q", note)
	}
}

// Another channel is another page, with an address of its own.
func TestChannel(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	relay.say("chat", "to chat")
	shows(ctx, t, "to chat")
	const name = "größe 42&x=1"
	browser.Eval[chromedp.Void](ctx, t, `document.getElementById("channel").select()`)
	browser.Do(ctx, t, chromedp.KeyEvent(name+kb.Enter))
	browser.Await(ctx, t, live+` && document.title.startsWith("größe")`)
	relay.say("chat", "to chat again")
	relay.say(name, "to the other")
	shows(ctx, t, "to the other")

	browser.Do(ctx, t, chromedp.Reload())
	browser.Await(ctx, t, live)
	if value := browser.Eval[string](ctx, t, `document.getElementById("channel").value`); value != name {
		t.Errorf("after a reload the channel is %q", value)
	}
	relay.say(name, "still there")
	shows(ctx, t, "still there")
}

// Names that no channel has are refused before the relay is asked.
func TestBadChannel(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	before := len(relay.attempts())
	for name, fault := range map[string]string{
		"":                       "A channel needs a name, like chat.",
		strings.Repeat("ö", 101): "A name has 200 bytes at most.",
		"a\u202eb":               "This name has letters that cannot be seen.",
		"a\ufeffb":               "This name has letters that cannot be seen.",
		"a\u007fb":               "This name has letters that cannot be seen.",
		"a" + "\u2028" + "line":  "This name has letters that cannot be seen.",
	} {
		copied(ctx, t, name, "php")
		if got := browser.Eval[string](ctx, t, `document.getElementById("fault").textContent`); got != fault {
			t.Errorf("on %q the page says %q, want %q", name, got, fault)
		}
	}
	if !browser.Eval[bool](ctx, t, live) || len(relay.attempts()) != before {
		t.Error("a bad name disturbed the channel before")
	}
	wantNoProblems(ctx, t)
}

// The page leaves no connection behind and comes back whole.
func TestBackAndForth(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	browser.Do(ctx, t, chromedp.Navigate("about:blank"))
	// The page may come from the cache, as it was left: nothing loads then.
	browser.Eval[int](ctx, t, "setTimeout(() => history.back())") // the page answers before it goes
	browser.Await(ctx, t, live)
	relay.say("chat", "again")
	browser.Await(ctx, t, messages+`.at(-1) === "again"`)
	wantNoProblems(ctx, t)
}
