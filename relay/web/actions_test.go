package web_test

import (
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// token returns a token of a user, with more claims.
func token(t *testing.T, user string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": user, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The application subscribes a user to a channel that the page does not know and
// to which the user has no right, ends the subscription, begins it again, and
// disconnects the user.
func TestControlledSubscriptions(t *testing.T) {
	relay, redis := startProcess(t, map[string]string{
		"SIDECAST_CHANNELS": "chat,room:*", "SIDECAST_PUBLIC_CHANNELS": "chat", "SIDECAST_JWT_SECRET": tokenSecret,
	})
	dir := npmInstall(t, "ws@8")
	script := node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+emit+`
const [url, token] = process.argv.slice(2)
const relay = connect(url, { WebSocket, token: () => token })
relay.on('state', ({ state, code }) => state === 'closed' && emit('closed', code))
relay.channel('chat', { load: () => emit('load', 'chat') })
`+readmeSnippet(t, "js", "relay.on('subscribed'")+`
relay.on('subscribed', ({ channel }) => {
	const room = relay.channel(channel, { load: () => emit('load', channel) })
	room.on('error', (error) => emit('error', error.code))
	room.on('gap', (gap) => emit('gap', gap.reason))
})`, relay.URL(), token(t, "42", nil))
	control := func(action string) {
		redis.CLI("PUBLISH", "sidecast:control", `{"action":"`+action+`","user":"42","channel":"room:9"}`)
	}
	script.await("load", 0)
	control("subscribe")
	script.await("load", 1)
	redis.CLI("PUBLISH", "room:9", "first")
	if got := script.await("output", 0); got != "room:9 first" {
		t.Errorf("the page has received %q", got)
	}

	control("unsubscribe")
	if got := script.await("error", 0); got != "control" {
		t.Errorf("the channel has the error %q", got)
	}
	redis.CLI("PUBLISH", "room:9", "meanwhile")
	control("subscribe")
	if got := script.await("gap", 0); got != "unrecovered" {
		t.Errorf("the gap is %q", got)
	}
	redis.CLI("PUBLISH", "room:9", "second")
	if got := script.await("output", 1); got != "room:9 second" {
		t.Errorf("the page has received %q", got)
	}

	control("disconnect")
	if got := script.await("closed", 0); got != "4409" {
		t.Errorf("the connection was closed with %s", got)
	}
}
