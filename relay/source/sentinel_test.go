package source_test

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

var long = flag.Bool("long", false, "run the heavy variants, which take minutes")

// group is a master, a replica and three Sentinels.
type group struct {
	nodes     []*redistest.Server
	sentinels []string
	clients   []*redis.SentinelClient // of each
}

const masterName = "main"

// startGroup starts one.
func startGroup(t testing.TB) *group {
	t.Helper()
	master := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port())
	g := &group{nodes: []*redistest.Server{master, replica}}
	eventually(t, "the replica", func() bool {
		return strings.Contains(replica.CLI("INFO", "replication"), "master_link_status:up")
	})
	for range 3 {
		addr := startSentinel(t, master)
		client := redis.NewSentinelClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		g.sentinels, g.clients = append(g.sentinels, addr), append(g.clients, client)
	}
	eventually(t, "the Sentinels to know each other and the replica", func() bool {
		return !slices.ContainsFunc(g.clients, func(client *redis.SentinelClient) bool {
			known, err := client.Master(t.Context(), masterName).Result()
			return err != nil || known["num-slaves"] != "1" || known["num-other-sentinels"] != "2" || known["flags"] != "master"
		})
	})
	return g
}

// startSentinel starts a Sentinel for a master, with more in its configuration, and returns its address.
func startSentinel(t testing.TB, master *redistest.Server, more ...string) string {
	t.Helper()
	redistest.Require(t, "redis-sentinel", "redis-sentinel")
	addr := redistest.FreeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	lines := []string{
		"bind 127.0.0.1", "port " + port, "dir " + t.TempDir(),
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", masterName, master.Port()),
		// Nobody dies in these tests. On a busy machine Sentinels with less patience begin failovers of their own, and give up
		// those that they are asked for. With more they would leave a group for long that has lost its master to confusion.
		"sentinel down-after-milliseconds " + masterName + " 5000",
		"sentinel failover-timeout " + masterName + " 10000",
	}
	config := strings.Join(append(lines, more...), "\n") + "\n"
	process := exec.Command("redis-sentinel", redistest.WriteFile(t, "sentinel.conf", []byte(config)))
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	eventually(t, "the Sentinel", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return addr
}

// server says how to find the group's master.
func (g *group) server(c *source.Config) {
	c.Server.Mode, c.Server.MasterName = source.Sentinel, masterName
	c.Server.Address, c.Server.More = g.sentinels[0], g.sentinels[1:]
}

// master returns the address that the Sentinel names.
func (g *group) master(t testing.TB) string {
	t.Helper()
	parts, err := g.clients[0].GetMasterAddrByName(t.Context(), masterName).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(parts, ":")
}

// failover makes the replica the master while the old one lives, and waits until that is over.
func (g *group) failover(t testing.TB) {
	t.Helper()
	old := g.master(t)
	var asked time.Time
	eventually(t, "the failover", func() bool {
		if g.master(t) != old {
			return true
		}
		if time.Since(asked) > 3*time.Second { // Sentinels refuse one too soon, and give up one that they had begun
			if g.clients[0].Failover(t.Context(), masterName).Err() == nil {
				asked = time.Now()
			}
		}
		return false
	})
	// A Sentinel that has not heard of it would take the new master for a replica that went astray, and set it right.
	eventually(t, "all Sentinels to agree", func() bool {
		return !slices.ContainsFunc(g.clients, func(client *redis.SentinelClient) bool {
			known, err := client.Master(t.Context(), masterName).Result()
			return err != nil || net.JoinHostPort(known["ip"], known["port"]) == old || known["flags"] != "master"
		})
	})
	eventually(t, "the old master to follow", func() bool {
		for _, node := range g.nodes {
			if node.Addr == old {
				text, _ := node.TryCLI("INFO", "replication") // Sentinels close every client's connection
				return strings.Contains(text, "master_link_status:up")
			}
		}
		return false
	})
}

// TestSentinelFailover fails over with the old master alive, again and again, while the application publishes by a
// client that follows the Sentinels, and so does the relay.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	rounds := 3
	if *long {
		rounds = 20
	}
	g := startGroup(t)
	l := goLive(t, "", []string{"*"}, g.server)
	application := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: masterName, SentinelAddrs: g.sentinels, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = application.Close() })
	book := newLedger(t)
	for _, channel := range channelNames(3) {
		book.publish(channel, func() redis.UniversalClient { return application })
	}
	for round := range rounds {
		book.flows(t, 50, channelNames(3)...)
		g.failover(t)
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
	g := startGroup(t)
	l := goLive(t, "", []string{"*"}, g.server)
	next := redistest.Start(t)
	began := time.Now()
	for _, client := range g.clients {
		if err := client.Remove(t.Context(), masterName).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Monitor(t.Context(), masterName, "127.0.0.1", next.Port(), "2").Err(); err != nil {
			t.Fatal(err)
		}
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
	l.ended(t, relay.CauseReplica, 1)
	l.says(t, "cause=replica", "name another master")
}

// TestSentinelsDisagree keeps the link where one of three Sentinels alone names another master.
func TestSentinelsDisagree(t *testing.T) {
	t.Parallel()
	g := startGroup(t)
	other := redistest.Start(t)
	client := g.clients[2]
	if err := client.Remove(t.Context(), masterName).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Monitor(t.Context(), masterName, "127.0.0.1", other.Port(), "2").Err(); err != nil {
		t.Fatal(err)
	}
	l := goLive(t, "", []string{"*"}, g.server)
	<-time.After(detection) // two looks at the Sentinels
	l.lives(t, g.nodes[0], "chat")
	if got := count(l.recorder.log(), "offline"); got != 0 {
		t.Errorf("lost the link %d times", got)
	}
}

// TestSentinelTroubleIsExplained has what can be wrong with Sentinels.
func TestSentinelTroubleIsExplained(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	g := &group{nodes: []*redistest.Server{master}, sentinels: []string{startSentinel(t, master, "requirepass watch-secret")}}
	for name, test := range map[string]struct {
		change func(*source.Server)
		says   string
	}{
		"no password":    {func(s *source.Server) {}, "SIDECAST_REDIS_SENTINEL_PASSWORD"},
		"wrong password": {func(s *source.Server) { s.SentinelPassword = "other-secret" }, "SIDECAST_REDIS_SENTINEL_PASSWORD"},
		"no such master": {func(s *source.Server) { s.SentinelPassword, s.MasterName = "watch-secret", "nobody" }, "check master_name"},
		"nobody listens": {func(s *source.Server) { s.Address, s.More = redistest.FreeAddr(t), nil }, "no Sentinel answers"},
		"not a Sentinel": {func(s *source.Server) { s.Address, s.More = g.nodes[0].Addr, nil }, "the server is no Sentinel"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := func(c *source.Config) {
				g.server(c)
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
			g.server(c)
			c.Server.SentinelPassword = "watch-secret"
		}
		l := goLive(t, "", []string{"chat:*"}, change)
		if n, err := l.Link.Publish(t.Context(), "chat:1", []byte("mine")); n != 1 || err != nil {
			t.Errorf("publishing returned %d, %v", n, err)
		}
		l.awaitEvent(t, "chat:1=mine", 1)
		expectFindings(t, source.Check(t.Context(), checkConfig("", []string{"chat:*"}, change)),
			"ok sentinel: main is at "+g.nodes[0].Addr, "ok server: ", "ok version: Redis ", "ok role: master", "ok pattern chat:*: may",
			"ok hearing markers: allowed", "ok publishing markers: allowed", "ok other relays: ")
	})
}

// TestSentinelsAreAway waits for Sentinels that are away at the start, and needs none for a link that lives.
func TestSentinelsAreAway(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	addr := startSentinel(t, master)
	proxy := faultproxy.Start(t, addr)
	proxy.Refuse(true)
	l := run(t, "", []string{"*"}, func(c *source.Config) {
		c.Server.Mode, c.Server.MasterName, c.Server.Address = source.Sentinel, masterName, proxy.Addr
	})
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
