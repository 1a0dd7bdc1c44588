package web_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
)

// Pusher's library for Node publishes to a relay, and its errors say what to
// do.
func TestPusherLibraryForNode(t *testing.T) {
	t.Parallel()
	const id, key, secret = "3", "278d425bdf160c739803", "7ad3773142a6692b25b8"
	relay, _ := startProcess(t, map[string]string{
		"SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
		"SIDECAST_PUSHER_APP_ID": id, "SIDECAST_PUSHER_KEY": key, "SIDECAST_PUSHER_SECRET": secret,
	})
	client, err := (&relaytest.Dialer{URL: relay.URL()}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Drop()
	if err := client.Subscribe(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(relay.Addr(), ":")
	script := node(t, npmInstall(t, "pusher@5"), "import Pusher from 'pusher'\n"+emit+`
const [host, port, appId, key, secret] = process.argv.slice(2)
const pusher = new Pusher({ appId, key, secret, host, port, useTLS: false })
const stranger = new Pusher({ appId, key, secret: secret + '!', host, port, useTLS: false })
for (const call of [
	() => pusher.trigger(['chat', 'private-chat'], 'App\\Events\\Sent', { text: 'grüße </b>' }),
	() => pusher.triggerBatch([{ channel: 'chat', name: 'first', data: '1' }, { channel: 'presence-a', name: 'second', data: { n: 2 } }]),
	() => pusher.sendToUser('42', 'hello', {}),
	() => pusher.terminateUserConnections('42'),
	() => pusher.get({ path: '/channels/presence-a/users' }),
	() => pusher.get({ path: '/channels/chat/users' }),
	() => stranger.trigger('chat', 'forged', {}),
]) {
	for (let answer; ;) {
		answer = await call().then((answer) => answer.text(), (error) => error.status + ' ' + error.body)
		if (!answer.startsWith('503')) { // Redis may be slow on a loaded machine
			emit('done', answer)
			break
		}
	}
}`, host, port, id, key, secret)
	for i, want := range []string{"{}", "{}", "{}", "{}", `{"users":[]}`, `400 {"error":"only presence channels`, `401 {"error":"wrong signature: SIDECAST_PUSHER_SECRET`} {
		if got := script.await("done", i); !strings.HasPrefix(got, want) {
			t.Errorf("call %d: %s, want %s", i, got, want)
		}
	}
	for _, want := range []struct{ event, data string }{{`App\Events\Sent`, `{"text":"grüße </b>"}`}, {"first", "1"}} {
		e, err := client.Await(t.Context(), func(e relaytest.Event) bool {
			var got struct{ Event, Data string }
			return e.Kind == relaytest.KindMessage && json.Unmarshal([]byte(e.Data), &got) == nil && got.Event == want.event && got.Data == want.data
		})
		if err != nil {
			t.Errorf("%s: %v, %v", want.event, e, err)
		}
	}
}
