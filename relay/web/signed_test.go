package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/access"
)

const channelSecret = "another secret of the test, of at least 32 bytes"

// serveSignatures returns a URL that answers with a new signature of a channel
// for a user. It expires soon.
func serveSignatures(t *testing.T) (url string, served *atomic.Int64) {
	secrets := access.NewChannelSecrets(channelSecret)
	served = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, secrets.Sign(r.FormValue("channel"), r.FormValue("user"), time.Now().Add(3*time.Second)))
	}))
	t.Cleanup(server.Close)
	return server.URL, served
}

// Signatures expire and are renewed, over both transports: no message is missing
// or repeated, and the page notices nothing.
func TestRenewedSignatures(t *testing.T) {
	blocked := "class { constructor() { setTimeout(() => this.onclose({ code: 1006 })) } close() {} }"
	for name, webSocket := range map[string]string{"WebSocket": "WebSocket", "event streams": blocked} {
		t.Run(name, func(t *testing.T) {
			relay, redis := startProcess(t, map[string]string{
				"SIDECAST_CHANNELS": "job:*", "SIDECAST_PUBLIC_CHANNELS": "job:public", "SIDECAST_CHANNEL_SECRET": channelSecret,
			})
			url, served := serveSignatures(t)
			dir := npmInstall(t, "ws@8")
			script := node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+emit+`
const [url, signer] = process.argv.slice(2)
const relay = connect(url, { sse: true, WebSocket: `+webSocket+` })
const open = (name, user) => {
	const sig = async (channel) => (await globalThis.fetch(signer + '?channel=' + channel + '&user=' + (user ?? ''))).text()
	const channel = relay.channel(name, { sig, user, load: () => emit('load', name) })
	channel.on('message', (m) => emit(name, Number(m.data)))
	channel.on('gap', (gap) => emit('problem', gap.reason))
	channel.on('error', ({ code }) => code !== 'unavailable' && emit('problem', String(code))) // expired on its way
}
open('job:7')
open('order:8', '42')`, relay.URL(), url)
			script.awaitAll("load", 2)
			for n := 0; served.Load() < 8; n++ {
				redis.CLI("PUBLISH", "job:7", fmt.Sprint(n))
				redis.CLI("XADD", "order:8", "*", "data", fmt.Sprint(n))
				redis.CLI("PUBLISH", "order:8", "")
				for _, channel := range []string{"job:7", "order:8"} {
					if got := script.await(channel, n); got != fmt.Sprint(n) {
						t.Fatalf("message %d of %s is %s", n, channel, got)
					}
				}
			}
			for _, event := range script.since(0) {
				if event.Kind == "problem" {
					t.Errorf("the page has received %s", event.Value)
				}
			}
		})
	}
}

// A page whose signature is a text is told that it has expired, and one with a
// wrong signature that the channel is forbidden.
func TestFixedSignatures(t *testing.T) {
	relay, _ := startProcess(t, map[string]string{"SIDECAST_CHANNELS": "job:*", "SIDECAST_CHANNEL_SECRET": channelSecret})
	secrets := access.NewChannelSecrets(channelSecret)
	dir := npmInstall(t, "ws@8")
	script := node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+emit+`
const [url, sig] = process.argv.slice(2)
const relay = connect(url, { WebSocket })
for (const name of ['job:7', 'job:8']) relay.channel(name, { sig }).on('error', (error) => emit(name, error.code))
`, relay.URL(), secrets.Sign("job:7", "", time.Now().Add(10*time.Second)))
	for name, want := range map[string]string{"job:7": "expired", "job:8": "forbidden"} {
		if got := script.await(name, 0); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
