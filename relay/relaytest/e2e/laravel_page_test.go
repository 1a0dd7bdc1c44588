package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/browser"
)

// An echoPage is a script with Laravel Echo, in Chromium or in Node.
type echoPage struct {
	t *testing.T
	// run returns the value of a JavaScript expression, as JSON.
	run func(expression string) json.RawMessage
}

// connectedPage returns a page of a user after it has connected.
func connectedPage(p *echoPage, options string) *echoPage {
	p.t.Helper()
	p.do(`connect(` + options + `)`)
	p.await(`echo.socketId()`)
	return p
}

// do evaluates an expression for its effect.
func (p *echoPage) do(expression string) {
	p.t.Helper()
	p.run("void (" + expression + ")")
}

// await waits until an expression is true.
func (p *echoPage) await(expression string) {
	p.t.Helper()
	eventually(p.t, func() string {
		if string(p.run("Boolean("+expression+")")) == "true" {
			return ""
		}
		return fmt.Sprintf("not true: %s; the page saw %s", expression, p.run("seen"))
	})
}

// saw waits until the page has seen n values of a kind, where n is the number of
// wanted ones, and compares them.
func (p *echoPage) saw(kind string, want ...string) {
	p.t.Helper()
	p.await(fmt.Sprintf("seenAs(%q).length >= %d", kind, len(want)))
	var got []json.RawMessage
	if err := json.Unmarshal(p.run(fmt.Sprintf("seenAs(%q)", kind)), &got); err != nil {
		p.t.Fatal(err)
	}
	equal := func(a json.RawMessage, b string) bool { return canonical(a) == canonical([]byte(b)) }
	if !slices.EqualFunc(got, want, equal) {
		p.t.Errorf("%s: the page saw %s, want %s", kind, got, want)
	}
}

// canonical returns JSON text with sorted fields.
func canonical(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return string(text)
	}
	sorted, _ := json.Marshal(value)
	return string(sorted)
}

// A pageMaker opens pages of a site for a user.
type pageMaker func(s *laravelSite, user string) *echoPage

// chromiumPages opens pages in one Chromium with separate cookies.
func chromiumPages(t *testing.T) pageMaker {
	ctx := browser.Start(t)
	return func(s *laravelSite, user string) *echoPage { return openPage(ctx, s, user, "echo") }
}

// openPage opens a page with a script in a new tab that shares no cookies with
// others.
func openPage(ctx context.Context, s *laravelSite, user, script string) *echoPage {
	t := s.t
	t.Helper()
	tab, done := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(done)
	if err := chromedp.Do(tab); err != nil { // without a deadline: it would end the tab
		t.Fatalf("opening a tab: %v", err)
	}
	browser.Do(tab, t, chromedp.Navigate(fmt.Sprintf("%s/?as=%s&script=%s", s.url, user, script)))
	browser.Await(tab, t, "seen")
	p := &echoPage{t: t, run: func(expression string) json.RawMessage {
		t.Helper()
		return json.RawMessage(browser.Eval[string](tab, t, "JSON.stringify(("+expression+") ?? null)"))
	}}
	p.do(fmt.Sprintf("globalThis.key = %q", laravelKey))
	return p
}

// nodePages runs each page in a process of Node. pages is the directory of the
// built scripts.
func nodePages(pages string) pageMaker {
	return func(s *laravelSite, user string) *echoPage {
		t := s.t
		t.Helper()
		cmd := exec.Command("node", filepath.Join(pages, "node.mjs"), s.url, user)
		cmd.Stderr, cmd.Env = os.Stderr, append(os.Environ(), "NODE_NO_WARNINGS=1")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		p := &echoPage{t: t, run: nodeEvaluator(t, stdin, stdout)}
		p.do(fmt.Sprintf("globalThis.key = %q", laravelKey))
		return p
	}
}

// nodeEvaluator returns a function that evaluates expressions in a process that
// runs testdata/laravel/node.js.
func nodeEvaluator(t *testing.T, stdin io.Writer, stdout io.Reader) func(string) json.RawMessage {
	lines := bufio.NewReader(stdout)
	return func(expression string) json.RawMessage {
		t.Helper()
		if _, err := io.WriteString(stdin, strings.ReplaceAll(expression, "\n", " ")+"\n"); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("node has ended: %v", err)
		}
		var answer struct {
			Value json.RawMessage
			Error string
		}
		if err := json.Unmarshal(line, &answer); err != nil || answer.Error != "" {
			t.Fatalf("%s: %v %s", expression, err, line)
		}
		return answer.Value
	}
}
