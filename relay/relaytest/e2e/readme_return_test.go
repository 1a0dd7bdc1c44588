package e2e_test

import (
	"strings"
	"testing"

	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/faultproxy"
)

// showsReturning opens the page that says where it was, takes its connection away, and sees that it shows what was said
// meanwhile, and nothing of a gap.
func showsReturning(t *testing.T, text string) {
	s, _, url := development(t)
	ctx := browser.Start(t)
	proxy := faultproxy.Start(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"))
	tab := open(ctx, t, "file://"+file(t, onPort(t, text, "ws://localhost:8080", proxy.Addr)))
	const lines = `Array.from(document.querySelectorAll('#log li'), (line) => line.textContent).join()`
	browser.Await(tab, t, `after !== undefined`)
	s.run("sidecast publish chat 1")
	browser.Await(tab, t, lines+` === "1"`)
	proxy.Refuse(true)
	proxy.Reset()
	for _, said := range []string{"2", "3"} {
		s.run("sidecast publish chat " + said)
	}
	proxy.Refuse(false)
	browser.Await(tab, t, lines+` === "1,2,3"`)
	s.run("sidecast publish chat 4")
	browser.Await(tab, t, lines+` === "1,2,3,4"`)
}
