package control_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

const secret = "a secret of 32 bytes and then some"

func init() { logging.Disable() } // go-redis logs every attempt to reach a Redis that a test has cut off

// start runs a relay whose Redis is at addr. Everyone may receive live. It logs
// JSON.
func start(t testing.TB, addr string, more map[string]string) *relaytest.Process {
	t.Helper()
	settings := map[string]string{
		"SIDECAST_REDIS_URL": "redis://" + addr, "SIDECAST_CHANNELS": "live,room:*", "SIDECAST_PUBLIC_CHANNELS": "live",
		"SIDECAST_JWT_SECRET": secret, "SIDECAST_LOG_FORMAT": "json",
	}
	maps.Copy(settings, more)
	relay := relaytest.Start(t, settings)
	relay.AwaitReady()
	return relay
}

// token returns a token of a user that was issued at a time, with an id unless
// it is empty.
func token(t testing.TB, user string, issued time.Time, id string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix()}
	if id != "" {
		claims["jti"] = id
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// dial connects a client that presents a token.
func dial(t testing.TB, relay *relaytest.Process, token string) *relaytest.Client {
	t.Helper()
	return connect(t, &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.token." + token, "sidecast.v1"}})
}

// dialCookie connects a client that presents a cookie.
func dialCookie(t testing.TB, relay *relaytest.Process, cookie string) *relaytest.Client {
	t.Helper()
	return connect(t, &relaytest.Dialer{URL: relay.URL(), Header: http.Header{"Cookie": {cookie}}})
}

func connect(t testing.TB, d *relaytest.Dialer) *relaytest.Client {
	t.Helper()
	client, err := d.Dial(t.Context())
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(client.Drop)
	return client
}

func await(t testing.TB, c *relaytest.Client, what string, match func(relaytest.Event) bool) relaytest.Event {
	t.Helper()
	e, err := c.Await(t.Context(), match)
	if err != nil {
		t.Fatalf("awaiting %s: %v\nreceived: %v", what, err, c.Events())
	}
	return e
}

// wantClose waits until the client's connection is closed with a code.
func wantClose(t testing.TB, c *relaytest.Client, what string, code uint16) {
	t.Helper()
	if e := await(t, c, what, relaytest.Is(relaytest.KindEnd)); e.Code != code {
		t.Errorf("%s: closed with %d, want %d\nreceived: %v", what, e.Code, code, c.Events())
	}
}

// subscribe subscribes the client to a channel.
func subscribe(t testing.TB, c *relaytest.Client, channel string) {
	t.Helper()
	if err := c.Subscribe(t.Context(), channel); err != nil {
		t.Fatalf("subscribing to %s: %v", channel, err)
	}
}

// An application uses Redis as the relays do, but not through their proxy.
type application struct {
	t     testing.TB
	redis *redis.Client
}

func newApplication(t testing.TB, server *redistest.Server) *application {
	client := relaytest.NewRedis(server.Addr, time.Minute)
	t.Cleanup(func() { _ = client.Close() })
	return &application{t, client}
}

// revoke revokes a login now.
func (a *application) revoke(member string) {
	a.t.Helper()
	entry := redis.Z{Score: float64(time.Now().UnixMilli()), Member: member}
	if err := a.redis.ZAdd(a.t.Context(), "sidecast:revoked", entry).Err(); err != nil {
		a.t.Fatal(err)
	}
}

// control publishes a control message.
func (a *application) control(format string, args ...any) {
	a.t.Helper()
	if err := a.redis.Publish(a.t.Context(), "sidecast:control", fmt.Sprintf(format, args...)).Err(); err != nil {
		a.t.Fatal(err)
	}
}

// kick does what the README says about a logout. It returns in a later
// millisecond than that of the revocation, so that the user can log in again.
func (a *application) kick(user string) {
	a.t.Helper()
	a.revoke("user:" + user)
	for revoked := time.Now().UnixMilli(); time.Now().UnixMilli() == revoked; {
		time.Sleep(100 * time.Microsecond)
	}
	a.control(`{"action":"disconnect","user":%q}`, user)
}
