package counts

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
)

// A directLink runs commands on a Redis that is always there.
type directLink struct{ client redis.UniversalClient }

func (l directLink) Do(ctx context.Context, commands func(context.Context, redis.UniversalClient) error) error {
	return commands(ctx, l.client)
}

// A real relay's part that works on redis-server.
type realCounts struct {
	*Counts
	t    testing.TB
	now  time.Duration // of its clock
	told map[string]int
}

func newReal(t testing.TB, client redis.UniversalClient) *realCounts {
	t.Cleanup(func() { _ = client.Close() })
	r := &realCounts{t: t, now: time.Hour, told: map[string]int{}}
	r.Counts = New(Config{
		Names: access.NewNames("", ""), Link: func() Link { return directLink{client} },
		Now: func() time.Duration { return r.now }, Notify: func(channel string, n int) { r.told[channel] = n },
	})
	r.Online(true)
	return r
}

func clientOf(server *redistest.Server, o redis.Options) *redis.Client {
	o.Addr, o.Protocol, o.DisableIdentity = server.Addr, 2, true
	return redis.NewClient(&o)
}

// pass does everything that is due after a time.
func (r *realCounts) pass(d time.Duration) {
	r.t.Helper()
	r.now += d
	for next := time.Duration(0); next <= r.now; {
		next = r.worker.pass(r.t.Context())
		if r.worker.report.failing {
			r.t.Fatal("a pass failed")
		}
	}
}

// hears lets a relay receive a message about channels from another one.
func (r *realCounts) hears(other *realCounts, channels ...string) {
	r.Receive([]byte(strings.Join(append([]string{other.relay}, channels...), "\n")))
}

// Everything works on redis-server with the rights that the table lists and no
// others.
func TestLeastRights(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(append(strings.Fields("ACL SETUSER relay on >pw resetkeys resetchannels -@all &sidecast:* +hello +auth +ping +publish"),
		redistest.Rights(t, "counting subscriptions")...)...)
	login := redis.Options{Username: "relay", Password: "pw"}
	useAll(t, newReal(t, clientOf(server, login)), newReal(t, clientOf(server, login)))
	if log := server.CLI("ACL", "LOG"); log != "" {
		t.Errorf("Redis denied:\n%s", log)
	}
	if keys := server.CLI("KEYS", "*"); keys != "" {
		t.Errorf("the relays left the keys %s", keys)
	}
}

// A cluster may keep the keys at any nodes: they need no key prefix with braces.
func TestCluster(t *testing.T) {
	nodes := redistest.StartCluster(t, 0, "--cluster-node-timeout", "20000")
	connect := func() *redis.ClusterClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr, nodes[1].Addr}, Protocol: 2})
	}
	useAll(t, newReal(t, connect()), newReal(t, connect()))
}

// useAll uses everything with two relays, and stops them.
func useAll(t *testing.T, a, b *realCounts) {
	t.Helper()
	a.Changed("chat", 1, 1, 1)
	a.Changed("a", 1, 0, 1)
	a.pass(0)
	b.Changed("chat", 2, 2, 2)
	b.Changed("b", 1, 1, 1)
	b.pass(0)
	a.hears(b, "b", "chat")
	a.pass(time.Second)
	for _, r := range []*realCounts{a, b} {
		if r.told["chat"] != 3 {
			t.Errorf("the clients are told %v", r.told)
		}
		all, err := r.Channels(t.Context(), "")
		if err != nil || fmt.Sprint(all) != "map[a:1 b:1 chat:3]" {
			t.Errorf("the application reads %v, %v", all, err)
		}
		if n, err := r.Subscriptions(t.Context(), "chat"); err != nil || n != 3 {
			t.Errorf("the application reads %d, %v", n, err)
		}
	}
	b.Changed("b", 0, 0, -1)
	b.pass(time.Second)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	a.hears(b)
	a.pass(time.Second)
	if a.told["chat"] != 1 {
		t.Errorf("the clients are told %v", a.told)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// The hash of a relay that was killed expires by itself.
func TestKeysExpire(t *testing.T) {
	server := redistest.Start(t)
	a := newReal(t, clientOf(server, redis.Options{}))
	a.Changed("chat", 1, 0, 1)
	a.pass(0)
	for i := range 2 {
		ttl := strings.TrimSpace(server.CLI("PTTL", "sidecast:counts:"+a.relay))
		if n, err := strconv.Atoi(ttl); err != nil || n <= 0 || n > int(usual.lease.Milliseconds()) {
			t.Errorf("the hash expires in %s ms", ttl)
		}
		server.CLI("DEL", "sidecast:counts:"+a.relay) // it is written again
		a.Changed("chat", i+2, 0, 1)
		a.pass(time.Second)
		if n := strings.TrimSpace(server.CLI("HGET", "sidecast:counts:"+a.relay, "chat")); n != fmt.Sprint(i+2) {
			t.Errorf("the number is %q, want %d", n, i+2)
		}
	}
}

// The cost for Redis: nothing for messages, little for subscriptions.
func TestCost(t *testing.T) {
	const channels = 10_000
	server := redistest.Start(t)
	relays := []*realCounts{newReal(t, clientOf(server, redis.Options{})), newReal(t, clientOf(server, redis.Options{})), newReal(t, clientOf(server, redis.Options{}))}
	a, b := relays[0], relays[1]
	user := func(i int) string { return fmt.Sprintf("private-App.Models.User.%06d", i) }
	for range 2 {
		for _, r := range relays {
			r.pass(time.Second)
		}
	}
	measure := func(what string, seconds float64, limit int, f func()) {
		t.Helper()
		server.CLI("CONFIG", "RESETSTAT")
		f()
		in, out := infoNumber(t, server, "stats", "total_net_input_bytes"), infoNumber(t, server, "stats", "total_net_output_bytes")
		commands, busy := 0, 0
		for _, m := range regexp.MustCompile(`cmdstat_(\w+)[^:]*:calls=(\d+),usec=(\d+)`).FindAllStringSubmatch(server.CLI("INFO", "commandstats"), -1) {
			if m[1] != "info" && m[1] != "config" {
				calls, _ := strconv.Atoi(m[2])
				usec, _ := strconv.Atoi(m[3])
				commands, busy = commands+calls, busy+usec
			}
		}
		t.Logf("%s: %d commands, %d bytes sent, %d received, %.1f ms of Redis; %.1f commands/s, %.1f kB/s",
			what, commands, in, out, float64(busy)/1000, float64(commands)/seconds, float64(in+out)/seconds/1000)
		if commands > limit {
			t.Errorf("%s: %d commands, want %d at most", what, commands, limit)
		}
	}
	measure("three relays at rest for a minute", 60, 3*60/4*7, func() {
		for range 60 {
			for _, r := range relays {
				r.pass(time.Second)
			}
		}
	})
	measure("10,000 clients arrive, each on its own channel", 1, channels/maxFields*3+channels/maxFields*2+40, func() {
		for i := range channels {
			a.Changed(user(i), 1, 1, 1)
		}
		a.pass(time.Second)
	})
	measure("they leave in 10 seconds", 10, 10*(2*3+2)+40, func() {
		for i := range channels {
			a.Changed(user(i), 0, 0, -1)
			if i%(channels/10) == channels/10-1 {
				a.pass(time.Second)
			}
		}
	})
	for i := range 1000 {
		a.Changed(user(i), 1, 1, 1)
		b.Changed(user(i), 1, 1, 1)
	}
	a.pass(time.Second)
	b.pass(time.Second)
	measure("100 changes on channels with clients at another relay", 1, 20, func() {
		var names []string
		for i := range 100 {
			a.Changed(user(i), 2, 2, 1)
			names = append(names, user(i))
		}
		a.pass(time.Second)
		b.hears(a, names...)
		b.pass(time.Second)
		if b.told[user(7)] != 3 {
			t.Errorf("told %d", b.told[user(7)])
		}
	})
}

// infoNumber returns a number of INFO.
func infoNumber(t *testing.T, server *redistest.Server, section, name string) int {
	t.Helper()
	match := regexp.MustCompile(name + `[:=](\d+)`).FindStringSubmatch(server.CLI("INFO", section))
	if match == nil {
		t.Fatalf("INFO %s has no %s", section, name)
	}
	n, _ := strconv.Atoi(match[1])
	return n
}

// BenchmarkChanged measures what a subscription costs the hub, which holds its
// lock meanwhile.
func BenchmarkChanged(b *testing.B) {
	for _, channels := range []int{1, 10_000} {
		b.Run(fmt.Sprint(channels), func(b *testing.B) {
			c := New(Config{Names: access.NewNames("", "")})
			names := make([]string, channels)
			for i := range names {
				names[i] = fmt.Sprintf("private-App.Models.User.%06d", i)
			}
			b.ReportAllocs()
			for i := range b.N {
				name := names[i%channels]
				if i%channels == 0 {
					c.changes.take()
				}
				c.Changed(name, 1, 1, 1)
			}
		})
	}
}

// The number of clients of all relays is known, also of those without a
// subscription. It is not the number of a channel.
func TestConnections(t *testing.T) {
	server := redistest.Start(t)
	a, b := newReal(t, clientOf(server, redis.Options{})), newReal(t, clientOf(server, redis.Options{}))
	clients := 3
	a.cfg.Connections = func() int { return clients }
	b.cfg.Connections = func() int { return 40 }
	a.pass(0)
	b.pass(0)
	for _, want := range []int{43, 40, 47} {
		for _, r := range []*realCounts{a, b} {
			if n, err := r.Connections(t.Context()); n != want || err != nil {
				t.Errorf("%d connections, %v, want %d", n, err, want)
			}
		}
		clients = map[int]int{43: 0, 40: 7}[want]
		a.pass(5 * time.Second)
	}
	if all, err := a.Channels(t.Context(), ""); len(all) > 0 || err != nil {
		t.Errorf("the channels are %v, %v", all, err)
	}
}
