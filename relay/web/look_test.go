package web_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/browser"
	"sidecast/relay/web"
)

// colorScheme makes the page use its light or dark colors.
func colorScheme(value string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	})
}

// At each size and in each color scheme, nothing is wider than the page, and
// all text has enough contrast. `go test -artifacts` keeps the screenshots.
func TestLayoutAndContrast(t *testing.T) {
	relay := startRelay(t, web.Page{RedisAddr: "127.0.0.1:6379"})
	ctx := browser.Start(t)
	dir := t.ArtifactDir()
	for _, size := range []struct{ width, height int64 }{{1280, 800}, {768, 1024}, {390, 844}, {320, 640}} {
		for _, color := range []string{"light", "dark"} {
			browser.Do(ctx, t, chromedp.EmulateViewport(size.width, size.height), colorScheme(color), chromedp.Navigate(relay.url))
			browser.Await(ctx, t, live)
			name := fmt.Sprintf("%d-%s", size.width, color)
			screenshot(ctx, t, dir, name+"-empty")
			for _, text := range []string{
				"hello", `{"type":"order","id":1234,"state":"paid"}`, "<img src=x onerror=alert(1)>",
				"A longer message, as people write them: it goes on for more than one line on a small screen, and nothing is cut off.",
				"https://example.com/a/very/long/address/without/any/place/to/break/it/so/it/has/to/break/anywhere?query=0123456789abcdef",
			} {
				relay.send("chat", text)
			}
			browser.Await(ctx, t, `document.querySelectorAll("#messages li").length === 5`)
			showTour(ctx, t)
			relay.disconnect(1012)
			browser.Await(ctx, t, `document.querySelector("#messages .note") !== null && `+live)
			browser.Eval[chromedp.Void](ctx, t, `import("./log.js").then(({ addNote }) => addNote("3 messages caught up.", true))`)
			browser.Await(ctx, t, `document.querySelector("#messages .good") !== null`)
			screenshot(ctx, t, dir, name)
			relay.setDown(true)
			relay.disconnect(0)
			browser.Await(ctx, t, waiting)
			screenshot(ctx, t, dir, name+"-offline")
			relay.setDown(false)
			if width := browser.Eval[int64](ctx, t, "document.documentElement.scrollWidth"); width > size.width {
				t.Errorf("%s: the page is %d pixels wide", name, width)
			}
			if low := browser.Eval[[]string](ctx, t, lowContrast); len(low) > 0 {
				t.Errorf("%s: text with low contrast: %q", name, low)
			}
		}
	}
}

// showTour shows the results of all steps of the tour, with long names of users.
func showTour(ctx context.Context, t *testing.T) {
	t.Helper()
	browser.Eval[chromedp.Void](ctx, t, `import("./tour.js").then(({ done, explain, showMembers }) => {
		done("connect", "Connected as amber-otter-42.")
		done("publish", "The message arrived after 12 ms.")
		done("cut", "3 messages caught up.")
		done("gap", "Gap (unrecovered): messages may be missing. A page loads its state again.")
		const names = ["amber-otter-42", "x".repeat(128), ...Array.from({ length: 40 }, (_, i) => "brave-lynx-" + i)]
		showMembers(Object.assign(new Map(names.map((name) => [name, {}])), { count: 42 }), "amber-otter-42")
		done("refused", explain({ code: "bad_channel", message: "not a channel name, or a reserved one" }))
	})`)
	browser.Await(ctx, t, isDone("refused"))
}

func screenshot(ctx context.Context, t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".png"), browser.Screenshot(ctx, t), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lowContrast lists the texts whose contrast with their background is below
// 4.5, the minimum of WCAG 2 (criterion 1.4.3).
const lowContrast = `(() => {
	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (color) => {
		const [r, g, b] = channels(color).map((c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const backgroundOf = (element) => {
		for (; element; element = element.parentElement) {
			const color = getComputedStyle(element).backgroundColor;
			if (channels(color)[3] !== 0) return color;
		}
		return "rgb(255, 255, 255)";
	};
	const result = [];
	for (const element of document.body.querySelectorAll("*")) {
		const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
		if (!(own || element.matches("input")) || !element.checkVisibility() || element.disabled) continue;
		const [low, high] = [luminance(getComputedStyle(element).color), luminance(backgroundOf(element))].sort((a, b) => a - b);
		if ((high + .05) / (low + .05) < 4.5) result.push(element.tagName + " " + (element.textContent || element.value));
	}
	return result;
})()`
