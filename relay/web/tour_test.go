package web_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/npm"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/web"
)

// result is the text that a step of the tour shows.
func result(step string) string {
	return fmt.Sprintf(`document.querySelector("#step-%s .result").textContent`, step)
}

func isDone(step string) string {
	return fmt.Sprintf(`document.querySelector("#step-%s[data-done] h3 .hidden") !== null`, step)
}

// openTour starts a relay without settings, as `go run .` does, and opens its
// page.
func openTour(t *testing.T) (*relaytest.Process, context.Context) {
	t.Helper()
	process := relaytest.Start(t, nil)
	process.AwaitReady()
	return process, openPage(t, "http://"+process.Addr()+"/")
}

func openPage(t *testing.T, url string) context.Context {
	t.Helper()
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url))
	browser.Await(ctx, t, live)
	return ctx
}

func clickStep(ctx context.Context, t *testing.T, step string) {
	t.Helper()
	browser.Eval[chromedp.Void](ctx, t, fmt.Sprintf(`document.querySelector("#step-%s button").click()`, step))
}

// The whole tour, with the relay that `go run .` starts: each step does what it
// says, and says what has happened.
func TestTour(t *testing.T) {
	_, ctx := openTour(t)
	name := strings.TrimSuffix(strings.TrimPrefix(browser.Eval[string](ctx, t, result("connect")), "Connected as "), ".")
	if strings.Count(name, "-") != 2 {
		t.Fatalf("the page is connected as %q", name)
	}
	browser.Await(ctx, t, isDone("connect")+` && !(`+isDone("publish")+`)`)
	clickStep(ctx, t, "publish")
	browser.Await(ctx, t, isDone("publish")+` && /^The message arrived after \d+ ms\.$/.test(`+result("publish")+`)`)

	browser.Await(ctx, t, result("online")+fmt.Sprintf(` === "1 user online: %s (you)"`, name))
	second := openPage(t, browser.Eval[string](ctx, t, `document.querySelector("#step-tab a").href`))
	wantMessages(second, t, "hello") // the second tab begins with the newest messages
	browser.Await(ctx, t, isDone("tab")+` && `+result("tab")+`.endsWith(" is here, too.")`)
	browser.Await(ctx, t, result("online")+`.startsWith("2 users online: ")`)
	browser.Await(second, t, result("tab")+fmt.Sprintf(` === "%s is here, too."`, name))

	want := []string{"hello", "sent while the link was cut (1 of 3)", "sent while the link was cut (2 of 3)", "sent while the link was cut (3 of 3)"}
	clickStep(ctx, t, "cut")
	browser.Await(ctx, t, waiting)
	browser.Await(ctx, t, isDone("cut")+` && `+result("cut")+` === "3 messages caught up."`)
	wantMessages(ctx, t, want...)
	browser.Await(ctx, t, notes+`.join() === "3 messages caught up." && !(`+isDone("gap")+`)`)

	clickStep(ctx, t, "gap")
	browser.Await(ctx, t, isDone("gap")+` && `+result("gap")+`.startsWith("Gap (unrecovered): messages may be missing.")`)
	wantMessages(ctx, t, want...) // those of this step are lost
	wantMessages(second, t, append(want, want[1:]...)...)
	browser.Await(ctx, t, notes+`.at(-1) === "Messages may be missing here: the relay no longer has them."`)

	clickStep(ctx, t, "refused")
	browser.Await(ctx, t, isDone("refused"))
	const refused = "The relay answers “not a channel name, or a reserved one” (bad_channel). " +
		"Choose another name: those that begin with sidecast: or __ belong to the relay."
	if got := browser.Eval[string](ctx, t, result("refused")); got != refused {
		t.Errorf("the refusal is explained with %q", got)
	}
	browser.Await(ctx, t, live)
	wantNoProblems(second, t)
	browser.Eval[chromedp.Void](second, t, `import("./link.js").then(({ cut }) => cut())`)
	browser.Await(ctx, t, result("online")+fmt.Sprintf(` === "1 user online: %s (you)"`, name))
	wantNoProblems(ctx, t)
}

// The tour needs only a keyboard: each control is reached with Tab, in the order
// of the page, and works with Enter. A button keeps the focus while it works.
func TestTourByKeyboard(t *testing.T) {
	_, ctx := openTour(t)
	const focus = `(document.activeElement.closest("li")?.id ?? "") + " " + document.activeElement.textContent.trim()`
	browser.Do(ctx, t, chromedp.Focus(chromedp.CSS("#send button")))
	for _, want := range []string{
		"step-publish Publish “hello”", "step-tab Open a tab", "step-cut Cut the link", "step-gap Cut the link and forget",
		"step-refused Subscribe to sidecast:mark",
	} {
		browser.Do(ctx, t, chromedp.KeyEvent(kb.Tab))
		if got := browser.Eval[string](ctx, t, focus); got != want {
			t.Fatalf("the focus is on %q, want %q", got, want)
		}
		if strings.HasPrefix(want, "step-tab") {
			continue
		}
		step, _, _ := strings.Cut(strings.TrimPrefix(want, "step-"), " ")
		browser.Do(ctx, t, chromedp.KeyEvent(kb.Enter))
		browser.Await(ctx, t, isDone(step)+` && document.activeElement.ariaDisabled === "false"`)
		if got := browser.Eval[string](ctx, t, focus); got != want {
			t.Errorf("after %s the focus is on %q", step, got)
		}
	}
	wantNoProblems(ctx, t)
}

// A relay whose clients can log in, or that has a real Redis, invents no names:
// it knows its users by their logins. Nor does it for another host name.
func TestNoNames(t *testing.T) {
	server := redistest.Start(t)
	for _, tt := range []struct {
		comment, host string
		env           map[string]string
		status        int
	}{
		{"development mode", "", nil, http.StatusOK},
		{"another host name", "attacker.example", nil, http.StatusForbidden},
		{"with a login", "", map[string]string{"SIDECAST_JWT_SECRET": tokenSecret}, http.StatusNotFound},
		{"with signed channels", "", map[string]string{"SIDECAST_CHANNEL_SECRET": tokenSecret}, http.StatusNotFound},
		{"without a demo page", "", map[string]string{"SIDECAST_DEMO": "false"}, http.StatusNotFound},
		{"open to the network", "", map[string]string{"SIDECAST_LISTEN": "0.0.0.0:0"}, http.StatusNotFound},
		{"with a real Redis", "", map[string]string{
			"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_DEMO": "true",
		}, http.StatusNotFound},
	} {
		process := relaytest.Start(t, tt.env)
		_, port, err := net.SplitHostPort(process.Addr())
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/demo/name", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = cmp.Or(tt.host, request.Host)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.comment, answer.StatusCode, tt.status)
		}
	}
}

// After the relay has restarted, it does not accept the page's name any more:
// the page gets another one, and says that messages may be missing.
func TestNameAfterRestart(t *testing.T) {
	env := map[string]string{"SIDECAST_LISTEN": redistest.FreeAddr(t)}
	process := relaytest.Start(t, env)
	process.AwaitReady()
	ctx := openPage(t, "http://"+process.Addr()+"/")
	before := browser.Eval[string](ctx, t, result("connect"))
	process.Kill()
	browser.Await(ctx, t, waiting)
	relaytest.Start(t, env).AwaitReady()
	browser.Await(ctx, t, fmt.Sprintf(`(%s, %s && %s !== %q && %s.length === 1)`, clickRetry, live, result("connect"), before, notes))
}

// A page of a relay with a real Redis has the tour, too, without names. If it may
// not publish, it says so.
func TestTourWithRedis(t *testing.T) {
	process, redis := startProcess(t, map[string]string{"SIDECAST_DEMO": "true", "SIDECAST_PUBLISH_CHANNELS": ""})
	ctx := openPage(t, "http://"+process.Addr()+"/")
	if got := browser.Eval[string](ctx, t, result("connect")); got != "Connected." {
		t.Errorf("the page says %q", got)
	}
	for _, step := range []string{"publish", "cut"} {
		clickStep(ctx, t, step)
		browser.Await(ctx, t, result(step)+` === "This did not work: this is not open to you."`)
	}
	browser.Await(ctx, t, live+` && !(`+isDone("publish")+`)`)
	redis.CLI("PUBLISH", "chat", "from Redis")
	browser.Await(ctx, t, isDone("publish")+` && `+result("publish")+` === "A message arrived."`)
	if got := browser.Eval[string](ctx, t, result("online")); !strings.Contains(got, "SIDECAST_PRESENCE_CHANNELS") {
		t.Errorf("the page says %q", got)
	}
	exampleFor(ctx, t, "other", "php") // a channel that is not relayed
	const refused = "The relay answers “this is not open to you” (forbidden). SIDECAST_CHANNELS and SIDECAST_PUBLIC_CHANNELS have to match the name, " +
		"or a login or a signature has to grant it."
	browser.Await(ctx, t, stopped+` && `+notes+`.at(-1) === "`+refused+`"`)
}

// The names of users and the texts of errors are shown as text.
func TestHostileNames(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	const hostile = `<img src=x onerror=alert(1)>`
	browser.Eval[chromedp.Void](ctx, t, `alert = () => { globalThis.pwned = true }; import("./tour.js").then((tour) => {
		const names = ["me", "`+hostile+`", "two\nlines", ...Array.from({ length: 100 }, (_, i) => "user" + i)]
		tour.showMembers(Object.assign(new Map(names.map((name) => [name, {}])), { count: 103 }), "me")
		tour.done("refused", tour.explain({ code: "`+hostile+`", message: "`+hostile+`" }))
	})`)
	browser.Await(ctx, t, isDone("refused"))
	for step, want := range map[string]string{
		"refused": "The relay answers “" + hostile + "” (" + hostile + ").",
		"tab":     hostile + " is here, too.",
	} {
		if got := browser.Eval[string](ctx, t, result(step)); got != want {
			t.Errorf("step %s says %q, want %q", step, got, want)
		}
	}
	if got := browser.Eval[string](ctx, t, result("online")); !strings.HasPrefix(got, "103 users online: me (you), "+hostile+", ") || len(got) > 300 {
		t.Errorf("the page says %q", got)
	}
	if browser.Eval[bool](ctx, t, `globalThis.pwned === true || document.querySelector("#tour img") !== null`) {
		t.Error("a name became markup")
	}
	wantNoProblems(ctx, t)
}

// A checker of accessibility finds nothing on the page, in both color schemes,
// before and after the tour.
func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(npm.Install(t, "axe-core@4"), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	_, ctx := openTour(t)
	browser.Do(ctx, t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}) // for the checker only
		return err
	}), chromedp.Reload())
	for _, color := range []string{"light", "dark"} {
		browser.Do(ctx, t, colorScheme(color))
		browser.Await(ctx, t, live)
		browser.Eval[chromedp.Void](ctx, t, "void (() => {"+string(axe)+"})()")
		for _, step := range []string{"", "publish", "cut", "gap", "refused"} {
			if step != "" {
				clickStep(ctx, t, step)
				browser.Await(ctx, t, isDone(step)+` && document.querySelector("#step-`+step+` button").ariaDisabled === "false"`)
			}
			browser.Eval[chromedp.Void](ctx, t, `globalThis.found = undefined; void axe.run().then(({ violations }) => {
				found = violations.map((v) => v.id + ": " + v.nodes.map((node) => node.html).join(" "))
			})`)
			browser.Await(ctx, t, `globalThis.found !== undefined`)
			if found := browser.Eval[[]string](ctx, t, `found`); len(found) > 0 {
				t.Errorf("%s, after step %q: %q", color, step, found)
			}
		}
	}
}
