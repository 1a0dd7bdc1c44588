package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// eventSourcePage counts what an EventSource receives.
const eventSourcePage = `
window.seen = {live: [], several: [], durable: [], gaps: 0, ends: []};
function listen(list, query, data) {
	const source = new EventSource('/sse?' + query);
	source.onmessage = e => { seen[list].push(data(e.data)); };
	source.addEventListener('gap', e => { seen.gaps++; });
	source.addEventListener('close', e => { seen.ends.push(JSON.parse(e.data).code); });
	source.onopen = () => { seen.open = (seen.open || 0) + 1; };
}
listen('live', 'channel=news', Number);
listen('durable', 'channel=order:1', Number);
listen('several', Array.from({length: 128}, (_, i) => 'channel=news:' + i).join('&'), data => Number(JSON.parse(data).data));
null`

// TestEventSource checks that an EventSource in Chromium, which reaches two
// relays through HAProxy, misses and repeats nothing while the relays are
// stopped, killed and started one after another: on a live channel, on a durable
// one, and on 128 live channels in one stream.
func TestEventSource(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	addrs := []string{redistest.FreeAddr(t), redistest.FreeAddr(t)}
	proxy := redistest.FreeAddr(t)
	run := func(i int) *relaytest.Process {
		return startRelay(t, server, map[string]string{
			"SIDECAST_LISTEN": addrs[i], "SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_DRAIN_DELAY": "300ms", "SIDECAST_DRAIN_TIMEOUT": "1s",
		})
	}
	relays := []*relaytest.Process{run(0), run(1)}
	startHAProxy(t, proxy, addrs...)
	relays[0].AwaitStatus("http://"+proxy+"/readyz", http.StatusOK)

	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate("http://"+proxy+"/readyz"))
	browser.Eval[any](ctx, t, eventSourcePage)
	browser.Await(ctx, t, "seen.open === 3")
	n := 0
	publish := func(count int) {
		for range count {
			n++
			server.CLI("PUBLISH", "news", fmt.Sprint(n))
			server.CLI("PUBLISH", fmt.Sprint("news:", n%128), fmt.Sprint(n))
			server.CLI("XADD", "order:1", "*", "data", fmt.Sprint(n))
			server.CLI("PUBLISH", "order:1", "")
			time.Sleep(20 * time.Millisecond) // so that some are published while the page is not connected
		}
	}
	caughtUp := func() {
		t.Helper()
		browser.Await(ctx, t, fmt.Sprintf("seen.live.at(-1) === %d && seen.durable.at(-1) === %[1]d && seen.several.at(-1) === %[1]d", n))
	}
	publish(10)
	for round := range 2 {
		for i := range relays {
			if round == 0 {
				terminate(relays[i])
			} else {
				relays[i].Kill()
			}
			publish(50)
			caughtUp() // at the other relay
			relays[i] = run(i)
			publish(20)
			caughtUp()
		}
	}
	const inOrder = "seen.%s.every((x, i) => x === i + 1) && seen.%[1]s.length === %d"
	for _, list := range []string{"live", "several", "durable"} {
		if !browser.Eval[bool](ctx, t, fmt.Sprintf(inOrder, list, n)) {
			t.Errorf("%s: the page received %v, want 1 to %d", list, browser.Eval[[]int](ctx, t, "seen."+list), n)
		}
	}
	if gaps := browser.Eval[int](ctx, t, "seen.gaps"); gaps != 0 {
		t.Errorf("%d gaps", gaps)
	}
	if ends := browser.Eval[[]int](ctx, t, "seen.ends"); len(ends) == 0 {
		t.Error("the page saw no close")
	}
}
