package console_test

import (
	"context"
	"maps"
	"net/http"
	neturl "net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// startRelay runs a relay with a real Redis, and returns the URL of its admin
// listener and a function that publishes to Redis.
func startRelay(t *testing.T, settings map[string]string) (relay *relaytest.Process, url string, publish func(channel, payload string)) {
	t.Helper()
	redis := redistest.Start(t)
	all := map[string]string{"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "open:*"}
	maps.Copy(all, settings)
	relay = relaytest.Start(t, all)
	relay.AwaitReady()
	client := relaytest.NewRedis(redis.Addr, relaytest.Patience)
	t.Cleanup(func() { _ = client.Close() })
	return relay, "http://" + relay.AdminAddr(), func(channel, payload string) {
		t.Helper()
		if err := client.Publish(t.Context(), channel, payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func wantNoProblems(ctx context.Context, t *testing.T) {
	t.Helper()
	if problems := browser.Problems(ctx); len(problems) > 0 {
		t.Errorf("the page has problems: %q", problems)
	}
}

// rows returns an expression for the texts in a log.
func rows(id string) string {
	return `[...document.querySelectorAll("#` + id + ` span")].map((e) => e.textContent)`
}

// An operator sees what a relay does, and with the token watches a channel and
// publishes to it, with the keyboard alone.
func TestRelay(t *testing.T) {
	relay, url, publish := startRelay(t, map[string]string{"SIDECAST_ADMIN_TOKEN": adminToken})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, live+` && document.getElementById("redis-text").textContent === "Redis connected"`)

	// On loopback the token is needed for payloads only.
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("watch-channel"), "private"+kb.Enter))
	browser.Await(ctx, t, `document.getElementById("watch-answer").textContent.includes("SIDECAST_ADMIN_TOKEN") && !document.getElementById("access").hidden`)
	browser.Forget(ctx) // the browser reports the status
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("token"), adminToken+kb.Enter),
		chromedp.SendKeys(chromedp.ID("watch-channel"), kb.Enter))
	browser.Await(ctx, t, `document.getElementById("watch-answer").textContent === "messages on private from now on"`)
	publish("private", "from Redis")
	browser.Await(ctx, t, rows("watch-log")+`.includes("from Redis")`)
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("publish-channel"), "private"),
		chromedp.SendKeys(chromedp.ID("publish-text"), "from the console"+kb.Tab+kb.Enter))
	browser.Await(ctx, t, `document.getElementById("publish-answer").textContent.startsWith("Redis has accepted the message on private")`)
	browser.Await(ctx, t, rows("watch-log")+`.join() === "from Redis,from the console"`)
	browser.Await(ctx, t, `document.getElementById("causes-rows").textContent.includes("connection closed") || document.querySelectorAll("#plots dd")[0].textContent === "1"`)

	// The settings are those that the relay uses, without secrets.
	settings := browser.Eval[string](ctx, t, `document.getElementById("settings-rows").textContent`)
	if !strings.Contains(settings, "SIDECAST_PUBLIC_CHANNELSopen:*") || strings.Contains(settings, adminToken) {
		t.Errorf("the settings are %s", settings)
	}

	// Stop ends the session at the relay.
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("watch-channel"), kb.Enter))
	browser.Await(ctx, t, `document.getElementById("watch-answer").textContent === "stopped"`)
	browser.Await(ctx, t, `document.querySelectorAll("#plots dd")[0].textContent === "0"`)
	if log := relay.Log(); strings.Contains(log, adminToken) || strings.Contains(log, "from the console") {
		t.Error("the log has the token or a payload")
	}
	wantNoProblems(ctx, t)
}

// What Redis carries is shown as text, even if it is markup, and a channel's name
// too.
func TestHostileMessages(t *testing.T) {
	_, url, publish := startRelay(t, map[string]string{"SIDECAST_ADMIN_TOKEN": adminToken})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, live)
	browser.Eval[chromedp.Void](ctx, t, `alert = () => { globalThis.pwned = true }; sessionStorage.setItem("sidecast-admin-token", "`+adminToken+`")`)
	const count = `document.querySelectorAll("img, script, a, iframe, svg").length`
	before := browser.Eval[int](ctx, t, count)
	const name = `<img src=x onerror=alert(1)>'"$(id)`
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("watch-channel"), name+kb.Enter))
	browser.Await(ctx, t, `document.getElementById("watch-answer").textContent.startsWith("messages on <img")`)
	hostile := []string{
		"<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "</span></p><iframe srcdoc='<script>parent.alert(1)</script>'>",
		"<svg onload=alert(1)>", "javascript:alert(1)", "&lt;b&gt; ${alert(1)}", "two\nlines\r\n\r\ndata: {\"type\":\"message\"}", "event: close",
	}
	for _, text := range hostile {
		publish(name, text)
	}
	publish(name, "\xff\x00")
	browser.Await(ctx, t, rows("watch-log")+`.length === 9`)
	got := browser.Eval[[]string](ctx, t, rows("watch-log"))
	for i, want := range append(hostile, "binary, in base64: /wA=") {
		if got[i] != want {
			t.Errorf("row %d is %q, want %q", i, got[i], want)
		}
	}
	if after := browser.Eval[int](ctx, t, count); after != before || browser.Eval[bool](ctx, t, `globalThis.pwned === true`) {
		t.Errorf("messages made %d elements, or ran as a script", after-before)
	}
	wantNoProblems(ctx, t)
}

// The console shows the busiest channels with their subscribers, and why clients
// were refused, answers why a message did not arrive, and traces a channel.
func TestRecords(t *testing.T) {
	relay, url, publish := startRelay(t, nil)
	client, err := (&relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.V1}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fleet := relaytest.Fleet{client}
	t.Cleanup(fleet.Drop)
	if err := fleet.Subscribe(t.Context(), "open:1"); err != nil {
		t.Fatal(err)
	}
	const hostile = "<img src=x onerror=alert(1)>"
	response, err := http.Get("http://" + relay.Addr() + "/sse?channel=secret" + neturl.QueryEscape(hostile))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()

	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, live)
	publish("open:1", "heard")
	for range 5 {
		publish("quiet"+hostile, "unheard")
	}
	text := func(id string) string {
		return `[...document.querySelectorAll("#` + id + ` tr")].map((row) => [...row.cells].map((cell) => cell.textContent))`
	}
	browser.Await(ctx, t, text("busiest-rows")+`.map((row) => row[0]).join("|") === `+quoted("quiet"+hostile, "open:1"))
	if got := browser.Eval[[][]string](ctx, t, text("busiest-rows")); got[0][3] != "0" || got[1][3] != "1" {
		t.Errorf("the busiest channels are %q", got)
	}
	browser.Await(ctx, t, text("incidents-rows")+`.some((row) => row[1] === "client refused" && row[3] === "secret`+hostile+`")`)

	// A question covers two seconds on each side of its time, which can be over
	// on a loaded machine before the message arrives.
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("why-channel"), "open:1"))
	var answers []string
	isSession := func(text string) bool { return strings.HasPrefix(text, "session ") }
	for tries := 0; tries < 10 && !slices.ContainsFunc(answers, isSession); tries++ {
		publish("open:1", "asked about")
		browser.Eval[chromedp.Void](ctx, t, `document.getElementById("why-answer").textContent = "";
			document.getElementById("why-at").value = new Date().toISOString(); document.querySelector("#why button").click()`)
		browser.Await(ctx, t, `/^\d+ answers?$/.test(document.getElementById("why-answer").textContent)`)
		answers = browser.Eval[[]string](ctx, t, rows("why-log"))
	}
	if !slices.ContainsFunc(answers, isSession) {
		t.Errorf("the answers name no session: %q", answers)
	}

	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("trace-channel"), "open:1"+kb.Enter))
	browser.Await(ctx, t, rows("trace-log")+`[0] === "the relay follows the channel from now on"`)
	publish("open:1", "traced")
	browser.Await(ctx, t, rows("trace-log")+`.some((text) => text.startsWith("message of 6 B to 1 client"))`)
	wantNoProblems(ctx, t)
}
