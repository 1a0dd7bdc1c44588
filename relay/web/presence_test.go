package web_test

import (
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
)

// awaitValue waits for an event of a kind with a value, from the nth event on,
// and returns the number of the event after it. A user who has joined just now
// can be missing in a list of members, and is then reported.
func awaitValue(script *nodeProcess, kind string, n int, value string) int {
	script.t.Helper()
	for ; script.await(kind, n) != value; n++ {
	}
	return n + 1
}

// Two users at two relays see each other come and go, but not that one of them
// loads the page again. The first page is the snippet of the README.
func TestMembers(t *testing.T) {
	settings := map[string]string{
		"SIDECAST_CHANNELS": "room:*", "SIDECAST_PUBLIC_CHANNELS": "room:*", "SIDECAST_PUBLISH_CHANNELS": "room:*",
		"SIDECAST_PRESENCE_CHANNELS": "room:*", "SIDECAST_JWT_SECRET": tokenSecret,
	}
	first, redis := startProcess(t, settings)
	settings["SIDECAST_REDIS_URL"] = redis.URL()
	second := relaytest.Start(t, settings)
	second.AwaitReady()
	proxy := faultproxy.Start(t, second.Addr())
	dir := npmInstall(t, "ws@8")
	config, err := json.Marshal(map[string]any{
		"annURL": first.URL(), "ann": token(t, "ann", jwt.MapClaims{"info": map[string]string{"name": "Ann"}}),
		"bobURL": "ws://" + proxy.Addr + "/ws", "bob": token(t, "bob", jwt.MapClaims{"info": map[string]string{"name": "Bob"}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	script := node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+emit+`
const config = JSON.parse(process.argv[2])
const open = (url, token) => connect(url, { WebSocket, token: () => token })
const ann = open(config.annURL, config.ann)
{
	const relay = ann
	const console = { log: (...values) => emit('ann', values) }
	`+readmeSnippet(t, "js", "presence: true")+`
	room.on('error', (error) => emit('error', String(error)))
	room.on('message', (m) => emit('message', m.data))
}
const bob = open(config.bobURL, config.bob)
let room
const enter = () => {
	room = bob.channel('room:7', { presence: true, load: () => emit('load') })
	for (const event of ['members', 'join']) room.on(event, () => emit('bob', [...room.members].sort()))
}
bob.on('state', ({ state }) => emit('state', state))
for await (const line of (await import('node:readline')).createInterface({ input: process.stdin })) {
	if (line === 'enter') enter()
	if (line === 'leave') room.close()
	if (line === 'publish') await room.publish('hello')
	emit('done', line)
}`, string(config))
	want := func(kind string, n int, values ...string) {
		t.Helper()
		for i, value := range values {
			if got := script.await(kind, n+i); got != value {
				t.Errorf("event %d of %q: %s, want %s", n+i, kind, got, value)
			}
		}
	}
	say := func(line string) { _, _ = io.WriteString(script.stdin, line+"\n") }

	want("ann", 0, `[1,["ann"]]`)
	say("enter")
	const both = `[["ann",{"name":"Ann"}],["bob",{"name":"Bob"}]]`
	known := awaitValue(script, "bob", 0, both)
	want("ann", 1, `["bob","is here",{"name":"Bob"}]`, `[2,["ann","bob"]]`)

	proxy.Cut()
	want("bob", known, both)
	say("publish")
	want("message", 0, "hello")

	say("leave")
	want("ann", 3, `["bob","has left"]`, `[1,["ann"]]`)
	for _, event := range script.since(0) {
		if event.Kind == "error" {
			t.Errorf("the page has received %s", event.Value)
		}
	}
	states := script.awaitAll("state", 4)
	if !slices.Equal(states, []string{"open", "waiting", "connecting", "open"}) {
		t.Errorf("the states are %q", states)
	}
}

// Laravel Echo reports members as with Pusher.
func TestEchoMembers(t *testing.T) {
	t.Parallel()
	relay, _ := startProcess(t, map[string]string{
		"SIDECAST_CHANNELS": "presence-*", "SIDECAST_PUBLIC_CHANNELS": "presence-*", "SIDECAST_PRESENCE_CHANNELS": "presence-*",
		"SIDECAST_JWT_SECRET": tokenSecret,
	})
	dir := npmInstall(t, "ws@8", "laravel-echo@2")
	script := node(t, dir, "import { WebSocket } from 'ws'\nimport Echo from 'laravel-echo'\nimport { SidecastConnector } from 'sidecast/echo'\n"+emit+`
const [url, ann, bob] = process.argv.slice(2)
const join = (name, token) => {
	const echo = new Echo({ broadcaster: SidecastConnector, url, WebSocket, token: () => token })
	let all
	const show = (members) => emit(name, (all = members).map(({ id, name }) => id + name).sort().join())
	echo.join('room').here(show).joining((member) => show([...all, member])).leaving(({ id }) => show(all.filter((each) => each.id !== id)))
	return echo
}
join('ann', ann)
let other
for await (const line of (await import('node:readline')).createInterface({ input: process.stdin })) {
	if (line === 'join') other = join('bob', bob)
	else other.leave('room')
}`, relay.URL(), token(t, "1", jwt.MapClaims{"info": map[string]string{"name": "Ann"}}), token(t, "2", jwt.MapClaims{"info": map[string]string{"name": "Bob"}}))
	awaitValue(script, "ann", 0, "1Ann")
	_, _ = io.WriteString(script.stdin, "join\n")
	n := awaitValue(script, "ann", 0, "1Ann,2Bob")
	awaitValue(script, "bob", 0, "1Ann,2Bob")
	_, _ = io.WriteString(script.stdin, "leave\n")
	awaitValue(script, "ann", n, "1Ann")
}

// Without a login, nobody is a member, and a channel that has no members says
// which setting is missing.
func TestNoMembers(t *testing.T) {
	relay, _ := startProcess(t, map[string]string{"SIDECAST_PRESENCE_CHANNELS": "chat"})
	dir := npmInstall(t, "ws@8")
	script := node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+emit+`
const relay = connect(process.argv[2], { WebSocket })
for (const name of ['chat', 'chat:1']) {
	relay.channel(name, { presence: true }).on('error', (error) => emit(name, error.code + ' ' + error.message))
}`, relay.URL())
	for name, want := range map[string]string{
		"chat":   "unauthorized presence is for users who are logged in",
		"chat:1": "bad_request presence is for the channels of SIDECAST_PRESENCE_CHANNELS only",
	} {
		if got := script.await(name, 0); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
