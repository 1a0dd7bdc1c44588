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

const troubled = `<!doctype html><title>trouble</title><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
<script>
	console.log("all is well");
	console.error("said by the page");
	setTimeout(() => { window.late = {ready: true}; throw new Error("thrown by the page") }, 50);
</script>`

func TestBrowser(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "img-src 'none'")
		fmt.Fprint(w, troubled)
	}))
	defer server.Close()
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(server.URL))
	browser.Await(ctx, t, "late.ready") // throws at first
	if title := browser.Eval[string](ctx, t, "document.title"); title != "trouble" {
		t.Errorf("the title is %q", title)
	}
	if png := browser.Screenshot(ctx, t); !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Error("the screenshot is no PNG")
	}

	for _, part := range []string{"said by the page", "thrown by the page", "Content Security Policy"} {
		browser.AwaitProblem(ctx, t, "what nobody says", part)
	}
	problems := browser.Problems(ctx)
	if slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "all is well") }) {
		t.Errorf("Problems = %q, with what is none", problems)
	}

	browser.Forget(ctx)
	if problems := browser.Problems(ctx); len(problems) > 0 {
		t.Errorf("Problems = %q after Forget", problems)
	}
}
