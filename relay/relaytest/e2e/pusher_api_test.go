package e2e_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/access"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

const pusherSecret = "7ad3773142a6692b25b8"

var pusherApp = access.NewApp("3", "278d425bdf160c739803", pusherSecret)

// pusherSettings are those of a relay with the HTTP API of pusherApp.
func pusherSettings(server *redistest.Server, more map[string]string) map[string]string {
	settings := openSettings(server, map[string]string{
		"SIDECAST_PUSHER_APP_ID": pusherApp.ID, "SIDECAST_PUSHER_KEY": pusherApp.Key, "SIDECAST_PUSHER_SECRET": pusherSecret,
	})
	delete(settings, "SIDECAST_PUBLISH_CHANNELS")
	maps.Copy(settings, more)
	return settings
}

// callAPI sends a request to the HTTP API at addr, and returns the status and
// the body of the answer. A request with a body is a POST.
func callAPI(t testing.TB, addr, path, body string, header ...string) (int, string) {
	t.Helper()
	method, query := http.MethodGet, fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0", pusherApp.Key, time.Now().Unix())
	if body != "" {
		sum := md5.Sum([]byte(body))
		method, query = http.MethodPost, query+"&body_md5="+hex.EncodeToString(sum[:])
	}
	path = "/apps/" + pusherApp.ID + path
	signature := pusherApp.Sign(method + "\n" + path + "\n" + query)
	url := "http://" + addr + path + "?" + query + "&auth_signature=" + signature
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true // as PHP does
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// eventBody returns the body of a request that publishes an event, and the
// message that it becomes in Redis.
func eventBody(name, data string, channels ...string) (body, message string) {
	encode := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	body = fmt.Sprintf(`{"name":%s,"data":%s,"channels":%s}`, encode(name), encode(data), encode(channels))
	return body, fmt.Sprintf(`{"event":%s,"data":%s,"socket":null}`, encode(name), encode(data))
}

// trigger publishes an event until the answer is that Redis has accepted it:
// Redis has a second for each message, which can be too short on a loaded
// machine.
func trigger(t testing.TB, addr, body string) {
	t.Helper()
	eventually(t, func() string {
		status, answer := callAPI(t, addr, "/events", body)
		switch {
		case status == http.StatusServiceUnavailable:
			return answer
		case status != http.StatusOK || answer != "{}":
			t.Fatalf("%d %s", status, answer)
		}
		return ""
	})
}

// TestPusherAPIByPHP: clients receive what PHP publishes over the HTTP API, in
// Laravel's form, on live and durable channels, at a path below a base path,
// which pusher-php-server does not sign.
func TestPusherAPIByPHP(t *testing.T) {
	t.Parallel()
	requirePHP(t)
	server := redistest.Start(t)
	relay := start(t, pusherSettings(server, map[string]string{
		"SIDECAST_BASE_PATH": "/push", "SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_CHANNEL_PREFIX": "laravel_database_",
	}))
	ws := "ws://" + relay.Addr() + "/push/ws"
	v1 := dial(t, &relaytest.Dialer{URL: ws})
	if err := v1.Subscribe(t.Context(), "chat", "chat ü", "order:7"); err != nil {
		t.Fatal(err)
	}
	raw := dial(t, &relaytest.Dialer{URL: ws, Protocol: relaytest.Raw, Channels: []string{"chat"}})
	if err := raw.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	php := func(want, server, secret, body string, arguments ...string) {
		t.Helper()
		eventually(t, func() string {
			cmd := exec.Command("php", append([]string{"testdata/pusher.php", server, pusherApp.ID, pusherApp.Key, secret}, arguments...)...)
			out, err := withInput(cmd, body).CombinedOutput()
			if strings.HasPrefix(string(out), "503 ") {
				return string(out) // Redis is too slow on a loaded machine
			}
			if err != nil || !strings.HasPrefix(string(out), want) {
				t.Fatalf("%v, %s, want %s", err, out, want)
			}
			return ""
		})
	}
	const data = `{\"text\":\"gr\\u00fc\\u00dfe \\\/ \\\"x\\\"\"}` // json_encode twice
	body := `{"name":"App\\Events\\Sent","data":"` + data + `","channels":["chat","chat \u00fc","order:7"]}`
	want := `{"event":"App\\Events\\Sent","data":"` + data + `","socket":null}`
	url := "http://" + relay.Addr() + "/push"
	php("200 {}", url, pusherSecret, body, "POST", "/events")
	for _, channel := range []string{"chat", "chat ü", "order:7"} {
		awaitNewest(t, v1, channel, want)
	}
	if got := hears(t, raw, 1)[0].Data; got != want {
		t.Errorf("a raw client received %s, want %s", got, want)
	}
	php(`200 {"users":[]}`, url, pusherSecret, "", "GET", "/channels/presence-a b/users")
	php("400 ", url, pusherSecret, "", "GET", "/channels/chat", "info=other")
	php("401 ", url, "another secret", body, "POST", "/events")
	php("404 ", "http://"+relay.Addr(), pusherSecret, body, "POST", "/events") // without the base path
}

// TestPusherAPIReplicas: two relays behind HAProxy. An event that one of them
// receives over HTTP is received by the clients of both, whichever it is. While
// Redis is stopped, each answers 503, and no client receives anything. When Redis
// is back, so is the API.
func TestPusherAPIReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.FreeAddr(t)
	relays := []*relaytest.Process{start(t, pusherSettings(server, nil)), start(t, pusherSettings(server, nil))}
	startHAProxy(t, proxy, relays[0].Addr(), relays[1].Addr())
	relays[0].AwaitStatus("http://"+proxy+"/readyz", http.StatusOK)
	clients := []*relaytest.Client{listen(t, relays[0], "chat"), listen(t, relays[1], "chat")}
	receive := func(message string) {
		t.Helper()
		for _, client := range clients {
			awaitNewest(t, client, "chat", message)
		}
	}
	for path, want := range map[string]string{
		"/connections":   `{"connections":2}`,
		"/channels":      `{"channels":{"chat":{}}}`,
		"/channels/chat": `{"occupied":true}`,
	} {
		eventually(t, func() string { // within 5 s
			if status, answer := callAPI(t, proxy, path, ""); status != http.StatusOK || answer != want {
				return fmt.Sprintf("%s: %d %s, want %s", path, status, answer, want)
			}
			return ""
		})
	}
	for i, addr := range []string{relays[0].Addr(), relays[1].Addr(), proxy, proxy, proxy, proxy} {
		body, message := eventBody("posted", fmt.Sprint(i), "chat")
		trigger(t, addr, body)
		receive(message)
	}

	server.Kill()
	body, message := eventBody("posted", "while Redis is stopped", "chat")
	for _, addr := range []string{relays[0].Addr(), relays[1].Addr(), proxy, proxy} {
		status, answer := callAPI(t, addr, "/events", body)
		if status != http.StatusServiceUnavailable || addr != proxy && !strings.HasPrefix(answer, `{"error":"Redis is unavailable`) {
			t.Errorf("without Redis: %d %s", status, answer)
		}
		if strings.Contains(answer, server.Addr) {
			t.Errorf("the answer names the server: %s", answer)
		}
	}
	server.Restart()
	for _, relay := range relays {
		relay.AwaitStatus("http://"+relay.Addr()+"/readyz?redis=1", http.StatusOK)
	}
	lastBody, last := eventBody("posted", "after that", "chat")
	trigger(t, proxy, lastBody)
	receive(last)
	for i, client := range clients {
		if slices.Contains(receivedOn(client, "chat"), message) {
			t.Errorf("client %d received an event that was refused", i)
		}
	}
}

// TestPusherAPIUsers: users are members at another relay than the one that is
// asked, and their connections to both end with one request. The login cannot be
// used again.
func TestPusherAPIUsers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := pusherSettings(server, map[string]string{"SIDECAST_JWT_SECRET": jwtSecret})
	relays := []*relaytest.Process{start(t, settings), start(t, settings)}
	connect := func(relay *relaytest.Process, user string) *relaytest.Client {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": user, "iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(), "channels": []string{"presence-*"},
		}).SignedString([]byte(jwtSecret))
		if err != nil {
			t.Fatal(err)
		}
		return dial(t, &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token." + token}})
	}
	both := []*relaytest.Client{connect(relays[0], "42"), connect(relays[1], "42")}
	other := connect(relays[0], "43")
	for _, client := range append(both, other) {
		if err := client.Subscribe(t.Context(), "presence-room"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string {
		status, answer := callAPI(t, relays[1].Addr(), "/channels/presence-room/users", "")
		if status != http.StatusOK || !strings.Contains(answer, `{"id":"42"}`) || !strings.Contains(answer, `{"id":"43"}`) {
			return fmt.Sprint(status, answer)
		}
		return ""
	})
	eventually(t, func() string {
		if status, answer := callAPI(t, relays[0].Addr(), "/users/42/terminate_connections", "{}"); status != http.StatusOK || answer != "{}" {
			return fmt.Sprint(status, answer)
		}
		return ""
	})
	for _, client := range both {
		wantClose(t, client, 4409)
	}
	again := connect(relays[1], "42")
	if _, err := again.Await(t.Context(), relaytest.Is(relaytest.KindClose)); err != nil {
		t.Errorf("the login is accepted again: %v", err)
	}
	body, _ := eventBody("e", "", "presence-room")
	trigger(t, relays[0].Addr(), body)
	hears(t, other, 1)
}

// TestPusherAPIRefused: a relay with real settings refuses what it must, and
// Redis gets nothing of it.
func TestPusherAPIRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := pusherSettings(server, map[string]string{"SIDECAST_CHANNELS": "chat,private-*"})
	relay := start(t, settings)
	without := start(t, with(settings, "SIDECAST_PUSHER_APP_ID", ""))
	published := subscribeAll(t, server)
	body, _ := eventBody("e", "a message that nobody may receive", "chat")
	for _, tt := range []struct {
		name   string
		addr   string
		body   string
		header []string
		status int
		text   string
	}{
		{"a page of the same host", relay.Addr(), body, []string{"Origin", "http://" + relay.Addr()}, 403, "secret"},
		{"a page of another site", relay.Addr(), body, []string{"Origin", "https://evil.example"}, 403, ""},
		{"a channel that is not relayed", relay.Addr(), strings.Replace(body, "chat", "presence-a", 1), nil, 422, "SIDECAST_CHANNELS"},
		{"a reserved channel", relay.Addr(), strings.Replace(body, "chat", "sidecast:control", 1), nil, 400, "reserved"},
		{"a name of Redis", relay.Addr(), strings.Replace(body, "chat", "__keyspace@0__:x", 1), nil, 400, "reserved"},
		{"an event of 1 MiB", relay.Addr(), strings.Replace(body, "nobody", strings.Repeat("x", 1<<20), 1), nil, 413, "SIDECAST_MAX_PAYLOAD_BYTES"},
		{"without the id of an application", without.Addr(), body, nil, 404, "SIDECAST_PUSHER_APP_ID"},
	} {
		if status, answer := callAPI(t, tt.addr, "/events", tt.body, tt.header...); status != tt.status || !strings.Contains(answer, tt.text) {
			t.Errorf("%s: %d %s, want %d and %q", tt.name, status, answer, tt.status, tt.text)
		}
	}
	for _, message := range published(t) {
		if strings.Contains(message.Payload, "nobody may receive") {
			t.Errorf("Redis received %q on %s", message.Payload, message.Channel)
		}
	}
	if n := total(t, relay, "sidecast_pusher_api_requests_total{"); n != 5 { // the origin check refused one of them
		t.Errorf("%v requests are counted", n)
	}
}

// TestPusherAPIWhenFull: the application can publish although clients have taken
// all places.
func TestPusherAPIWhenFull(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := start(t, pusherSettings(server, map[string]string{"SIDECAST_MAX_CONNECTIONS": "2"}))
	clients := []*relaytest.Client{listen(t, relay, "chat"), listen(t, relay, "chat")}
	for i := range 20 {
		body, message := eventBody("e", fmt.Sprint(i), "chat")
		trigger(t, relay.Addr(), body)
		for _, client := range clients {
			awaitNewest(t, client, "chat", message)
		}
	}
}

// A pusherClient is a client of the Pusher protocol.
type pusherClient struct {
	*relaytest.Client
	t      testing.TB
	socket string // its id
}

// dialPusher connects a client of the Pusher protocol that has subscribed to
// chat.
func dialPusher(t testing.TB, relay *relaytest.Process) *pusherClient {
	t.Helper()
	url := "ws://" + relay.Addr() + "/app/" + pusherApp.Key + "?protocol=7"
	c := &pusherClient{t: t, Client: dial(t, &relaytest.Dialer{URL: url, Protocol: relaytest.Raw})}
	var established struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(c.receives("pusher:connection_established")), &established); err != nil {
		t.Fatal(err)
	}
	c.socket = established.SocketID
	c.subscribe("chat")
	return c
}

// receives waits for an event, and returns its data.
func (c *pusherClient) receives(event string) string {
	c.t.Helper()
	var frame struct{ Event, Data string }
	_, err := c.Await(c.t.Context(), func(e relaytest.Event) bool {
		frame.Event = ""
		return e.Kind == relaytest.KindMessage && json.Unmarshal([]byte(e.Data), &frame) == nil && frame.Event == event
	})
	if err != nil {
		c.t.Fatalf("awaiting %s: %v\nreceived: %v", event, err, c.Events())
	}
	return frame.Data
}

// received reports whether the client has received an event.
func (c *pusherClient) received(event string) bool {
	return slices.ContainsFunc(eventsOf(c.Client, relaytest.KindMessage), func(e relaytest.Event) bool {
		return strings.Contains(e.Data, `"event":"`+event+`"`)
	})
}

func (c *pusherClient) sends(text string) {
	c.t.Helper()
	if err := c.SendText(text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *pusherClient) subscribe(channel string) {
	c.t.Helper()
	c.sends(`{"event":"pusher:subscribe","data":{"channel":"` + channel + `","auth":""}}`)
	if _, err := c.Await(c.t.Context(), func(e relaytest.Event) bool {
		return strings.Contains(e.Data, `"pusher_internal:subscription_succeeded","channel":"`+channel+`"`)
	}); err != nil {
		c.t.Fatalf("subscribing to %s: %v\nreceived: %v", channel, err, c.Events())
	}
}

// TestPusherAPIToPusherClients: clients of the Pusher protocol receive what is
// published over HTTP at another relay, apart from the one that is left out. A
// user who has signed in receives the events that are sent to the user, and the
// application ends the user's connections, to both relays.
func TestPusherAPIToPusherClients(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relays := []*relaytest.Process{start(t, pusherSettings(server, nil)), start(t, pusherSettings(server, nil))}
	sender, other, stranger := dialPusher(t, relays[0]), dialPusher(t, relays[1]), dialPusher(t, relays[1])
	body, _ := eventBody("toOthers", `{"text":"grüße"}`, "chat")
	trigger(t, relays[1].Addr(), strings.Replace(body, "{", `{"socket_id":"`+sender.socket+`",`, 1))
	if data := other.receives("toOthers"); data != `{"text":"grüße"}` {
		t.Errorf("received %s", data)
	}
	body, _ = eventBody("toAll", "", "chat")
	trigger(t, relays[1].Addr(), body)
	if sender.receives("toAll"); sender.received("toOthers") {
		t.Error("the client that is left out has received the event")
	}

	for _, c := range []*pusherClient{sender, other} {
		user := `{"id":"42"}`
		c.sends(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%q}}`, pusherApp.SignUser(c.socket, user), user))
		c.receives("pusher:signin_success")
		c.subscribe("#server-to-user-42")
	}
	body, _ = eventBody("toUser", "1", "#server-to-user-42")
	trigger(t, relays[0].Addr(), body)
	sender.receives("toUser")
	other.receives("toUser")
	eventually(t, func() string {
		if status, answer := callAPI(t, relays[0].Addr(), "/users/42/terminate_connections", "{}"); status != http.StatusOK {
			return fmt.Sprint(status, answer)
		}
		return ""
	})
	wantClose(t, sender.Client, 4009)
	wantClose(t, other.Client, 4009)
	body, _ = eventBody("last", "", "chat")
	trigger(t, relays[0].Addr(), body)
	if stranger.receives("last"); stranger.received("toUser") {
		t.Error("another client has received an event for the user")
	}
	again := dialPusher(t, relays[1]) // the user may return, with a new signature
	again.sends(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%q}}`, pusherApp.SignUser(again.socket, `{"id":"42"}`), `{"id":"42"}`))
	again.receives("pusher:signin_success")
	again.subscribe("#server-to-user-42")
}
