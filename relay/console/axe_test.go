package console_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidecast/relay/admin"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/npm"
)

// axe finds no violation of its rules for accessible pages, in any state of the
// page.
func TestAccessibility(t *testing.T) {
	dir := npm.Install(t, "axe-core@4.14.1")
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	url := serve(t, admin.Console{Feed: script(hello(), append(samples(now, 280), incidents(now))...)})
	empty := serve(t, admin.Console{Feed: script(hello())})
	ctx := browser.Start(t)
	for _, state := range []struct {
		name, url, await  string
		prepare, prepared string // JavaScript
	}{
		{"empty", empty, `document.getElementById("about").textContent !== ""`, "", "true"},
		{"live", url, live, "", "true"},
		{"everything open", url, live,
			`for (const e of document.querySelectorAll("details")) e.open = true; document.getElementById("show-access").click()`,
			`document.querySelectorAll("#values-rows tr").length > 9`},
		{"an answer", url, live,
			`document.getElementById("publish-channel").value = "chat"; document.querySelector("#publish button").click()`,
			`document.getElementById("publish-answer").textContent.includes("SIDECAST_ADMIN_TOKEN")`},
	} {
		for color, width := range map[string]int64{"light": 1280, "dark": 390} {
			browser.Do(ctx, t, chromedp.EmulateViewport(width, 900), colorScheme(color), chromedp.Navigate(state.url+"/console"))
			browser.Await(ctx, t, state.await)
			browser.Eval[chromedp.Void](ctx, t, state.prepare+`; globalThis.found = null`)
			browser.Await(ctx, t, state.prepared)
			browser.Eval[chromedp.Void](ctx, t, string(axe)+`; axe.run(document, {resultTypes: ["violations"]}).then((result) => {
				found = result.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.map((n) => n.html).slice(0, 3).join(" "));
				rules = result.passes.length;
			}).catch((problem) => { found = ["axe: " + problem] })`)
			browser.Await(ctx, t, `found !== null`)
			if found := browser.Eval[[]string](ctx, t, `found`); len(found) > 0 {
				t.Errorf("%s, %s: %q", state.name, color, found)
			}
			if n := browser.Eval[int](ctx, t, `rules`); n < 20 {
				t.Errorf("%s, %s: only %d rules apply", state.name, color, n)
			}
		}
	}
}
