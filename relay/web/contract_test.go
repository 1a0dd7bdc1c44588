package web_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

var (
	relayKills = flag.Int("relay-kills", 4, "how many relays TestContract kills")
	redisKills = flag.Int("redis-kills", 1, "how often TestContract kills Redis")
	silences   = flag.Int("silences", 1, "how often TestContract makes the network silent")
)

// contractScript is the program of the clients: it prints what an application
// sees. The load of a channel runs first when it is subscribed. The first client
// logs in, with tokens that expire soon.
const contractScript = `
function run({ connect, options, url, tokens, clients }, print) {
	clients.forEach((channels, client) => {
		const token = tokens && client === 0 ? async () => (await fetch(tokens)).text() : undefined
		const relay = connect(url, { ...options, token })
		const emit = (kind, value) => print(JSON.stringify({ kind, value: { client, ...value } }))
		relay.on('state', ({ state, code }) => emit('state', { state, code }))
		for (const name of channels) {
			const channel = relay.channel(name, { load: () => emit('load', { channel: name }) })
			channel.on('message', (m) => {
				emit('message', { channel: name, cursor: m.cursor, data: btoa(Array.from(m.bytes(), (b) => String.fromCharCode(b)).join('')) })
			})
			channel.on('gap', ({ reason }) => emit('gap', { channel: name, reason }))
			channel.on('error', (error) => emit('error', { channel: name, reason: String(error) }))
		}
	})
}
`

// A seenEvent is one that the application of a client sees.
type seenEvent struct {
	Client                         int
	Channel, Cursor, Reason, State string
	Data                           []byte
	Code                           int
}

// A seenClient is one client: all its connections are one session, in which an
// application must see no difference between one connection and several.
type seenClient struct {
	channels   []string
	session    relaytest.Session
	subscribed map[string]bool
	newest     map[string]string // payload by channel
	state      string
	waits      map[int]int // how often it waited, by close code
}

// A recorder is a running contractScript.
type recorder interface {
	// since returns the events from index n on.
	since(n int) []nodeEvent
}

// A contractWorld has two relays on one Redis. The clients connect to one of
// them, through a proxy.
type contractWorld struct {
	t         *testing.T
	redis     *redistest.Server
	relays    [2]*relaytest.Process
	connected int // the relay to which the proxy connects clients
	proxy     *faultproxy.Proxy
	faults    relaytest.FaultLog

	script  recorder
	read    int // events of the script
	clients []*seenClient

	live, durable *relaytest.Publisher

	fresh map[string]bool // the only payloads that count as the newest ones; nil: all do
}

// contractChannels are the channels of each client, with the pauses between two
// messages.
var contractChannels = map[string]time.Duration{
	"chat:1": 5 * time.Millisecond, "chat:2": 300 * time.Millisecond, "order:1": 30 * time.Millisecond,
	userChannel: 20 * time.Millisecond,
}

// userChannel is the own channel of the client that logs in.
const userChannel = "user:7"

// tokenLife is so short that several tokens expire in a run.
const tokenLife = 5 * time.Second

// TestContract: whatever happens to relays, Redis and the network, an
// application that uses the client misses no message without a gap and sees
// none twice, on each channel in the order of Redis. The long form:
//
//	go test ./relay/web -run TestContract -v -timeout 1h -relay-kills 200 -redis-kills 50 -silences 10
func TestContract(t *testing.T) {
	testContract(t, "WebSocket", *relayKills, *redisKills, *silences)
}

// TestContractOverStreams is [TestContract] for a network that blocks
// WebSocket. The number of faults is a quarter of that of the flags.
func TestContractOverStreams(t *testing.T) {
	testContract(t, "class { constructor() { setTimeout(() => this.onclose({ code: 1006 })) } close() {} }",
		(*relayKills+3)/4, (*redisKills+3)/4, (*silences+3)/4)
}

// testContract runs clients in Node whose WebSocket is a JavaScript expression.
func testContract(t *testing.T, webSocket string, relayKills, redisKills, silences int) {
	dir := npmInstall(t, "ws@8")
	w := newContractWorld(t)
	config := w.config(4)
	w.script = node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+contractScript+
		"run({ connect, options: { sse: true, WebSocket: "+webSocket+" }, ...JSON.parse(process.argv[2]) }, console.log)", config)
	w.awaitSubscriptions()
	client := relaytest.NewRedis(w.redis.Addr, time.Second)
	defer client.Close()
	stop := w.publish(client)
	for _, fault := range w.plan(relayKills, redisKills, silences) {
		w.pause(time.Duration(rand.IntN(2500)) * time.Millisecond)
		fault()
	}
	w.await("the end of a token", func(c *seenClient) bool { return c != w.clients[0] || c.waits[4401] > 0 })
	w.awaitNewMessages("the end of a token")
	stop()
	report := relaytest.Check(w.end(client))
	t.Logf("%v", report)
	for i, c := range w.clients {
		t.Logf("client %d has waited, by close code: %v", i, c.waits)
	}
	if report.Err() != nil {
		t.Error("the client broke the delivery guarantees")
	}
}

func newContractWorld(t *testing.T) *contractWorld {
	w := &contractWorld{t: t}
	w.redis = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always") // acknowledged entries survive a kill
	for i := range w.relays {
		w.relays[i] = w.startRelay()
	}
	w.proxy = faultproxy.Start(t, w.relays[0].Addr())
	return w
}

func (w *contractWorld) startRelay() *relaytest.Process {
	relay := relaytest.Start(w.t, map[string]string{
		"SIDECAST_REDIS_URL": w.redis.URL(), "SIDECAST_CHANNELS": "chat:*,user:*", "SIDECAST_DURABLE_CHANNELS": "order:*",
		"SIDECAST_PUBLIC_CHANNELS": "chat:*,order:*", "SIDECAST_JWT_SECRET": tokenSecret, "SIDECAST_ALLOWED_ORIGINS": "*", "SIDECAST_PING_INTERVAL": "2s", "SIDECAST_PONG_TIMEOUT": "1900ms",
	})
	relay.AwaitReady()
	return relay
}

const tokenSecret = "a secret of the test, 32 bytes long"

// serveTokens returns a URL that answers with a new token of user 7.
func serveTokens(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		claims := jwt.MapClaims{"sub": "7", "exp": time.Now().Add(tokenLife).Unix()}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(tokenSecret))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = io.WriteString(w, token)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// config adds clients and returns the configuration of their script, as JSON.
func (w *contractWorld) config(clients int) string {
	now := time.Now()
	var channels [][]string
	for i := range clients {
		c := &seenClient{
			session: relaytest.Session{Client: fmt.Sprint("sidecast.js ", i), Events: []relaytest.Event{
				{Kind: relaytest.KindOpened, At: now}, {Kind: relaytest.KindWelcome, At: now, N: 1},
			}},
			subscribed: make(map[string]bool), newest: make(map[string]string), waits: make(map[int]int),
		}
		for name := range contractChannels {
			if name != userChannel || i == 0 {
				c.channels = append(c.channels, name)
			}
		}
		w.clients, channels = append(w.clients, c), append(channels, c.channels)
	}
	text, err := json.Marshal(map[string]any{"url": "ws://" + w.proxy.Addr + "/ws", "tokens": serveTokens(w.t), "clients": channels})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func (w *contractWorld) awaitSubscriptions() {
	w.await("all subscriptions", func(c *seenClient) bool { return len(c.subscribed) == len(c.channels) })
}

// publish publishes on all channels until the function that it returns is
// called.
func (w *contractWorld) publish(client *redis.Client) (stop func()) {
	payloads := relaytest.Payloads{Sizes: []int{64, 64, 3000}, Bytes: relaytest.BytesHostile}
	w.live = relaytest.NewPublisher(relaytest.PublishTo(client), payloads)
	payloads.Bytes = relaytest.BytesBinary
	w.durable = relaytest.NewPublisher(relaytest.AppendTo(client, 0), payloads)
	ctx, cancel := context.WithCancel(w.t.Context())
	var publishing sync.WaitGroup
	for name, pause := range contractChannels {
		publishing.Go(func() { _ = w.publisher(name).Run(ctx, []string{name}, 0, pause) }) // it ends with ctx
	}
	stop = func() { cancel(); publishing.Wait() }
	w.t.Cleanup(stop)
	return stop
}

func (w *contractWorld) publisher(channel string) *relaytest.Publisher {
	if isDurable(channel) {
		return w.durable
	}
	return w.live
}

func isDurable(channel string) bool { return strings.HasPrefix(channel, "order:") }

// plan returns the faults in a random order.
func (w *contractWorld) plan(relayKills, redisKills, silences int) (faults []func()) {
	for _, kind := range []struct {
		n      int
		inject func()
	}{{relayKills, w.killRelay}, {redisKills, w.killRedis}, {silences, w.silence}} {
		for range kind.n {
			faults = append(faults, kind.inject)
		}
	}
	rand.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	return faults
}

// inject logs a fault that lasts until all clients have received a new message
// on each channel.
func (w *contractWorld) inject(name string, do func()) {
	began := time.Now()
	fault := w.faults.Begin(relaytest.Fault{Name: name, Gap: relaytest.Any, Offline: relaytest.Any})
	do()
	fault.Undone()
	w.awaitNewMessages(name)
	fault.Settled()
	w.t.Logf("%s took %v", name, time.Since(began).Round(time.Millisecond))
}

// awaitNewMessages waits until all clients have received, on each channel, a
// message that was published after this call began. Messages can be lost until
// the relay is connected again, so it publishes several.
func (w *contractWorld) awaitNewMessages(after string) {
	w.fresh = make(map[string]bool)
	for _, c := range w.clients {
		clear(c.newest)
	}
	var published time.Time
	w.await("new messages after "+after, func(c *seenClient) bool {
		if time.Since(published) > 100*time.Millisecond {
			published = time.Now()
			for name := range contractChannels {
				w.fresh[w.publisher(name).Publish(w.t.Context(), name).Payload] = true
			}
		}
		return len(c.newest) == len(c.channels)
	})
	w.fresh = nil
}

// killRelay kills the relay of the clients, which move to the other one.
func (w *contractWorld) killRelay() {
	w.inject("relay kill -9", func() {
		killed := w.connected
		w.connected = 1 - w.connected
		w.proxy.Retarget(w.relays[w.connected].Addr())
		w.relays[killed].Kill()
		w.relays[killed] = w.startRelay()
	})
}

func (w *contractWorld) killRedis() {
	w.inject("redis kill -9", func() {
		w.redis.Kill()
		w.pause(time.Duration(rand.IntN(1000)) * time.Millisecond)
		w.redis.Restart()
	})
}

// silence makes all connections dead without closing them, until the clients
// have noticed it.
func (w *contractWorld) silence() {
	w.inject("silence", func() {
		began := time.Now()
		w.proxy.Hold(faultproxy.Both...)
		w.await("the end of dead connections", disconnected)
		w.t.Logf("all clients have noticed the silence after %v; the heartbeat is 2s", time.Since(began).Round(time.Millisecond))
		w.proxy.Cut()
		w.proxy.Release(faultproxy.Both...)
	})
}

func disconnected(c *seenClient) bool { return c.state == "waiting" || c.state == "connecting" }

// await reads events until the condition holds for all clients.
func (w *contractWorld) await(what string, holds func(*seenClient) bool) {
	w.t.Helper()
	for began := time.Now(); ; w.pause(10 * time.Millisecond) {
		w.collect()
		all := true
		for _, c := range w.clients {
			all = all && holds(c)
		}
		if all {
			return
		}
		if time.Since(began) > relaytest.Patience {
			w.t.Fatalf("waiting for %s", what)
		}
	}
}

// collect adds the new events of the script to the logs of the clients.
func (w *contractWorld) collect() {
	for _, line := range w.script.since(w.read) {
		w.read++
		var seen seenEvent
		if err := json.Unmarshal(line.Value, &seen); err != nil {
			w.t.Fatalf("the script printed %s: %v", line.Value, err)
		}
		c := w.clients[seen.Client]
		switch line.Kind {
		case "state":
			c.state = seen.State
			if c.state == "waiting" {
				c.waits[seen.Code]++
			}
		case "error":
			w.t.Logf("client %d: error on %s: %s", seen.Client, seen.Channel, seen.Reason)
		default:
			c.add(line, seen)
			if line.Kind == "message" && (w.fresh == nil || w.fresh[string(seen.Data)]) {
				c.newest[seen.Channel] = string(seen.Data)
			}
		}
	}
}

// add adds an event to the log for the checker.
func (c *seenClient) add(line nodeEvent, seen seenEvent) {
	e := relaytest.Event{
		N: len(c.session.Events), At: line.At, Channel: seen.Channel, Cursor: seen.Cursor, Text: seen.Reason, Data: string(seen.Data),
	}
	switch line.Kind {
	case "load":
		if c.subscribed[seen.Channel] {
			return
		}
		c.subscribed[seen.Channel] = true
		e.Kind = relaytest.KindSubscribed
	case "message":
		e.Kind, e.Binary = relaytest.KindMessage, !utf8.ValidString(e.Data)
	case "gap":
		e.Kind = relaytest.KindGap
	}
	c.session.Events = append(c.session.Events, e)
}

// end waits until all clients have received everything, and returns the logs.
func (w *contractWorld) end(client *redis.Client) relaytest.Run {
	ctx, cancel := context.WithTimeout(w.t.Context(), relaytest.Patience)
	defer cancel()
	run := relaytest.Run{Durable: make(map[string]int), Faults: w.faults.Faults()}
	ends := make(map[string]string)
	for _, p := range []*relaytest.Publisher{w.live, w.durable} {
		if err := p.Finish(ctx); err != nil {
			w.t.Fatal(err)
		}
		for _, sent := range p.Log() {
			if sent.End {
				ends[sent.Channel] = sent.Payload
			}
		}
	}
	w.await("the last messages", func(c *seenClient) bool {
		for _, channel := range c.channels {
			if c.newest[channel] != ends[channel] {
				return false
			}
		}
		return true
	})
	appended, err := relaytest.Resolve(ctx, client, w.durable.Log())
	if err != nil {
		w.t.Fatal(err)
	}
	run.Published = append(w.live.Log(), appended...)
	for name := range contractChannels {
		if isDurable(name) {
			run.Durable[name] = 1 << 30
		}
	}
	for _, c := range w.clients {
		run.Sessions = append(run.Sessions, c.session)
	}
	return run
}

func (w *contractWorld) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.t.Context().Done():
	}
}
