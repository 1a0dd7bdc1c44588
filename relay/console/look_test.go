package console_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"sidecast/relay/admin"
	"sidecast/relay/relaytest/browser"
)

const live = `document.getElementById("state").dataset.state === "good" && document.querySelectorAll("canvas").length >= 9`

// colorScheme makes the page use its light or dark colors.
func colorScheme(value string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	})
}

// At each size and in each color scheme, nothing is wider than the page, and the
// page has no problems. `go test -artifacts` keeps the screenshots.
func TestLayout(t *testing.T) {
	now := time.Now()
	url := serve(t, admin.Console{Feed: script(hello(), append(samples(now, 280), incidents(now))...)})
	ctx := browser.Start(t)
	dir := t.ArtifactDir()
	for _, size := range []struct{ width, height int64 }{{1280, 900}, {768, 1024}, {390, 844}, {320, 640}} {
		for _, color := range []string{"light", "dark"} {
			name := fmt.Sprintf("%d-%s", size.width, color)
			browser.Do(ctx, t, chromedp.EmulateViewport(size.width, size.height), colorScheme(color), chromedp.Navigate(url+"/console"))
			browser.Await(ctx, t, live+` && document.querySelectorAll("#incidents-rows tr").length === 3`)
			browser.Eval[chromedp.Void](ctx, t, `for (const e of document.querySelectorAll("details")) e.open = true`)
			browser.Await(ctx, t, `document.querySelectorAll("#values-rows tr").length > 9`)
			if err := os.WriteFile(filepath.Join(dir, name+".png"), browser.Screenshot(ctx, t), 0o644); err != nil {
				t.Fatal(err)
			}
			if width := browser.Eval[int64](ctx, t, "document.documentElement.scrollWidth"); width > size.width {
				t.Errorf("%s: the page is %d pixels wide", name, width)
			}
		}
	}
	if problems := browser.Problems(ctx); len(problems) > 0 {
		t.Errorf("the page has problems: %q", problems)
	}
}
