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

// sentinels makes a link use the Sentinels of a group.
func sentinels(addrs ...string) func(*source.Config) {
	return func(c *source.Config) {
		c.Server.Mode, c.Server.MasterName = source.Sentinel, redistest.MasterName
		c.Server.Address, c.Server.More = addrs[0], addrs[1:]
	}
}

// monitorMaster makes a Sentinel watch another master with the same name.
func monitorMaster(sentinel, master *redistest.Server) {
	sentinel.CLI("SENTINEL", "REMOVE", redistest.MasterName)
	sentinel.CLI("SENTINEL", "MONITOR", redistest.MasterName, "127.0.0.1", master.Port(), "2")
}

// TestSentinelFailover fails over several times while the old master is
// running, and the application publishes with a client that follows the
// Sentinels. The relay must follow too.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	rounds := 3
	if *long {
		rounds = 20
	}
	g := redistest.StartGroup(t)
	l := startLive(t, "", []string{"*"}, sentinels(g.SentinelAddrs()...))
	application := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: g.SentinelAddrs(), MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = application.Close() })
	published := newPublishLog(t)
	for _, channel := range channelNames(3) {
		published.publish(channel, func() redis.UniversalClient { return application })
	}
	for round := range rounds {
		published.awaitPublished(t, 50, channelNames(3)...)
		g.Failover()
		l.awaitEvent(t, "online", round+2)
		l.awaitPublishing(t)
	}
	published.awaitPublished(t, 50, channelNames(3)...)
	received, missing := published.verify(t, l)
	t.Logf("%d failovers: %d messages received, %d missing in gaps", rounds, received, missing)
	if received < 100*rounds {
		t.Errorf("only %d messages were received", received)
	}
	tags := l.nodeTags()
	for i := range tags[1:] {
		if tags[i] == tags[i+1] {
			t.Errorf("the tag stayed %08x over failover %d", tags[i], i+1)
		}
	}
}

// TestSentinelsNameAnotherMaster checks that the link leaves a healthy server
// that does not know that it is no longer the master.
func TestSentinelsNameAnotherMaster(t *testing.T) {
	t.Parallel()
	g := redistest.StartGroup(t)
	l := startLive(t, "", []string{"*"}, sentinels(g.SentinelAddrs()...))
	next := redistest.Start(t)
	for _, sentinel := range g.Sentinels {
		monitorMaster(sentinel, next)
	}
	l.expectDetected(t, 1, detectionLimit)
	l.awaitEvent(t, "online", 2)
	l.expectDelivery(t, next, "chat")
	l.awaitPublishing(t)
	l.awaitEvent(t, "mine=x", 1)
	l.expectEnded(t, stats.CauseReplica, 1)
	l.awaitLog(t, "cause=replica", "name another master")
}

// TestSentinelsDisagree checks that the link stays if only one of three
// Sentinels names another master.
func TestSentinelsDisagree(t *testing.T) {
	t.Parallel()
	g := redistest.StartGroup(t)
	other := redistest.Start(t)
	monitorMaster(g.Sentinels[2], other)
	l := startLive(t, "", []string{"*"}, sentinels(g.SentinelAddrs()...))
	<-time.After(detectionLimit) // long enough for two checks of the Sentinels
	l.expectDelivery(t, g.Nodes[0], "chat")
	l.expectLost(t, 0)
}

// TestSentinelErrorsAreExplained checks the messages for each problem with
// Sentinels.
func TestSentinelErrorsAreExplained(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	watched := sentinels(redistest.StartSentinel(t, master, "requirepass watch-secret").Addr)
	for name, test := range map[string]struct {
		change func(*source.Server)
		want   string
	}{
		"no password": {func(s *source.Server) {}, "SIDECAST_REDIS_SENTINEL_PASSWORD"},
		"wrong password": {
			func(s *source.Server) { s.SentinelPassword = "other-secret" }, "SIDECAST_REDIS_SENTINEL_PASSWORD",
		},
		"no such master": {
			func(s *source.Server) { s.SentinelPassword, s.MasterName = "watch-secret", "unknown" }, "check master_name",
		},
		"nothing listens": {func(s *source.Server) { s.Address, s.More = redistest.FreeAddr(t), nil }, "no Sentinel answers"},
		"not a Sentinel":  {func(s *source.Server) { s.Address, s.More = master.Addr, nil }, "the server is not a Sentinel"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := func(c *source.Config) {
				watched(c)
				test.change(&c.Server)
			}
			l := startLink(t, "", []string{"*"}, change)
			l.awaitLog(t, test.want)
			found := fmt.Sprint(report(source.Check(t.Context(), checkConfig("", []string{"*"}, change))))
			if !strings.Contains(found, test.want) {
				t.Errorf("the check found %s", found)
			}
			if strings.Contains(l.log.String()+found, "secret") {
				t.Error("the log or the check contains a password")
			}
		})
	}
	t.Run("right password", func(t *testing.T) {
		t.Parallel()
		change := func(c *source.Config) {
			watched(c)
			c.Server.SentinelPassword = "watch-secret"
		}
		l := startLive(t, "", []string{"chat:*"}, change)
		if n, err := l.Link.Publish(t.Context(), "chat:1", []byte("mine")); n != 1 || err != nil {
			t.Errorf("publishing returned %d, %v", n, err)
		}
		l.awaitEvent(t, "chat:1=mine", 1)
		expectFindings(t, checkBut(t, limits, checkConfig("", []string{"chat:*"}, change)),
			"ok sentinel: main is at "+master.Addr, "ok server: ", "ok version: Redis ", "ok role: master",
			"ok pattern chat:*: the relay may", "ok receiving markers: allowed", "ok publishing markers: allowed", "ok other relays: ",
			"ok self-test: ")
	})
}

// TestSentinelsAreUnreachable checks that the link waits for Sentinels at the
// start, and does not need them after that.
func TestSentinelsAreUnreachable(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, master)
	proxy := faultproxy.Start(t, sentinel.Addr)
	proxy.Refuse(true)
	l := startLink(t, "", []string{"*"}, sentinels(proxy.Addr))
	l.awaitEvent(t, "offline", 1)
	if _, err := l.Link.Publish(t.Context(), "chat", nil); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("publishing returned %v", err)
	}
	proxy.Refuse(false)
	l.awaitEvent(t, "online", 1)
	proxy.Refuse(true)
	proxy.Reset()
	<-time.After(aboveRoleInterval)
	l.expectDelivery(t, master, "chat")
	l.expectLost(t, 1) // before the first epoch, not with the Sentinels
}

// aboveRoleInterval is longer than the time between two checks of the link's
// server.
const aboveRoleInterval = 6 * time.Second

// TestDeposedMaster fails over in a way that the old master does not notice, as
// in a network split: applications publish to it after clients got the gap of
// the failover. They get one more when it becomes a replica, or has been
// unreachable for 30 s, and another if it then returned as a master.
func TestDeposedMaster(t *testing.T) {
	t.Parallel()
	demote := func(t *testing.T, l *runningLink, old, next *redistest.Server, gaps int) {
		old.CLI("PUBLISH", "chat", "lost")
		l.expectDelivery(t, next, "chat")
		if n := count(l.allEvents(), "gap"); n != gaps-1 {
			t.Errorf("%d gaps while the old master accepts messages", n)
		}
		old.CLI("REPLICAOF", "127.0.0.1", next.Port())
		l.awaitEvent(t, "gap", gaps)
		l.awaitLog(t, "the master before the failover accepts no more messages", "addr="+old.Addr)
	}
	for name, end := range map[string]func(t *testing.T, l *runningLink, old, next *redistest.Server) (gaps int){
		"becomes a replica": func(t *testing.T, l *runningLink, old, next *redistest.Server) int {
			demote(t, l, old, next, 1)
			return 1
		},
		"is stopped, and returns": func(t *testing.T, l *runningLink, old, next *redistest.Server) int {
			old.Kill()
			l.awaitEvent(t, "gap", 1)
			l.awaitLog(t, "the master before the failover has not answered for 30 s", "addr="+old.Addr)
			if strings.Contains(l.log.String(), "accepts no more messages") {
				t.Error("the log says that a stopped server accepts no more messages")
			}
			old.Restart()
			awaitAsked(t, old)
			demote(t, l, old, next, 2)
			return 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
				old, next := redistest.Start(t), redistest.Start(t)
				sentinel := redistest.StartSentinel(t, old)
				l := startLive(t, "", []string{"*"}, sentinels(sentinel.Addr), useProtocol)
				monitorMaster(sentinel, next)
				l.awaitEvent(t, "online", 2)
				gaps := end(t, l, old, next)
				l.expectDelivery(t, next, "chat")
				l.expectLost(t, 1) // in spite of the gaps, the link stays
				if n := count(l.allEvents(), "gap"); n != gaps {
					t.Errorf("%d gaps", n)
				}
			})
		})
	}
}

// awaitAsked waits until the relay has asked a server for its role.
func awaitAsked(t *testing.T, server *redistest.Server) {
	t.Helper()
	eventually(t, "a question for the role", func() bool {
		return strings.Contains(server.CLI("INFO", "commandstats"), "cmdstat_role:calls=")
	})
}
