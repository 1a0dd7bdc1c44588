package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// A feature uses Redis for more than the messages of live channels.
type feature struct {
	rights   []string // the beginnings of its lines in the table of rights
	settings map[string]string
	use      func(*featureWorld)
	channels []string // patterns that the settings add to those that are relayed
	// unused are commands in these lines that Redis runs only after a long
	// time.
	unused []string
}

// features are all of them.
var features = map[string]feature{
	"publishing": {
		rights:   []string{"publishing to durable channels"},
		settings: map[string]string{"SIDECAST_PUBLISH_CHANNELS": "*", "SIDECAST_PUBLISH_TOKEN": publishToken},
		use:      (*featureWorld).publishes,
	},
	"ended logins": {
		rights:   []string{"ending logins"},
		settings: map[string]string{"SIDECAST_JWT_SECRET": jwtSecret},
		use:      (*featureWorld).endsLogins,
		unused:   []string{"zremrangebyscore"}, // hourly
	},
	"presence": {
		rights:   []string{"presence", "ending logins"},
		settings: map[string]string{"SIDECAST_JWT_SECRET": jwtSecret, "SIDECAST_PRESENCE_CHANNELS": "chat:*"},
		use:      (*featureWorld).knowsMembers,
		unused:   []string{"zrangebyscore"}, // by a relay that has been connected for 30 s
	},
	"events": {
		rights:   []string{"events"},
		settings: map[string]string{"SIDECAST_EVENTS": "connected,disconnected"},
		use:      (*featureWorld).writesEvents,
	},
	"webhooks": {
		rights:   []string{"events", "webhooks"},
		settings: map[string]string{"SIDECAST_EVENTS": "connected", "SIDECAST_EVENTS_SECRET": jwtSecret},
		use:      (*featureWorld).postsEvents,
	},
	"unheard messages": {
		rights:   []string{"messages without a listener"},
		settings: map[string]string{"SIDECAST_UNHEARD": "chat:*,order:*"},
		use:      (*featureWorld).reportsUnheard,
	},
	"counting subscriptions": {
		rights: []string{"counting subscriptions", "ending logins"}, // clients of the Pusher protocol can sign in
		settings: map[string]string{
			"SIDECAST_PUSHER_KEY": "app-key", "SIDECAST_PUSHER_SECRET": jwtSecret, "SIDECAST_CHANNELS": "chat,chat:*,private-*",
		},
		use:      (*featureWorld).countsSubscriptions,
		channels: []string{"#server-to-user-*", "private-*"},
		// Hourly, and when the application asks for all channels: TestLeastRights of
		// relay/counts.
		unused: []string{"zremrangebyscore", "hscan"},
	},
}

// A featureWorld is a Redis whose user has the rights that a feature needs.
type featureWorld struct {
	t        *testing.T
	feature  feature
	settings map[string]string
	nodes    []*redistest.Server // one, or those of a cluster
	channels string              // prefix of channels
	keys     string              // prefix of Sidecast's own names
	started  []*relaytest.Process
	checked  bool // by sidecast check
}

// cli runs a command at the Redis server, or at the node that has the key.
func (w *featureWorld) cli(args ...string) string {
	w.t.Helper()
	return w.nodes[0].CLI(append([]string{"-c"}, args...)...)
}

// public returns the name in Redis of something that the application uses, too.
func (w *featureWorld) public(name string) string { return w.channels + w.keys + name }

// start runs a relay. Before the first one, sidecast check must find no fault.
func (w *featureWorld) start(more map[string]string) *relaytest.Process {
	w.t.Helper()
	settings := maps.Clone(w.settings)
	maps.Copy(settings, more)
	if !w.checked {
		w.checked = true
		found, _ := sidecast(w.t, settings, "check")
		wantAllOK(w.t, found)
		for _, node := range w.nodes { // the check also tries rights that the feature does not need
			node.CLI("ACL", "LOG", "RESET")
			node.CLI("CONFIG", "RESETSTAT")
		}
	}
	relay := start(w.t, settings)
	w.started = append(w.started, relay)
	return relay
}

// grant gives the user the rights of the document.
func (w *featureWorld) grant(more ...string) {
	w.t.Helper()
	base := strings.Fields(snippet(w.t, "", baseRights))
	base = append(base, strings.Fields(snippet(w.t, "", "ACL SETUSER relay %R~"))[3:]...)
	for _, line := range w.feature.rights {
		base = append(base, redistest.Rights(w.t, line)...)
	}
	for _, pattern := range w.feature.channels {
		base = append(base, "&"+pattern)
	}
	base = append(base, more...)
	for i, right := range base {
		base[i] = w.named(right)
	}
	base = append(base, "&__keyspace@0__:"+w.channels+"order:*")
	if w.channels != "" {
		base = append(base, "&"+w.public("control"))
	}
	for _, node := range w.nodes {
		node.CLI(base...)
	}
}

// named returns a right with the prefixes of this world.
func (w *featureWorld) named(right string) string {
	mode, name, isName := cutAny(right, "&", "~")
	own, isOwn := strings.CutPrefix(name, "sidecast:")
	switch {
	case !isName:
		return right
	case !isOwn:
		return mode + w.channels + name
	case slices.Contains([]string{"revoked", "presence:*", "events"}, own) && strings.HasSuffix(mode, "~"):
		return mode + w.public(own)
	}
	return mode + w.keys + own
}

// cutAny cuts a text after the first of some separators.
func cutAny(text string, separators ...string) (before, after string, found bool) {
	for _, separator := range separators {
		if before, after, found = strings.Cut(text, separator); found {
			return before + separator, after, true
		}
	}
	return text, "", false
}

// verify ends the relays, and checks that Redis has denied nothing, that the
// relays have not complained, and that every command was used to which the
// feature has the right.
func (w *featureWorld) verify() {
	t := w.t
	t.Helper()
	for _, relay := range w.started {
		relay.Signal(syscall.SIGTERM)
	}
	for _, relay := range w.started {
		relay.Wait()
		if log := relay.Log(); strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, `"level":"ERROR"`) {
			t.Errorf("the relay logged a warning:\n%s", log)
		}
	}
	var used strings.Builder
	for _, node := range w.nodes {
		if log := node.CLI("ACL", "LOG"); log != "" {
			t.Errorf("Redis denied:\n%s", log)
		}
		used.WriteString(node.CLI("INFO", "commandstats"))
	}
	for _, line := range w.feature.rights {
		for _, right := range redistest.Rights(t, line) {
			command, isCommand := strings.CutPrefix(right, "+")
			if isCommand && !strings.Contains(used.String(), "cmdstat_"+command+":") && !slices.Contains(w.feature.unused, command) {
				t.Errorf("the feature never uses the right %s", right)
			}
		}
	}
}

// TestRightsOfFeatures: each feature works with the rights that the document
// lists for it, and uses all of them.
func TestRightsOfFeatures(t *testing.T) {
	t.Parallel()
	for name, f := range features {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			runFeature(t, f, []*redistest.Server{server}, map[string]string{"SIDECAST_REDIS_URL": server.URL()})
		})
	}
}

// TestRightsWithPrefixes: the rights are also enough with the prefixes that the
// document describes.
func TestRightsWithPrefixes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, f := range features {
		t.Run(name, func(t *testing.T) {
			runFeature(t, f, []*redistest.Server{server}, map[string]string{
				"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNEL_PREFIX": "shop:", "SIDECAST_KEY_PREFIX": "live:",
			})
			server.CLI("FLUSHALL")
		})
	}
}

// TestFeaturesInCluster: each feature works in a cluster with a key prefix that
// keeps the keys together, and with the rights of the document.
func TestFeaturesInCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 0, "--cluster-node-timeout", "20000")
	for name, f := range features {
		t.Run(name, func(t *testing.T) {
			runFeature(t, f, nodes, map[string]string{
				"SIDECAST_REDIS_URL": nodes[0].URL() + "?addr=" + nodes[1].Addr, "SIDECAST_REDIS_MODE": "cluster",
				"SIDECAST_CHANNEL_PREFIX": "shop:", "SIDECAST_KEY_PREFIX": "{sidecast}:",
			}, "+cluster|slots", "+cluster|links", "+asking")
			for _, node := range nodes {
				node.CLI("FLUSHALL")
			}
		})
	}
}

// runFeature uses a feature at a Redis with the settings that lead there.
func runFeature(t *testing.T, f feature, nodes []*redistest.Server, redis map[string]string, more ...string) {
	t.Helper()
	w := &featureWorld{t: t, feature: f, nodes: nodes, channels: redis["SIDECAST_CHANNEL_PREFIX"], keys: "sidecast:"}
	if prefix := redis["SIDECAST_KEY_PREFIX"]; prefix != "" {
		w.keys = prefix
	}
	w.settings = map[string]string{
		"SIDECAST_CHANNELS": "chat,chat:*", "SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_PUBLIC_CHANNELS": "*",
		"SIDECAST_LOG_FORMAT": "json", "SIDECAST_DRAIN_DELAY": "0s", "SIDECAST_DRAIN_TIMEOUT": "0s",
	}
	for _, list := range []map[string]string{f.settings, redis, asRelay} {
		maps.Copy(w.settings, list)
	}
	w.grant(more...)
	f.use(w)
	w.verify()
}

// publishes: browsers and the application publish to live and durable channels.
func (w *featureWorld) publishes() {
	relay := w.start(nil)
	client := listen(w.t, relay, "chat", "order:7")
	for _, channel := range []string{"chat", "order:7"} {
		if _, err := client.Publish(w.t.Context(), channel, []byte("from a browser")); err != nil {
			w.t.Errorf("publishing to %s: %v", channel, err)
		}
		eventually(w.t, func() string { // Redis has a second for it
			status, answer := post(w.t, publishURL(relay, channel), "from the application")
			if status == http.StatusOK {
				return ""
			}
			return fmt.Sprint(status, " ", answer)
		})
		awaitNewest(w.t, client, channel, "from the application")
	}
}

// endsLogins: the application ends a login.
func (w *featureWorld) endsLogins() {
	relay := w.start(nil)
	claims := jwt.MapClaims{"sub": "42", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		w.t.Fatal(err)
	}
	logIn := func() *relaytest.Client {
		return dial(w.t, &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token." + token}})
	}
	client := logIn()
	if _, err := client.Await(w.t.Context(), relaytest.Is(relaytest.KindWelcome)); err != nil {
		w.t.Fatal(err)
	}
	w.cli("ZADD", w.public("revoked"), fmt.Sprint(time.Now().UnixMilli()), "user:42")
	w.cli("PUBLISH", w.public("control"), `{"action":"disconnect","user":42}`)
	wantClose(w.t, client, 4409)
	wantClose(w.t, logIn(), 4401)
}

// knowsMembers: users at two relays see each other come and go, and so does the
// application.
func (w *featureWorld) knowsMembers() {
	a, b := w.start(nil), w.start(nil)
	one := w.join(a, "ann")
	two := w.join(b, "bob")
	one.told("join", "bob")
	two.knows("ann", "bob")
	w.join(w.start(nil), "cat").knows("ann", "bob", "cat") // its relay has to load the others
	one.told("join", "cat")
	_ = two.Close(w.t.Context(), 1000, "")
	one.told("leave", "bob")
	if members := w.cli("ZRANGEBYSCORE", w.public("presence:chat:1"), "0", "+inf"); members != "ann\ncat" {
		w.t.Errorf("the members are %q", members)
	}
	if events := w.events(); !slices.Equal(events, []string{"joined ann", "joined bob", "joined cat", "left bob"}) {
		w.t.Errorf("events %q", events)
	}
}

// countsSubscriptions: the subscriptions at two relays are in Redis, and those of
// a relay that has stopped are not.
func (w *featureWorld) countsSubscriptions() {
	a, b := w.start(nil), w.start(nil)
	one := listen(w.t, a, "chat", "chat:1")
	listen(w.t, a, "chat")
	listen(w.t, b, "chat")
	w.awaitCounts("chat 1", "chat 2", "chat:1 1")
	_ = one.Close(w.t.Context(), 1000, "")
	w.awaitCounts("chat 1", "chat 1")
	b.Signal(syscall.SIGTERM)
	b.Wait()
	w.awaitCounts("chat 1")
}

// awaitCounts waits for what the relays have written, in alphabetical order.
func (w *featureWorld) awaitCounts(want ...string) {
	w.t.Helper()
	eventually(w.t, func() string {
		var got []string
		for relay := range strings.FieldsSeq(w.cli("ZRANGE", w.keys+"counts", "0", "-1")) {
			var numbers map[string]string
			if text := w.cli("--json", "HGETALL", w.keys+"counts:"+relay); json.Unmarshal([]byte(text), &numbers) != nil {
				return "a hash is " + text
			}
			for channel, n := range numbers {
				if channel != "" { // the relay itself
					got = append(got, channel+" "+n)
				}
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return ""
		}
		return fmt.Sprintf("numbers %q, want %q", got, want)
	})
}

// join subscribes a user to chat:1, with a token that has info.
func (w *featureWorld) join(relay *relaytest.Process, user string) *member {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix(), "info": map[string]string{"name": user}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		w.t.Fatal(err)
	}
	return joinAs(w.t, relay, token)
}

// events returns the kind of each event, with its user or channel.
func (w *featureWorld) events() (list []string) {
	w.t.Helper()
	// An entry is an id, and an array of names and values.
	var entries [][2]json.RawMessage
	text := w.cli("--json", "XRANGE", w.public("events"), "-", "+")
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	for _, entry := range entries {
		var values []string
		if err := json.Unmarshal(entry[1], &values); err != nil {
			w.t.Fatal(err)
		}
		fields := map[string]string{}
		for i := 0; i+1 < len(values); i += 2 {
			fields[values[i]] = values[i+1]
		}
		what := fields["user"]
		if what == "" {
			what = fields["channel"]
		}
		list = append(list, strings.TrimSpace(fields["kind"]+" "+what+fields["id"]))
	}
	return list
}

// awaitEvents waits for events, in any order.
func (w *featureWorld) awaitEvents(want ...string) {
	w.t.Helper()
	eventually(w.t, func() string {
		got := slices.Sorted(slices.Values(w.events()))
		if slices.Equal(got, want) {
			return ""
		}
		return fmt.Sprintf("events %q, want %q", got, want)
	})
}

// writesEvents: the relay reports clients, and answers a control message.
func (w *featureWorld) writesEvents() {
	relay := w.start(nil)
	client := listen(w.t, relay, "chat")
	w.cli("PUBLISH", w.public("control"), `{"action":"disconnect","user":42,"id":"job"}`)
	w.awaitEvents("connected", "control job")
	_ = client.Close(w.t.Context(), 1000, "")
	w.awaitEvents("connected", "control job", "disconnected")
}

// postsEvents: a relay that stops leaves its webhooks to another one.
func (w *featureWorld) postsEvents() {
	var broken atomic.Bool
	var refused atomic.Int32
	var mu sync.Mutex
	accepted := ""
	app := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if broken.Load() {
			refused.Add(1)
			answer.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		accepted += string(body)
	}))
	defer app.Close()
	posted := func(n int) func() string {
		return func() string {
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Count(accepted, `"connected"`); got < n {
				return fmt.Sprintf("%d of %d events were posted", got, n)
			}
			return ""
		}
	}
	settings := map[string]string{"SIDECAST_EVENTS_URL": app.URL}
	first := w.start(settings)
	eventually(w.t, func() string { // earlier events are not posted
		if stream, err := w.nodes[0].TryCLI("-c", "XINFO", "STREAM", w.public("events")); !strings.Contains(stream, "groups\n1") {
			return fmt.Sprint("there is no consumer group: ", err)
		}
		return ""
	})
	listen(w.t, first, "chat")
	eventually(w.t, posted(1))
	broken.Store(true)
	listen(w.t, first, "chat")
	eventually(w.t, func() string {
		if refused.Load() == 0 {
			return "the application was not asked"
		}
		return ""
	})
	first.Signal(syscall.SIGTERM)
	first.Wait()
	w.forgive(first, "the application does not accept events")
	broken.Store(false)
	w.start(settings)
	eventually(w.t, posted(2))
}

// forgive removes a relay that has ended from those that must not complain, if
// it has one complaint only.
func (w *featureWorld) forgive(relay *relaytest.Process, complaint string) {
	w.t.Helper()
	w.started = slices.DeleteFunc(w.started, func(r *relaytest.Process) bool { return r == relay })
	for line := range strings.Lines(relay.Log()) {
		if regexp.MustCompile(`"level":"(WARN|ERROR)"`).MatchString(line) && !strings.Contains(line, complaint) {
			w.t.Errorf("the relay logged %s", line)
		}
	}
}

// reportsUnheard: messages without a listener are reported, those with one are
// not.
func (w *featureWorld) reportsUnheard() {
	leases := w.keys + "listeners:chat:online"
	for i := range 9 { // leases of relays that have ended
		w.cli("HSET", leases, fmt.Sprint("ended-", i), "1 2")
	}
	relay := w.start(nil)
	listen(w.t, relay, "chat:online", "order:online")
	eventually(w.t, func() string {
		if n := w.cli("HLEN", leases); n != "1" {
			return n + " relays have leases"
		}
		return ""
	})
	awaitMetric(w.t, relay, "sidecast_marker_round_trip_seconds_count", func(n float64) bool { return n > 0 })
	for _, channel := range []string{"order:online", "order:offline"} {
		w.cli("XADD", w.channels+channel, "*", "data", "x")
		w.cli("PUBLISH", w.channels+channel, "")
	}
	w.cli("PUBLISH", w.channels+"chat:online", "x")
	w.cli("PUBLISH", w.channels+"chat:offline", "x")
	w.awaitEvents("unheard chat:offline", "unheard order:offline")
}
