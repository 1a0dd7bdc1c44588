package presence

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/roster"
)

// A directLink runs commands on a Redis that is always there.
type directLink struct{ client redis.UniversalClient }

func (l directLink) Do(ctx context.Context, commands func(context.Context, redis.UniversalClient) error) error {
	return commands(ctx, l.client)
}

// A real relay's part that works on a redis-server.
type realPresence struct {
	*Presence
	t   testing.TB
	now time.Duration // of its clock
}

func newReal(t testing.TB, server *redistest.Server, o redis.Options) *realPresence {
	o.Addr, o.Protocol, o.DisableIdentity = server.Addr, 2, true
	client := redis.NewClient(&o)
	t.Cleanup(func() { _ = client.Close() })
	p := &realPresence{t: t, now: time.Hour}
	p.Presence = New(Config{
		Names: access.NewNames("", ""), Joined: true, Left: true,
		Link: func() Link { return directLink{client} }, Now: func() time.Duration { return p.now },
	})
	p.Online(true)
	return p
}

// pass does everything that is due after a time.
func (p *realPresence) pass(d time.Duration) {
	p.t.Helper()
	p.now += d
	p.worker.pass(p.t.Context())
	if p.worker.report.failing {
		p.t.Fatalf("a pass failed")
	}
}

// leastRights returns the command that creates a Redis user with the rights that
// presence needs.
func leastRights(t *testing.T) []string {
	t.Helper()
	return append(strings.Fields("ACL SETUSER relay on >pw resetkeys resetchannels -@all &sidecast:* +hello +auth +ping +publish"),
		redistest.Rights(t, "presence")...)
}

func readme(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The application reads the members with the PHP of the README.
func TestReadmePHP(t *testing.T) {
	redistest.Require(t, "php", "php-redis")
	server := redistest.Start(t)
	p := newReal(t, server, redis.Options{})
	p.Enter("room:7", "42", nil)
	p.pass(0)
	server.CLI("ZADD", "sidecast:presence:room:7", "1", "gone")
	script := regexp.MustCompile("(?s)<!-- online.php -->\n```php\n(.*?)```").FindSubmatch(readme(t))
	php := exec.CommandContext(t.Context(), "php")
	php.Stdin = strings.NewReader(strings.Replace(string(script[1]), "'127.0.0.1'", "'127.0.0.1', "+server.Port(), 1))
	if out, err := php.CombinedOutput(); err != nil || string(out) != `["42"]` {
		t.Errorf("php prints %s, %v", out, err)
	}
}

// Members returns those of all relays, and none whose time has passed. The
// rights that the README names are enough.
func TestMembers(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(leastRights(t)...)
	a := newReal(t, server, redis.Options{Username: "relay", Password: "pw"})
	b := newReal(t, server, redis.Options{Username: "relay", Password: "pw"})
	a.Enter("chat", "1", nil)
	b.Enter("chat", "2", nil)
	b.Enter("other", "3", nil)
	a.pass(0)
	b.pass(0)
	server.CLI("ZADD", "sidecast:presence:chat", "1", "gone")
	for channel, want := range map[string][]string{"chat": {"1", "2"}, "other": {"3"}, "empty": {}} {
		users, err := a.Members(t.Context(), channel)
		slices.Sort(users)
		if err != nil || !slices.Equal(users, want) {
			t.Errorf("the members of %s are %q, %v", channel, users, err)
		}
	}
}

// All scripts run on redis-server, with the rights that the README names and no
// others.
func TestScriptsWithLeastRights(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(leastRights(t)...)
	a := newReal(t, server, redis.Options{Username: "relay", Password: "pw"})
	b := newReal(t, server, redis.Options{Username: "relay", Password: "pw"})
	a.Enter("chat", "1", []byte(`{"name":"Ann"}`))
	a.Enter("chat", "2", nil)
	b.Enter("chat", "1", nil)
	a.pass(0)
	b.pass(0)
	w, _, _ := b.addWatcher("chat")
	b.pass(0)
	if s := w.roster.Snapshot(roster.Member{User: "1"}); s.Count != 2 || !strings.Contains(string(s.Members), `{"user":"1","info":{"name":"Ann"}}`) {
		t.Errorf("the members are %s, %d", s.Members, s.Count)
	}
	a.pass(11 * time.Second) // refreshes
	b.pass(31 * time.Second) // looks for expired members
	a.Exit("chat", "1")
	a.Exit("chat", "2")
	a.pass(6 * time.Second)
	if got := strings.Fields(server.CLI("ZRANGE", "sidecast:presence:chat", "0", "-1")); len(got) != 1 || got[0] != "1" {
		t.Errorf("the members are %q", got)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for kind, want := range map[string]int{"joined": 2, "left": 1} {
		if n := strings.Count(server.CLI("XRANGE", "sidecast:events", "-", "+"), kind); n != want {
			t.Errorf("%d events are %s, want %d", n, kind, want)
		}
	}
}

// A member whose relays have ended is removed by another one.
func TestExpiryOnRedis(t *testing.T) {
	server := redistest.Start(t)
	a := newReal(t, server, redis.Options{})
	b := newReal(t, server, redis.Options{})
	a.Enter("chat", "1", nil)
	a.pass(0)
	server.CLI("ZADD", "sidecast:presence:chat", "1", "1")
	server.CLI("ZADD", "sidecast:presence-due", "1", "chat")
	b.pass(0)
	b.pass(time.Minute)
	if got := server.CLI("ZCARD", "sidecast:presence:chat"); strings.TrimSpace(got) != "0" {
		t.Errorf("%s members are left", got)
	}
	if n := b.stats.PresenceExpired.Load(); n != 1 {
		t.Errorf("%d members were counted", n)
	}
	a.pass(11 * time.Second)
	if events := server.CLI("XRANGE", "sidecast:events", "-", "+"); strings.Count(events, "joined") != 2 || strings.Count(events, "left") != 1 {
		t.Errorf("the user returns without an event, or not at all:\n%s", events)
	}
}

// Looking for expired members costs few scripts if there are none, however many
// channels there are.
func TestNobodyHasExpired(t *testing.T) {
	server := redistest.Start(t)
	p := newReal(t, server, redis.Options{})
	const channels = 300
	due := []string{"ZADD", "sidecast:presence-due"}
	for i := range channels {
		name := fmt.Sprint("room:", i)
		p.Enter(name, "1", nil)
		due = append(due, "1", name)
	}
	p.pass(0)
	server.CLI(due...)
	server.CLI("CONFIG", "RESETSTAT")
	p.pass(time.Minute)
	for range channels / reapLimit {
		p.pass(0)
	}
	if n := infoNumber(t, server, "commandstats", "cmdstat_evalsha:calls"); n > 20 {
		t.Errorf("%d scripts", n)
	}
	if n := strings.TrimSpace(server.CLI("ZCOUNT", "sidecast:presence-due", "-inf", "2")); n != "0" {
		t.Errorf("%s channels were not looked at", n)
	}
	if n := p.stats.PresenceExpired.Load(); n != 0 {
		t.Errorf("%d members were removed", n)
	}
}

// Without the right to write events and to publish, members are correct all the
// same.
func TestSideEffectsAreRefused(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(append(leastRights(t), "-xadd", "-publish")...)
	a := newReal(t, server, redis.Options{Username: "relay", Password: "pw"})
	a.Enter("chat", "1", nil)
	a.pass(0)
	if got := strings.TrimSpace(server.CLI("ZRANGE", "sidecast:presence:chat", "0", "-1")); got != "1" {
		t.Errorf("the members are %q", got)
	}
	if a.stats.PresenceErrors.Load() == 0 {
		t.Error("the refusal is not counted")
	}
}

// What 10,000 members cost Redis, with a user id of 12 bytes.
func TestRefreshCost(t *testing.T) {
	const users = 10_000
	for _, channels := range []int{1, users} {
		t.Run(fmt.Sprint(channels, " channels"), func(t *testing.T) {
			server := redistest.Start(t)
			p := newReal(t, server, redis.Options{})
			for i := range users {
				p.Enter(fmt.Sprint("room:", i%channels), fmt.Sprintf("user-%07d", i), nil)
			}
			for range users/maxHolds + 1 {
				p.pass(0)
			}
			server.CLI("CONFIG", "RESETSTAT")
			began := time.Now()
			p.pass(11 * time.Second)
			took := time.Since(began)
			sent, received := infoNumber(t, server, "stats", "total_net_input_bytes"), infoNumber(t, server, "stats", "total_net_output_bytes")
			scripts := infoNumber(t, server, "commandstats", "cmdstat_evalsha:calls")
			busy := infoNumber(t, server, "commandstats", `cmdstat_evalsha:calls=\d+,usec`)
			per := usual.refresh.Seconds()
			t.Logf("refreshing %d members on %d channels: %d scripts, %d bytes sent and %d received; %.1f commands/s, %.1f kB/s; %.1f ms of Redis (%.2f %% of a processor), took %v",
				users, channels, scripts, sent, received, float64(scripts)/per, float64(sent)/per/1000,
				float64(busy)/1000, float64(busy)/1e6/per*100, took.Round(time.Millisecond))
			if limit := users/maxBatch + min(channels, users/maxKeys) + 2; scripts > limit {
				t.Errorf("%d scripts, want %d at most", scripts, limit)
			}
			if limit := users * (20 + 10 + min(channels-1, 60)); sent > limit {
				t.Errorf("%d bytes, want %d at most", sent, limit)
			}
		})
	}
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
