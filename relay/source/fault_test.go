package source_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// detectionLimit is how long the detection of any fault may take.
const detectionLimit = 10 * time.Second

func TestStoppedRedisIsDetected(t *testing.T) {
	eachLink(t, func(t *testing.T, server *redistest.Server, l *runningLink) {
		server.Stop()
		l.expectDetected(t, 1, detectionLimit+time.Second)
		l.expectEnded(t, stats.CauseSilence, 1)
		server.Cont()
		l.awaitEvent(t, "online", 2)
		l.expectDelivery(t, server, "chat")
		l.awaitLog(t, "redis connection lost", "cause=silence", "redis connected", "took=")
	})
}

func TestBlackHoleIsDetected(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		for name, directions := range map[string][]faultproxy.Direction{
			"both ways": faultproxy.Both, "to Redis": {faultproxy.ToServer}, "to the relay": {faultproxy.ToClient},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := faultproxy.Start(t, server.Addr)
				l := startLive(t, proxy.Addr, []string{"*"}, useProtocol)
				proxy.Hold(directions...)
				l.expectDetected(t, 1, detectionLimit+time.Second)
				l.expectEnded(t, stats.CauseSilence, 1)
				proxy.Release(directions...)
				l.awaitEvent(t, "online", 2)
				l.expectDelivery(t, server, "chat")
			})
		}
	})
}

func TestKilledClientReconnects(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		l := startLink(t, server.Addr, []string{"chat", "*"}, useProtocol)
		for n := 1; n <= 3; n++ {
			l.awaitEvent(t, "online", n)
			l.expectDelivery(t, server, "chat")
			if err := l.CatchUp(t.Context()); err != nil {
				t.Errorf("in epoch %d CatchUp returned %v", n, err)
			}
			server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
			l.awaitEvent(t, "offline", n)
		}
		l.awaitEvent(t, "online", 4)
		l.expectEnded(t, stats.CauseError, 3)
	})
}

// sendCommandsTo sends all commands to another address than the link's.
func sendCommandsTo(addr string) func(*source.Config) {
	return func(c *source.Config) {
		c.Connect = func(o *redis.UniversalOptions) redis.UniversalClient {
			if o.OnConnect == nil { // the client for commands
				o.Addrs = []string{addr}
			}
			return redis.NewUniversalClient(o)
		}
	}
}

// TestResetInsideAMessage breaks the connection inside each part of a message.
// No part of a message may be delivered.
func TestResetInsideAMessage(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		proxy := faultproxy.Start(t, server.Addr)
		// Only the link may use the proxy: otherwise the periodic role check
		// could trigger the reset that is meant for the message.
		l := startLink(t, proxy.Addr, []string{"*"}, useProtocol, sendCommandsTo(server.Addr), markersOff)
		const payload = "0123456789"
		size := len("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$4\r\nchat\r\n$10\r\n0123456789\r\n")
		for i, n := range []int{1, 10, 24, 35, 41, size - 5, size - 1, size} {
			l.awaitEvent(t, "online", 1+i)
			proxy.ResetAfter(faultproxy.ToClient, n)
			server.CLI("PUBLISH", "chat", payload)
			l.awaitEvent(t, "offline", 1+i)
		}
		for _, event := range l.recorder.deliveries() {
			if event != "online" && event != "offline" && event != "chat="+payload {
				t.Errorf("got %q", event)
			}
		}
	})
}

func TestResetTwiceInARow(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		proxy := faultproxy.Start(t, server.Addr)
		l := startLive(t, proxy.Addr, []string{"*"}, useProtocol)
		proxy.Refuse(true)
		proxy.Reset()
		l.awaitEvent(t, "offline", 1)
		l.awaitLog(t, "redis cannot be used")
		proxy.Refuse(false)
		l.awaitEvent(t, "online", 2)
		l.expectEvents(t, "online", "offline", "online")
	})
}

// TestBusySinkKeepsTheLink blocks the sink in one message for longer than any
// silence or marker may last, while more messages arrive. No message is lost,
// so there must be no gap.
func TestBusySinkKeepsTheLink(t *testing.T) {
	eachLink(t, func(t *testing.T, server *redistest.Server, l *runningLink) {
		var once sync.Once
		l.setHook(func(_, _ []byte) { once.Do(func() { <-time.After(detectionLimit) }) })
		server.CLI("PUBLISH", "chat", "busy")
		for i := range 20 {
			server.CLI("PUBLISH", "chat", fmt.Sprint(i))
		}
		l.awaitEvent(t, "chat=19", 1)
		l.await(t, "a marker afterwards", func(events []string) bool {
			return hasMarker(events[slices.Index(events, "chat=19"):])
		})
		if got := l.recorder.deliveries(); len(got) != 22 || slices.Contains(got, "offline") {
			t.Errorf("got %q", got)
		}
	})
}

// TestSlowSinkExceedsOutputBuffer blocks the sink until the link's output
// buffer in Redis is too large and Redis closes the connection.
func TestSlowSinkExceedsOutputBuffer(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 256kb 0 0")
		blocked, release := make(chan struct{}), make(chan struct{})
		l := startLive(t, server.Addr, []string{"*"}, useProtocol)
		first := true
		l.setHook(func(_, _ []byte) {
			if first {
				first = false
				close(blocked)
				<-release
			}
		})
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		big := strings.Repeat("x", 64<<10)
		closed := func() bool { return strings.Contains(server.Log(), "scheduled to be closed ASAP") }
		eventually(t, "Redis to close the link", func() bool {
			client.Publish(t.Context(), "chat", big)
			return closed()
		})
		<-blocked
		close(release)
		l.awaitEvent(t, "offline", 1)
		l.awaitEvent(t, "online", 2)
		for _, event := range l.recorder.deliveries() {
			if event != "online" && event != "offline" && event != "chat="+digest(big) {
				t.Fatalf("got a payload of %d bytes", len(event))
			}
		}
	})
}

func TestWrongPasswordIsExplained(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, user, password, want string }{
		{"none", "", "", "requires a password"},
		{"wrong", "", "wrong-secret", "were refused"},
		{"wrong user", "unknown", "wrong-secret", "were refused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
				server := redistest.Start(t, "--requirepass", "right-secret")
				l := startLink(t, server.Addr, []string{"*"}, useProtocol, func(c *source.Config) {
					c.Server.Username, c.Server.Password = test.user, test.password
				})
				l.awaitLog(t, test.want, "SIDECAST_REDIS_PASSWORD")
				if got := l.recorder.deliveries(); !slices.Equal(got, []string{"offline"}) || l.Ready() || l.Up() {
					t.Errorf("got %q", got)
				}
				if strings.Contains(l.log.String(), "secret") {
					t.Error("the log contains the password")
				}
			})
		})
	}
}

// TestPasswordIsRedacted uses a server that repeats the arguments of unknown
// commands.
func TestPasswordIsRedacted(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", "")
		user := func(c *source.Config) { c.Server.Username, c.Server.Password = "relay", "hunter2" }
		l := startLink(t, server.Addr, []string{"*"}, useProtocol, user)
		l.awaitLog(t, "[redacted]")
		found := source.Check(t.Context(), checkConfig(server.Addr, []string{"*"}, useProtocol, user))
		if text := l.log.String() + fmt.Sprint(report(found)); strings.Contains(text, "hunter2") {
			t.Errorf("the password is in %s", text)
		}
	})
}

func TestDemotedServerEndsTheEpoch(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		other := redistest.Start(t)
		l := startLive(t, server.Addr, []string{"*"}, useProtocol)
		server.CLI("REPLICAOF", "127.0.0.1", other.Port())
		l.expectDetected(t, 1, detectionLimit)
		l.awaitLog(t, "problem=\"the server is a replica\"", "cause=replica", "point SIDECAST_REDIS_URL at the master")
		if l.Up() {
			t.Error("the link is up at a replica")
		}
		server.CLI("REPLICAOF", "NO", "ONE")
		l.awaitEvent(t, "online", 2)
		l.expectDelivery(t, server, "chat")
	})
}

func TestReplicaIsRefused(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		master := redistest.Start(t)
		replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port())
		for name, user := range map[string]func(*source.Config){
			"by ROLE": func(*source.Config) {},
			"by INFO": aclUser(t, replica, "allchannels", "+info"),
		} {
			t.Run(name, func(t *testing.T) {
				l := startLink(t, replica.Addr, []string{"*"}, useProtocol, user)
				l.awaitLog(t, "the server is a replica")
				l.expectEvents(t, "offline")
				l.expectEnded(t, stats.CauseReplica, 1)
			})
		}
	})
}

// TestUnknownRoleAndNode checks that a link works with a server that does not
// identify itself: each epoch has a new tag, and there is one warning for the
// role and one for the node.
func TestUnknownRoleAndNode(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		user := aclUser(t, server, "allchannels")
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, user)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		if tags := l.nodeTags(); tags[0] == tags[1] {
			t.Errorf("two epochs had one tag: %08x", tags)
		}
		l.expectLoggedOnce(t, "does not report its role")
		l.expectLoggedOnce(t, "does not report its run_id")
	})
}

// TestLostMarkerEndsTheEpoch publishes to another server than the one that the
// link listens to.
func TestLostMarkerEndsTheEpoch(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		other := redistest.Start(t)
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, sendCommandsTo(other.Addr))
		if took := l.expectDetected(t, 1, detectionLimit); took < 4*time.Second {
			t.Errorf("detected after %v", took)
		}
		l.expectEnded(t, stats.CauseMarker, 1)
		if n := l.stats.MarkersLost.Load(); n != 1 {
			t.Errorf("%d markers lost", n)
		}
		l.awaitLog(t, "cause=marker", "was not received over the link")
	})
}

func TestPublishDoesNotHang(t *testing.T) {
	eachLink(t, func(t *testing.T, server *redistest.Server, l *runningLink) {
		if _, err := l.Link.Publish(t.Context(), "chat", []byte("warm")); err != nil {
			t.Fatal(err)
		}
		server.Stop()
		began := time.Now()
		_, err := l.Link.Publish(context.Background(), "chat", []byte("once"))
		if took := time.Since(began); !errors.Is(err, source.ErrUnavailable) || took > 3*time.Second {
			t.Errorf("returned %v after %v", err, took)
		}
		server.Cont()
		l.expectDelivery(t, server, "chat")
		if n := count(l.recorder.deliveries(), "chat=once"); n > 1 {
			t.Errorf("published %d times", n)
		}
	})
}
