package auth_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/browser"
)

// A browserPage is a page of the PHP application in Chromium, with a relay that
// asks this application.
type browserPage struct {
	*setup
	ctx context.Context
	app string // host:port of the application; the host is the one that has the cookies
	dir string // of the application's sessions
}

func newBrowserPage(t *testing.T, settings ...string) *browserPage {
	t.Helper()
	dir := t.TempDir()
	addr := startPHP(t, dir)
	s := newSetup(t, append([]string{
		"AUTH_URL=http://" + addr + "/live-auth", "CHANNEL_AUTH_URL=http://" + addr + "/may-receive",
	}, settings...)...)
	return &browserPage{setup: s, ctx: browser.Start(t), app: "localhost:" + port(t, addr), dir: dir}
}

func (b *browserPage) visit(path string) {
	b.t.Helper()
	browser.Do(b.ctx, b.t, chromedp.Navigate("http://"+b.app+path))
}

// url returns the URL of the relay. Its host is that of the page, so that the
// browser sends the cookies.
func (b *browserPage) url() string { return "ws://localhost:" + port(b.t, b.relay.Addr()) + "/ws" }

func (b *browserPage) run(script string) {
	b.t.Helper()
	browser.Eval[any](b.ctx, b.t, script+"; null")
}

// connect opens a sidecast.v1 connection with this name and waits for its
// welcome.
func (b *browserPage) connect(name string) {
	b.t.Helper()
	b.run(fmt.Sprintf("connect(%q, %q, ['sidecast.v1'])", name, b.url()))
	browser.Await(b.ctx, b.t, fmt.Sprintf("has(%q, 'welcome')", name))
}

func (b *browserPage) user(name string) string {
	b.t.Helper()
	return browser.Eval[string](b.ctx, b.t, fmt.Sprintf("seen[%q].messages[0].user ?? ''", name))
}

// subscribe returns the answer: subscribed, or the code of an error.
func (b *browserPage) subscribe(name, channel string) string {
	b.t.Helper()
	b.run(fmt.Sprintf("seen[%q].socket.send(JSON.stringify({type: 'subscribe', channels: [{channel: %q}]}))", name, channel))
	answer := fmt.Sprintf("seen[%q].messages.findLast((m) => m.channel === %q)", name, channel)
	browser.Await(b.ctx, b.t, answer)
	return browser.Eval[string](b.ctx, b.t, fmt.Sprintf("((m) => m.code ?? m.type)(%s)", answer))
}
