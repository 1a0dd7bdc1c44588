package through_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/through"
)

// How a connection ends is visible: with a FIN, a reset, or a message that does
// not pass.
func TestNetwork(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	relay := relaytest.Start(t, map[string]string{
		"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "public:*",
	})
	relay.AwaitReady()
	for _, tt := range []struct {
		comment string
		before  func(*faultproxy.Proxy)
		during  func(*faultproxy.Proxy)
		wants   []string
	}{
		{"a FIN", nil, (*faultproxy.Proxy).Cut, []string{
			"fail idle WebSocket: was cut after ", "by a FIN without a close frame", "fail idle event stream: was cut after ",
		}},
		{"a reset", nil, (*faultproxy.Proxy).Reset, []string{
			"fail idle WebSocket: was cut after ", "by a reset (RST)", "fail idle event stream: was cut after ",
		}},
		{"a limit of size", func(p *faultproxy.Proxy) { p.ResetAfter(faultproxy.ToServer, 9000) }, (*faultproxy.Proxy).Cut, []string{
			"ok WebSocket: works", "fail messages of pages: of 8 KiB do not pass: by a reset (RST)", "a CDN",
		}},
		{"no answer", func(p *faultproxy.Proxy) { p.Refuse(true) }, nil, []string{
			"fail WebSocket: the handshake gets no answer: ",
		}},
		{"nothing", nil, func(*faultproxy.Proxy) { relay.Kill() }, []string{"fail idle WebSocket: was cut after "}},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			proxy := faultproxy.Start(t, relay.Addr())
			if tt.before != nil {
				tt.before(proxy)
			}
			u, err := through.Parse("http://" + proxy.Addr + "/ws")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
			defer cancel()
			var out strings.Builder
			var once sync.Once
			through.Check(ctx, through.Config{
				URL: u, Channel: "public:1", Idle: relaytest.Patience,
				Report: func(f source.Finding) { fmt.Fprintf(&out, "%s %s: %s\n%s\n", f.Level, f.Subject, f.Text, f.Do) },
				Wait:   func(_, _ time.Duration) { once.Do(func() { tt.during(proxy) }) },
			})
			for _, want := range tt.wants {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &out)
				}
			}
		})
	}
}
