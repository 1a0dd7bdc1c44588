package source_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

var long = flag.Bool("long", false, "run the heavy variants, which take minutes")

// sentinels says how to find a group's master.
func sentinels(addrs ...string) func(*source.Config) {
	return func(c *source.Config) {
		c.Server.Mode, c.Server.MasterName = source.Sentinel, redistest.MasterName
		c.Server.Address, c.Server.More = addrs[0], addrs[1:]
	}
}

// watchAnother makes a Sentinel watch another master by the same name.
func watchAnother(sentinel, master *redistest.Server) {
	sentinel.CLI("SENTINEL", "REMOVE", redistest.MasterName)
	sentinel.CLI("SENTINEL", "MONITOR", redistest.MasterName, "127.0.0.1", master.Port(), "2")
}

// TestSentinelFailover fails over with the old master alive, again and again, while the application publishes by a
// client that follows the Sentinels, and so does the relay.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	rounds := 3
	if *long {
		rounds = 20
	}
	g := redistest.StartGroup(t)
	l := goLive(t, "", []string{"*"}, sentinels(g.SentinelAddrs()...))
	application := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: g.SentinelAddrs(), MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = application.Close() })
	book := newLedger(t)
	for _, channel := range channelNames(3) {
		book.publish(channel, func() redis.UniversalClient { return application })
	}
	for round := range rounds {
		book.flows(t, 50, channelNames(3)...)
		g.Failover()
		l.awaitEvent(t, "online", round+2)
		eventually(t, "publishing by the relay", func() bool {
			_, err := l.Link.Publish(t.Context(), "mine", fmt.Append(nil, round))
			return err == nil
		})
	}
	book.flows(t, 50, channelNames(3)...)
	heard, missing := book.judge(t, l)
	t.Logf("%d failovers: heard %d, told of a gap with %d missing", rounds, heard, missing)
	if heard < 100*rounds {
		t.Errorf("heard %d messages only", heard)
	}
	tags := l.tags()
	for i := range tags[1:] {
		if tags[i] == tags[i+1] {
			t.Errorf("the tag stayed %08x over failover %d", tags[i], i+1)
		}
	}
}

// TestSentinelsNameAnotherMaster leaves a master that is well, and does not know that it is none any more.
func TestSentinelsNameAnotherMaster(t *testing.T) {
	t.Parallel()
	g := redistest.StartGroup(t)
	l := goLive(t, "", []string{"*"}, sentinels(g.SentinelAddrs()...))
	next := redistest.Start(t)
	began := time.Now()
	for _, sentinel := range g.Sentinels {
		watchAnother(sentinel, next)
	}
	l.awaitEvent(t, "offline", 1)
	if took := time.Since(began); took > detection {
		t.Errorf("found after %v", took)
	}
	l.awaitEvent(t, "online", 2)
	l.lives(t, next, "chat")
	eventually(t, "publishing to the other master", func() bool {
		_, err := l.Link.Publish(t.Context(), "chat", []byte("mine"))
		return err == nil
	})
	l.awaitEvent(t, "chat=mine", 1)
	l.ended(t, stats.CauseReplica, 1)
	l.says(t, "cause=replica", "name another master")
}

// TestSentinelsDisagree keeps the link where one of three Sentinels alone names another master.
func TestSentinelsDisagree(t *testing.T) {
	t.Parallel()
	g := redistest.StartGroup(t)
	other := redistest.Start(t)
	watchAnother(g.Sentinels[2], other)
	l := goLive(t, "", []string{"*"}, sentinels(g.SentinelAddrs()...))
	<-time.After(detection) // two looks at the Sentinels
	l.lives(t, g.Nodes[0], "chat")
	if got := count(l.recorder.log(), "offline"); got != 0 {
		t.Errorf("lost the link %d times", got)
	}
}

// TestSentinelTroubleIsExplained has what can be wrong with Sentinels.
func TestSentinelTroubleIsExplained(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	watched := sentinels(redistest.StartSentinel(t, master, "requirepass watch-secret").Addr)
	for name, test := range map[string]struct {
		change func(*source.Server)
		says   string
	}{
		"no password":    {func(s *source.Server) {}, "SIDECAST_REDIS_SENTINEL_PASSWORD"},
		"wrong password": {func(s *source.Server) { s.SentinelPassword = "other-secret" }, "SIDECAST_REDIS_SENTINEL_PASSWORD"},
		"no such master": {func(s *source.Server) { s.SentinelPassword, s.MasterName = "watch-secret", "nobody" }, "check master_name"},
		"nobody listens": {func(s *source.Server) { s.Address, s.More = redistest.FreeAddr(t), nil }, "no Sentinel answers"},
		"not a Sentinel": {func(s *source.Server) { s.Address, s.More = master.Addr, nil }, "the server is no Sentinel"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := func(c *source.Config) {
				watched(c)
				test.change(&c.Server)
			}
			l := run(t, "", []string{"*"}, change)
			l.says(t, test.says)
			found := fmt.Sprint(report(source.Check(t.Context(), checkConfig("", []string{"*"}, change))))
			if !strings.Contains(found, test.says) {
				t.Errorf("the check says %s", found)
			}
			if strings.Contains(l.log.String()+found, "secret") {
				t.Error("a password is repeated")
			}
		})
	}
	t.Run("right password", func(t *testing.T) {
		t.Parallel()
		change := func(c *source.Config) {
			watched(c)
			c.Server.SentinelPassword = "watch-secret"
		}
		l := goLive(t, "", []string{"chat:*"}, change)
		if n, err := l.Link.Publish(t.Context(), "chat:1", []byte("mine")); n != 1 || err != nil {
			t.Errorf("publishing returned %d, %v", n, err)
		}
		l.awaitEvent(t, "chat:1=mine", 1)
		expectFindings(t, source.Check(t.Context(), checkConfig("", []string{"chat:*"}, change)),
			"ok sentinel: main is at "+master.Addr, "ok server: ", "ok version: Redis ", "ok role: master", "ok pattern chat:*: may",
			"ok hearing markers: allowed", "ok publishing markers: allowed", "ok other relays: ")
	})
}

// TestSentinelsAreAway waits for Sentinels that are away at the start, and needs none for a link that lives.
func TestSentinelsAreAway(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, master)
	proxy := faultproxy.Start(t, sentinel.Addr)
	proxy.Refuse(true)
	l := run(t, "", []string{"*"}, sentinels(proxy.Addr))
	l.awaitEvent(t, "offline", 1)
	if _, err := l.Link.Publish(t.Context(), "chat", nil); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("publishing returned %v", err)
	}
	proxy.Refuse(false)
	l.awaitEvent(t, "online", 1)
	proxy.Refuse(true)
	proxy.Reset()
	<-time.After(roleLook)
	l.lives(t, master, "chat")
	if got := count(l.recorder.log(), "offline"); got != 1 {
		t.Errorf("the link was lost with the Sentinels: %d times", got-1)
	}
}

// roleLook is longer than the link's looks at its server are apart.
const roleLook = 6 * time.Second
