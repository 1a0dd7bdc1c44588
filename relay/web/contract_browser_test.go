package web_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/faultproxy"
)

var sleeps = flag.Duration("sleep", 5*time.Second, "how long the tab of TestContractInChromium sleeps")

// TestContractInChromium is [TestContract] for a page that is offline for a
// while, and sleeps.
func TestContractInChromium(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><p>page")
	}))
	defer origin.Close()
	w := newContractWorld(t)
	tab := &tabRecorder{t: t, ctx: browser.Start(t)}
	browser.Do(tab.ctx, t, chromedp.Navigate(origin.URL))
	browser.Eval[chromedp.Void](tab.ctx, t, fmt.Sprintf(`window.lines = []; %s
		void import("http://%s/sidecast.mjs").then(({ connect }) => {
			run({ connect, options: {}, ...%s }, (line) => lines.push([Date.now(), line]))
		})`, contractScript, w.relays[0].Addr(), w.config(3)))
	w.script = tab
	w.awaitSubscriptions()
	client := relaytest.NewRedis(w.redis.Addr, time.Second)
	defer client.Close()
	stop := w.publish(client)
	for _, fault := range []func(){w.killRelay, func() { w.offline(tab) }, func() { w.sleep(tab) }, w.silence} {
		w.pause(time.Second)
		fault()
	}
	stop()
	report := relaytest.Check(w.end(client))
	t.Logf("%v", report)
	if report.Err() != nil {
		t.Error("the client broke the delivery guarantees")
	}
}

// A tabRecorder reads the events of a page.
type tabRecorder struct {
	t   *testing.T
	ctx context.Context
	all []nodeEvent
}

func (r *tabRecorder) since(n int) []nodeEvent {
	for _, line := range browser.Eval[[][2]any](r.ctx, r.t, `lines.splice(0)`) {
		var event nodeEvent
		if err := json.Unmarshal([]byte(line[1].(string)), &event); err != nil {
			r.t.Fatal(err)
		}
		event.At = time.UnixMilli(int64(line[0].(float64)) + 1) // not before it happened
		r.all = append(r.all, event)
	}
	return r.all[n:]
}

// offline makes the network unreachable, and the browser notice it.
func (w *contractWorld) offline(tab *tabRecorder) {
	w.inject("offline", func() {
		state := func(offline bool) chromedp.Action[chromedp.Void] {
			return command(network.OverrideNetworkState, network.OverrideNetworkStateParams{
				Offline: offline, DownloadThroughput: -1, UploadThroughput: -1,
			})
		}
		browser.Do(tab.ctx, w.t, state(true))
		w.proxy.Refuse(true)
		w.proxy.Cut()
		w.await("the loss of the connection", disconnected)
		w.pause(2 * time.Second)
		w.proxy.Refuse(false)
		browser.Do(tab.ctx, w.t, state(false))
	})
}

// sleep freezes the tab, as browsers do with tabs in the background, while its
// connections die without notice.
func (w *contractWorld) sleep(tab *tabRecorder) {
	w.inject("sleep", func() {
		state := func(state page.SetWebLifecycleStateState) chromedp.Action[chromedp.Void] {
			return command(page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
		}
		w.proxy.Hold(faultproxy.Both...)
		browser.Do(tab.ctx, w.t, state(page.SetWebLifecycleStateStateFrozen))
		w.pause(*sleeps)
		browser.Do(tab.ctx, w.t, state(page.SetWebLifecycleStateStateActive))
		w.await("the loss of the connection", disconnected)
		w.proxy.Cut()
		w.proxy.Release(faultproxy.Both...)
	})
}

func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}
