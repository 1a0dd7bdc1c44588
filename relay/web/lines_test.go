package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// Names that a shell, PHP or an address would take for more than a name.
var awkward = []string{
	"chat", "chat:42", "two words", "it's", `"quoted"`, "$HOME `id` $(id)", "a;b|c&d>e", `back\slash\`, `\'`, "-x", "~", "*", "größe", "50%", "#1", "!!", "{a,b}", "a?b=c&d",
}

// copied makes the page listen to a channel and returns what one of its lines then offers to copy.
func copied(ctx context.Context, t *testing.T, channel, id string) string {
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

// Each line does what it says: pasted into a shell or a script, it publishes hello to exactly this channel.
func TestLinesPublish(t *testing.T) {
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

	relay := startRelay(t, Page{RedisAddr: server.Addr})
	ctx := open(t, relay)
	for _, name := range awkward {
		for id, run := range map[string][]string{"redis-cli": {"sh", "-c"}, "php": {"php", "-r"}} {
			line := copied(ctx, t, name, id)
			if out, err := exec.CommandContext(t.Context(), run[0], run[1], line).CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", line, err, out)
				continue
			}
			got, err := sub.ReceiveTimeout(t.Context(), 10*time.Second)
			if message, ok := got.(*redis.Message); !ok || message.Channel != name || message.Payload != "hello" {
				t.Errorf("%s published %v, %v; want hello to %q", line, got, err, name)
			}
		}
	}
}

// The program gets the name as one argument.
func TestLineOfTheProgram(t *testing.T) {
	redistest.Require(t, "sh", "dash")
	relay := startRelay(t, Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	for _, name := range awkward {
		line := copied(ctx, t, name, "command")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `go() { printf '%s\n' "$@"; }`+"\n"+line).CombinedOutput()
		want := []string{"run", ".", "publish", name, "hello"}
		if got := strings.Split(strings.TrimSpace(string(out)), "\n"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s means %q, %v; want %q", line, got, err, want)
		}
	}
}

// The script listens to this channel.
func TestLineOfAnyPage(t *testing.T) {
	relay := startRelay(t, Page{})
	ctx := open(t, relay)
	for _, name := range awkward {
		line := copied(ctx, t, name, "javascript")
		browser.Eval[chromedp.Void](ctx, t, `(() => {
			globalThis.heard = undefined;
			console.log = (text) => { globalThis.heard = text };
			`+line+`
			globalThis.probe = socket;
		})()`)
		relay.awaitClients(t, name, 2) // the page is the other one
		relay.say(name, "hello "+name)
		browser.Await(ctx, t, `heard !== undefined`)
		if heard := browser.Eval[string](ctx, t, `heard`); heard != "hello "+name {
			t.Errorf("%s heard %q", line, heard)
		}
		browser.Eval[chromedp.Void](ctx, t, `probe.close()`)
	}
}

// The buttons copy what stands beside them.
func TestCopy(t *testing.T) {
	relay := startRelay(t, Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	if n := browser.Eval[int](ctx, t, `document.querySelectorAll("button.copy").length`); n != 4 {
		t.Errorf("there are %d buttons", n)
	}
	for _, id := range []string{"redis-cli", "command", "php", "javascript"} {
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

// Without a clipboard, as on a page that is not secure, the line is selected.
func TestCopyWithoutClipboard(t *testing.T) {
	relay := startRelay(t, Page{RedisAddr: "127.0.0.1:6379"})
	ctx := open(t, relay)
	browser.Eval[chromedp.Void](ctx, t, `Object.defineProperty(navigator, "clipboard", {value: undefined})`)
	browser.Do(ctx, t, chromedp.Click(chromedp.CSS("[aria-describedby=redis-cli-caption]")))
	browser.Await(ctx, t, `["Copied", "Selected"].includes(document.querySelector("[aria-describedby=redis-cli-caption]").textContent)`)
	if got := browser.Eval[string](ctx, t, `getSelection().toString()`); got != "redis-cli -p 6379 publish chat hello" {
		t.Errorf("selected is %q", got)
	}
	wantNoProblems(ctx, t)
}
