// Package browser runs Chromium for tests: one headless process per test, with
// a new profile that is removed when the test ends.
//
// A test that needs Chromium skips if it is not installed. If CI=true it fails
// instead.
package browser

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/redistest"
)

const (
	startTimeout = 60 * time.Second // of Chromium, on a busy machine
	stepTimeout  = 30 * time.Second // of each step of a test
)

// Start runs Chromium and returns the context of its tab, for chromedp and the
// functions of this package. Only one goroutine may use the tab at a time. The
// tab closes when the test ends.
func Start(t testing.TB) context.Context {
	t.Helper()
	redistest.Require(t, "chromium", "chromium")
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // the sandbox does not work as root
		chromedp.DisableGPU,
		chromedp.Flag("no-proxy-server", true),
	})
	// The browser must outlive t.Context(), because cleanups of the test may
	// still use it.
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(stop)
	seen := new(problems)
	ctx, closeBrowser := chromedp.NewContext(
		context.WithValue(allocator, problemsKey{}, seen), chromedp.WithListener(seen.listen))
	t.Cleanup(closeBrowser)

	// A deadline on the context of the first call would end the browser at that
	// time, so a timer bounds the start.
	late := time.AfterFunc(startTimeout, stop)
	defer late.Stop()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return ctx
}

// Do runs steps in order, and fails the test at the first error.
func Do(ctx context.Context, t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for i, step := range steps {
		if _, err := run(ctx, step); err != nil {
			t.Fatalf("step %d in the browser: %v%s", i+1, err, describe(ctx))
		}
	}
}

// Eval returns the value of a JavaScript expression in the page.
func Eval[T any](ctx context.Context, t testing.TB, expression string) T {
	t.Helper()
	value, err := run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("evaluating %s: %v%s", expression, err, describe(ctx))
	}
	return value
}

// Await waits until a JavaScript expression is true in the page. An exception
// counts as false, because objects that the expression names may not exist yet.
func Await(ctx context.Context, t testing.TB, expression string) {
	t.Helper()
	await(ctx, t, expression, func() (bool, error) {
		return run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
	})
}

// AwaitProblem waits until one of the tab's [Problems] contains one of these
// parts.
func AwaitProblem(ctx context.Context, t testing.TB, parts ...string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("a problem with one of %q", parts), func() (bool, error) {
		return slices.ContainsFunc(Problems(ctx), func(problem string) bool {
			return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(problem, part) })
		}), nil
	})
}

// await waits until ok returns true, and fails the test with the last error
// after stepTimeout.
func await(ctx context.Context, t testing.TB, what string, ok func() (bool, error)) {
	t.Helper()
	limit := time.NewTimer(stepTimeout)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waiting for %s: %v%s", what, err, describe(ctx))
		}
	}
}

// Screenshot returns the whole page as a PNG.
func Screenshot(ctx context.Context, t testing.TB) []byte {
	t.Helper()
	png, err := run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("taking a screenshot: %v", err)
	}
	return png
}

func run[T any](ctx context.Context, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return chromedp.Run(ctx, action)
}

// describe returns the text and the problems of the page, for the message of a
// failed test.
func describe(ctx context.Context) string {
	text, err := run(ctx, chromedp.Evaluate[string](`location + "\n" + document.body.innerText`))
	if err != nil {
		text = err.Error()
	}
	return fmt.Sprintf("\nproblems: %q\npage: %s", Problems(ctx), text)
}

// Problems returns the problems in the tab so far, or since [Forget]: uncaught
// exceptions, dialogs, errors that the page or the browser logged, and
// violations of a security policy.
func Problems(ctx context.Context) []string {
	p := ctx.Value(problemsKey{}).(*problems)
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// Forget deletes the problems so far.
func Forget(ctx context.Context) {
	p := ctx.Value(problemsKey{}).(*problems)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = nil
}

type problemsKey struct{}

type problems struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

// listen records the problems among the tab's events. chromedp calls it from
// one goroutine.
func (p *problems) listen(event any) {
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		p.add("exception: %s", exception(event.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if event.Type == "error" || event.Type == "assert" {
			p.add("console: %s", arguments(event.Args))
		}
	case *log.EventEntryAdded:
		if event.Entry.Level == "error" || event.Entry.Source == "security" {
			p.add("%s: %s %s", event.Entry.Source, event.Entry.Text, event.Entry.URL)
		}
	case *page.EventJavascriptDialogOpening:
		p.add("dialog: %s", event.Message)
	}
}

func (p *problems) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, fmt.Sprintf(format, args...))
}

func exception(details *runtime.ExceptionDetails) string {
	if details.Exception != nil && details.Exception.Description != "" {
		return details.Exception.Description
	}
	return details.Text
}

func arguments(args []*runtime.RemoteObject) (text string) {
	for _, arg := range args {
		text += fmt.Sprintf("%s%s ", arg.Value, arg.Description)
	}
	return text
}
