package e2e_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// TestBrowserOverTLS checks that a page that was loaded over HTTP/2 can open more
// event streams than HTTP/1.1 allows, over the same connection, and a
// WebSocket to the same relay.
func TestBrowserOverTLS(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, cert, key := redistest.Certificates(t, "127.0.0.1")
	relay := relaytest.Start(t, openSettings(server, map[string]string{
		"SIDECAST_TLS_CERT": redistest.WriteFile(t, "cert.pem", cert), "SIDECAST_TLS_KEY": redistest.WriteFile(t, "key.pem", key),
	}))
	relay.AwaitStatus("http://"+relay.AdminAddr()+"/readyz", http.StatusOK)
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
		return err
	}), chromedp.Navigate("https://"+relay.Addr()+"/readyz"))
	browser.Eval[any](ctx, t, `
		window.received = [];
		window.opened = 0;
		for (let i = 0; i < 20; i++) {
			const source = new EventSource('/sse?channel=a');
			source.onopen = () => { opened++; };
			source.onmessage = e => received.push(e.data);
		}
		const socket = new WebSocket('wss://' + location.host + '/ws?channel=a');
		socket.onopen = () => { opened++; };
		socket.onmessage = e => received.push(e.data);
		null`)
	browser.Await(ctx, t, "opened === 21")
	if got := browser.Eval[string](ctx, t, "performance.getEntriesByType('navigation')[0].nextHopProtocol"); got != "h2" {
		t.Errorf("the page was loaded with %s", got)
	}
	server.CLI("PUBLISH", "a", "hello")
	browser.Await(ctx, t, "received.filter(data => data === 'hello').length === 21")
}
