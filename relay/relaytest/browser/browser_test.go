package browser_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/browser"
)

const page = `<!doctype html><title>a page with problems</title><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
<script>
	console.log("not a problem");
	console.error("logged by the page");
	setTimeout(() => { window.late = {ready: true}; throw new Error("thrown by the page") }, 50);
</script>`

func TestBrowser(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "img-src 'none'")
		fmt.Fprint(w, page)
	}))
	defer server.Close()
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(server.URL))
	browser.Await(ctx, t, "late.ready") // throws until late is set
	if title := browser.Eval[string](ctx, t, "document.title"); title != "a page with problems" {
		t.Errorf("the title is %q", title)
	}
	if png := browser.Screenshot(ctx, t); !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Error("the screenshot is not a PNG")
	}

	for _, part := range []string{"logged by the page", "thrown by the page", "Content Security Policy"} {
		browser.AwaitProblem(ctx, t, "not in any problem", part)
	}
	problems := browser.Problems(ctx)
	if slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "not a problem") }) {
		t.Errorf("Problems = %q, want only errors", problems)
	}

	browser.Forget(ctx)
	if problems := browser.Problems(ctx); len(problems) > 0 {
		t.Errorf("Problems = %q after Forget", problems)
	}
}
