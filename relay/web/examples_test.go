package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/web"
)

// awkwardNames have characters with a meaning in a shell, in PHP or in a URL.
var awkwardNames = []string{
	"chat", "chat:42", "two words", "it's", `"quoted"`, "$HOME `id` $(id)", "a;b|c&d>e", `back\slash\`, `\'`, "-x", "~", "*", "größe", "50%", "#1", "!!", "{a,b}", "a?b=c&d",
}

// exampleFor changes the channel of the page and returns the code of one
// example.
func exampleFor(ctx context.Context, t *testing.T, channel, id string) string {
	t.Helper()
	return browser.Eval[string](ctx, t, fmt.Sprintf(`(() => {
		document.getElementById("channel").value = %s;
		document.getElementById("listen").requestSubmit();
		return document.getElementById("%s").textContent;
	})()`, quoted(t, channel), id))
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	literal, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(literal)
}

// The examples, run in a shell and in PHP, publish hello to exactly this
// channel.
func TestExamplesPublish(t *testing.T) {
	redistest.Require(t, "redis-cli", "redis-tools")
	redistest.Require(t, "php", "php-cli")
	if out, err := exec.CommandContext(t.Context(), "php", "-m").Output(); err != nil || !bytes.Contains(out, []byte("\nredis\n")) {
		redistest.Require(t, "php with phpredis", "php-redis")
	}
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	sub := client.PSubscribe(t.Context(), "*")
	defer sub.Close()
	if _, err := sub.ReceiveTimeout(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}

	relay := startRelay(t, web.Page{RedisAddr: server.Addr})
	ctx := open(t, relay)
	for _, name := range awkwardNames {
		for id, run := range map[string][]string{"redis-cli": {"sh", "-c"}, "php": {"php", "-r"}} {
			code := exampleFor(ctx, t, name, id)
			if out, err := exec.CommandContext(t.Context(), run[0], run[1], code).CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", code, err, out)
				continue
			}
			got, err := sub.ReceiveTimeout(t.Context(), 10*time.Second)
			if message, ok := got.(*redis.Message); !ok || message.Channel != name || message.Payload != "hello" {
				t.Errorf("%s published %v, %v; want hello to %q", code, got, err, name)
			}
		}
	}
}

// The sidecast command receives the name as one argument.
func TestCommandExample(t *testing.T) {
	redistest.Require(t, "sh", "dash")
	relay := startRelay(t, web.Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	for _, name := range awkwardNames {
		code := exampleFor(ctx, t, name, "command")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `go() { printf '%s\n' "$@"; }`+"\n"+code).CombinedOutput()
		want := []string{"run", ".", "publish", name, "hello"}
		if got := strings.Split(strings.TrimSpace(string(out)), "\n"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s runs with the arguments %q, %v; want %q", code, got, err, want)
		}
	}
}

// The example for a page receives the messages of this channel.
func TestPageExample(t *testing.T) {
	relay := startRelay(t, web.Page{})
	ctx := open(t, relay)
	var code string
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><title>page</title><script>console.log = (text) => { received = text }</script>\n"+code)
	}))
	defer pages.Close()
	for _, name := range append(awkwardNames, "</script><script>alert(1)</script>") {
		browser.Do(ctx, t, chromedp.Navigate(relay.url))
		browser.Await(ctx, t, live)
		code = exampleFor(ctx, t, name, "page")
		browser.Do(ctx, t, chromedp.Navigate(pages.URL))
		limit := time.Now().Add(10 * time.Second)
		for !browser.Eval[bool](ctx, t, `typeof received !== "undefined"`) && time.Now().Before(limit) {
			relay.send(name, "hello "+name) // again, if the relay has not subscribed the page yet
		}
		if received := browser.Eval[string](ctx, t, `globalThis.received ?? ""`); received != "hello "+name {
			t.Errorf("%s received %q", code, received)
		}
	}
	wantNoProblems(ctx, t)
}

// The examples for a browser's console and for curl work with a relay: what one
// publishes, the other receives.
func TestConsoleAndCurlExamples(t *testing.T) {
	redistest.Require(t, "curl", "curl")
	process := relaytest.Start(t, nil) // embedded
	process.AwaitReady()
	ctx := browser.Start(t)
	for _, name := range awkwardNames {
		browser.Do(ctx, t, chromedp.Navigate("http://"+process.Addr()+"/"))
		browser.Await(ctx, t, live)
		curl := exampleFor(ctx, t, name, "curl")
		publish := exampleFor(ctx, t, name, "console")
		receive := exec.CommandContext(t.Context(), "sh", "-c", "exec "+curl)
		out, err := receive.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := receive.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() { // the position where the stream begins
			t.Fatalf("%s: %v", curl, receive.Wait())
		}
		browser.Eval[chromedp.Void](ctx, t, `void (async () => { `+publish+` })()`)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
		}
		if lines.Text() != "data: hello" && lines.Text() != "data:hello" {
			t.Errorf("%s and %s: received %q", publish, curl, lines.Text())
		}
		_ = receive.Process.Kill()
		_ = receive.Wait()
	}
	wantNoProblems(ctx, t)
}

// Each button copies its example.
func TestCopy(t *testing.T) {
	relay := startRelay(t, web.Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	if n := browser.Eval[int](ctx, t, `document.querySelectorAll("button.copy").length`); n != 6 {
		t.Errorf("the page has %d copy buttons, want 6", n)
	}
	for _, id := range []string{"redis-cli", "command", "php", "console", "page", "curl"} {
		button := `document.querySelector("[aria-describedby=` + id + `-caption]")`
		browser.Eval[chromedp.Void](ctx, t, `navigator.clipboard.writeText = async (text) => { globalThis.clipboard = text }; `+button+`.click()`)
		browser.Await(ctx, t, button+`.textContent === "Copied"`)
		want := browser.Eval[string](ctx, t, `document.getElementById("`+id+`").textContent`)
		if got := browser.Eval[string](ctx, t, `clipboard`); got != want {
			t.Errorf("%s copies %q, want %q", id, got, want)
		}
	}
	wantNoProblems(ctx, t)
}

// Without a clipboard, as on an HTTP page, the button selects the example.
func TestCopyWithoutClipboard(t *testing.T) {
	relay := startRelay(t, web.Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	browser.Eval[chromedp.Void](ctx, t, `Object.defineProperty(navigator, "clipboard", {value: undefined})`)
	browser.Do(ctx, t, chromedp.Click(chromedp.CSS("[aria-describedby=redis-cli-caption]")))
	browser.Await(ctx, t, `["Copied", "Selected"].includes(document.querySelector("[aria-describedby=redis-cli-caption]").textContent)`)
	if got := browser.Eval[string](ctx, t, `getSelection().toString()`); got != "redis-cli -p 6379 publish chat hello" {
		t.Errorf("the selection is %q", got)
	}
	wantNoProblems(ctx, t)
}
