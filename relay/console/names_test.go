package console_test

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/admin"
	"sidecast/relay/console"
	"sidecast/relay/relaytest/browser"
)

// Names of channels, users and everything else that the relay sends are shown as
// text.
func TestHostileNames(t *testing.T) {
	const hostile = `<img src=x onerror=alert(1)></td></tr></table><script>alert(1)</script>`
	now := time.Now()
	all := samples(now, 3)
	last := all[2].data.(map[string]any)
	last["busiest"] = []map[string]any{{"channel": hostile, "messages": 1, "surplus": 0, "bytes": 1, "subscribers": 1}}
	last["causes"] = []map[string]any{{"kind": "closed", "cause": hostile, "total": 1, "rate": 1}, {"kind": hostile, "cause": hostile, "total": 1, "rate": 1}}
	all = append(all, event{"incidents", []map[string]any{{
		"at": now, "kind": hostile, "channel": hostile, "user": hostile, "session": hostile, "code": hostile, "reason": hostile,
	}}}, event{"constructor", hostile})
	first := event{"hello", map[string]any{"version": hostile, "settings": []console.Setting{{Name: hostile, Value: hostile, FromEnv: true}}}}
	url := serve(t, admin.Console{Feed: script(first, all...)})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, `document.querySelectorAll("#incidents-rows td").length === 6`)
	browser.Eval[chromedp.Void](ctx, t, `for (const e of document.querySelectorAll("details")) e.open = true`)
	browser.Await(ctx, t, `document.querySelectorAll("#values-rows tr").length > 9`)
	for id, want := range map[string]int{"busiest-rows": 1, "causes-rows": 3, "incidents-rows": 6, "settings-rows": 2, "about": 1, "plots": 1, "values-rows": 1} {
		if got := browser.Eval[int](ctx, t, `document.getElementById("`+id+`").textContent.split("onerror=alert(1)>").length - 1`); got != want {
			t.Errorf("#%s shows the text %d times, want %d", id, got, want)
		}
	}
	if n := browser.Eval[int](ctx, t, `document.querySelectorAll("main img, main script").length`); n != 0 {
		t.Errorf("names made %d elements", n)
	}
	wantNoProblems(ctx, t)
}

// No name hides characters, or turns the text beside it around: a program can
// publish on a channel with any name.
func TestInvisibleCharacters(t *testing.T) {
	now := time.Now()
	const hostile = "a\u202eb\x00c\n\u2066\ufeffd é עברית"
	url := serve(t, admin.Console{Feed: script(hello(), append(samples(now, 2), event{"incidents", []map[string]any{{
		"at": now, "kind": "dropped", "channel": hostile, "reason": "name",
	}}})...)})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, `document.querySelectorAll("#incidents-rows td").length === 6`)
	const want = `a\u202eb\u0000c\u000a\u2066\ufeffd é עברית`
	if got := browser.Eval[string](ctx, t, `document.querySelectorAll("#incidents-rows td")[3].textContent`); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	wantNoProblems(ctx, t)
}

// With the keyboard, an operator reads the plots at a moment, and pauses them.
func TestKeyboard(t *testing.T) {
	now := time.Now()
	url := serve(t, admin.Console{Feed: script(hello(), samples(now, 100)...)})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, live+` && document.getElementById("moment").max === "99"`)
	browser.Do(ctx, t, chromedp.Focus(chromedp.ID("moment")), chromedp.KeyEvent(kb.ArrowLeft+kb.ArrowLeft))
	const text = `document.getElementById("moment-text").textContent`
	browser.Await(ctx, t, text+` === "`+now.Add(-2*time.Second).Local().Format("15:04:05")+`"`)
	browser.Do(ctx, t, chromedp.KeyEvent(kb.Home))
	browser.Await(ctx, t, `document.getElementById("moment").getAttribute("aria-valuetext") === "`+now.Add(-99*time.Second).Local().Format("15:04:05")+`"`)
	if clients := browser.Eval[string](ctx, t, `document.querySelector("#plots dd").textContent`); clients != "10k" {
		t.Errorf("at the first moment there were %s clients", clients)
	}
	browser.Do(ctx, t, chromedp.KeyEvent(kb.End))
	browser.Await(ctx, t, text+` === "now"`)
	browser.Do(ctx, t, chromedp.Focus(chromedp.ID("pause")), chromedp.KeyEvent(" "))
	browser.Await(ctx, t, `document.getElementById("pause").getAttribute("aria-pressed") === "true" && document.getElementById("state-text").textContent === "Paused"`)
	wantNoProblems(ctx, t)
}
