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

// detection is how long finding any fault may take.
const detection = 10 * time.Second

// lives checks that a message gets through now.
func (l *running) lives(t testing.TB, server *redistest.Server, channel string) {
	t.Helper()
	payload := fmt.Sprint("alive ", time.Now().UnixNano())
	server.CLI("PUBLISH", channel, payload)
	l.awaitEvent(t, channel+"="+payload, 1)
}

// ended checks how many epochs ended for a cause.
func (l *running) ended(t testing.TB, cause stats.Cause, want uint64) {
	t.Helper()
	if n := l.stats.RedisEpochs[cause].Load(); n != want {
		t.Errorf("%d epochs ended by %s, want %d", n, stats.Causes[cause], want)
	}
}

// says waits until the log contains each text: the link tells its sink first, and logs then.
func (l *running) says(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		eventually(t, "the log to say "+text, func() bool { return strings.Contains(l.log.String(), text) })
	}
}

// warnedOnce checks that the log says this, once.
func (l *running) warnedOnce(t testing.TB, text string) {
	t.Helper()
	if n := strings.Count(l.log.String(), text); n != 1 {
		t.Errorf("the log says %q %d times", text, n)
	}
}

func TestStoppedRedisIsFound(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak)
		server.Stop()
		began := time.Now()
		l.awaitEvent(t, "offline", 1)
		if took := time.Since(began); took > detection+time.Second {
			t.Errorf("found after %v", took)
		}
		l.ended(t, stats.CauseSilence, 1)
		server.Cont()
		l.awaitEvent(t, "online", 2)
		l.lives(t, server, "chat")
		l.says(t, "redis link is lost", "cause=silence", "redis link is live", "took=")
	})
}

func TestBlackHoleIsFound(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		for name, directions := range map[string][]faultproxy.Direction{
			"both ways": faultproxy.Both, "to Redis": {faultproxy.ToServer}, "to the relay": {faultproxy.ToClient},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := faultproxy.Start(t, server.Addr)
				l := goLive(t, proxy.Addr, []string{"*"}, speak)
				began := time.Now()
				proxy.Hold(directions...)
				l.awaitEvent(t, "offline", 1)
				if took := time.Since(began); took > detection+time.Second {
					t.Errorf("found after %v", took)
				}
				l.ended(t, stats.CauseSilence, 1)
				proxy.Release(directions...)
				l.awaitEvent(t, "online", 2)
				l.lives(t, server, "chat")
			})
		}
	})
}

func TestKilledClientComesBack(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := run(t, server.Addr, []string{"chat", "*"}, speak)
		for n := 1; n <= 3; n++ {
			l.awaitEvent(t, "online", n)
			l.lives(t, server, "chat")
			server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
			l.awaitEvent(t, "offline", n)
		}
		l.awaitEvent(t, "online", 4)
		l.ended(t, stats.CauseError, 3)
	})
}

// commandsTo leads all but the link itself to another address.
func commandsTo(addr string) func(*source.Config) {
	return func(c *source.Config) {
		c.Connect = func(o *redis.UniversalOptions) redis.UniversalClient {
			if o.OnConnect == nil {
				o.Addrs = []string{addr}
			}
			return redis.NewUniversalClient(o)
		}
	}
}

// TestResetInsideAMessage breaks the conn inside each part of a message; none may arrive in part.
func TestResetInsideAMessage(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		proxy := faultproxy.Start(t, server.Addr)
		// Only the link may use the proxy: the look at the server's role would take the reset that is meant for the message.
		l := run(t, proxy.Addr, []string{"*"}, speak, commandsTo(server.Addr), func(c *source.Config) { c.MarkersOff = true })
		const payload = "0123456789"
		size := len("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$4\r\nchat\r\n$10\r\n0123456789\r\n")
		for i, n := range []int{1, 10, 24, 35, 41, size - 5, size - 1, size} {
			l.awaitEvent(t, "online", 1+i)
			proxy.ResetAfter(faultproxy.ToClient, n)
			server.CLI("PUBLISH", "chat", payload)
			l.awaitEvent(t, "offline", 1+i)
		}
		for _, event := range l.recorder.log() {
			if event != "online" && event != "offline" && event != "chat="+payload {
				t.Errorf("got %q", event)
			}
		}
	})
}

func TestResetTwiceInARow(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		proxy := faultproxy.Start(t, server.Addr)
		l := goLive(t, proxy.Addr, []string{"*"}, speak)
		proxy.Refuse(true)
		proxy.Reset()
		l.awaitEvent(t, "offline", 1)
		eventually(t, "a log of the trouble", func() bool { return strings.Contains(l.log.String(), "redis is not reachable") })
		proxy.Refuse(false)
		l.awaitEvent(t, "online", 2)
		if got := l.recorder.log(); !slices.Equal(got, []string{"online", "offline", "online"}) {
			t.Fatalf("got %q", got)
		}
	})
}

// TestBusySinkKeepsTheLink does not return from one message for longer than any silence or marker may last, while more
// arrive. A gap would be one without a cause.
func TestBusySinkKeepsTheLink(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak)
		var once sync.Once
		l.setHook(func(_, _ []byte) { once.Do(func() { <-time.After(detection) }) })
		server.CLI("PUBLISH", "chat", "busy")
		for i := range 20 {
			server.CLI("PUBLISH", "chat", fmt.Sprint(i))
		}
		l.awaitEvent(t, "chat=19", 1)
		l.await(t, "a marker afterwards", func(events []string) bool {
			return hasMarker(events[slices.Index(events, "chat=19"):])
		})
		if got := l.recorder.log(); len(got) != 22 || slices.Contains(got, "offline") {
			t.Errorf("got %q", got)
		}
	})
}

// TestKickedForASlowSink makes Redis drop us for the size of our output buffer while the sink does not return.
func TestKickedForASlowSink(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 256kb 0 0")
		stuck, release := make(chan struct{}), make(chan struct{})
		l := goLive(t, server.Addr, []string{"*"}, speak, func(c *source.Config) {})
		first := true
		l.setHook(func(_, _ []byte) {
			if first {
				first = false
				close(stuck)
				<-release
			}
		})
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		big := strings.Repeat("x", 64<<10)
		kicked := func() bool { return strings.Contains(server.Log(), "scheduled to be closed ASAP") }
		eventually(t, "Redis to close the link", func() bool {
			client.Publish(t.Context(), "chat", big)
			return kicked()
		})
		<-stuck
		close(release)
		l.awaitEvent(t, "offline", 1)
		l.awaitEvent(t, "online", 2)
		for _, event := range l.recorder.log() {
			if event != "online" && event != "offline" && event != "chat="+big {
				t.Fatalf("got a payload of %d bytes", len(event))
			}
		}
	})
}

func TestWrongPasswordIsExplained(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		user, password string
		says           string
	}{
		{"none", "", "", "wants a password"},
		{"wrong", "", "wrong-secret", "were refused"},
		{"wrong user", "nobody", "wrong-secret", "were refused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
				server := redistest.Start(t, "--requirepass", "right-secret")
				l := run(t, server.Addr, []string{"*"}, speak, func(c *source.Config) {
					c.Server.Username, c.Server.Password = test.user, test.password
				})
				l.says(t, test.says, "SIDECAST_REDIS_PASSWORD")
				if got := l.recorder.log(); !slices.Equal(got, []string{"offline"}) || l.Ready() || l.Up() {
					t.Errorf("got %q", got)
				}
				if strings.Contains(l.log.String(), "secret") {
					t.Error("the log contains the password")
				}
			})
		})
	}
}

// TestPasswordIsNotRepeated meets a server that quotes what it does not understand.
func TestPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", "")
		user := func(c *source.Config) { c.Server.Username, c.Server.Password = "relay", "hunter2" }
		l := run(t, server.Addr, []string{"*"}, speak, user)
		l.says(t, "[redacted]")
		found := source.Check(t.Context(), checkConfig(server.Addr, []string{"*"}, speak, user))
		if text := l.log.String() + fmt.Sprint(report(found)); strings.Contains(text, "hunter2") {
			t.Errorf("repeated: %s", text)
		}
	})
}

func TestPasswordBecomesRight(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "first")
		l := run(t, server.Addr, []string{"*"}, speak, func(c *source.Config) { c.Server.Password = "second" })
		l.awaitEvent(t, "offline", 1)
		server.CLI("-a", "first", "CONFIG", "SET", "requirepass", "second")
		l.awaitEvent(t, "online", 1)
	})
}

func TestDemotedServerIsLeft(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server, other := redistest.Start(t), redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak)
		server.CLI("REPLICAOF", "127.0.0.1", other.Port())
		began := time.Now()
		l.awaitEvent(t, "offline", 1)
		if took := time.Since(began); took > detection {
			t.Errorf("found after %v", took)
		}
		l.says(t, "problem=\"the server is a replica\"", "cause=replica", "point SIDECAST_REDIS_URL at the master")
		if l.Up() {
			t.Error("linked to a replica")
		}
		server.CLI("REPLICAOF", "NO", "ONE")
		l.awaitEvent(t, "online", 2)
		l.lives(t, server, "chat")
	})
}

func TestReplicaIsRefused(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		master := redistest.Start(t)
		replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port())
		for name, user := range map[string]func(*source.Config){
			"by ROLE": func(*source.Config) {},
			"by INFO": aclUser(t, replica, "allchannels", "+info"),
		} {
			t.Run(name, func(t *testing.T) {
				l := run(t, replica.Addr, []string{"*"}, speak, user)
				l.says(t, "the server is a replica")
				if got := l.recorder.log(); !slices.Equal(got, []string{"offline"}) {
					t.Errorf("got %q", got)
				}
				l.ended(t, stats.CauseReplica, 1)
			})
		}
	})
}

func TestUnknownRoleIsAccepted(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		user := aclUser(t, server, "allchannels")
		l := goLive(t, server.Addr, []string{"*"}, speak, user)
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		l.awaitEvent(t, "online", 2)
		l.warnedOnce(t, "does not tell its role")
	})
}

// TestLostMarkerEndsTheEpoch publishes to another server than the one that is heard.
func TestLostMarkerEndsTheEpoch(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server, other := redistest.Start(t), redistest.Start(t)
		l := run(t, server.Addr, []string{"*"}, speak, func(c *source.Config) {
			c.Connect = func(o *redis.UniversalOptions) redis.UniversalClient {
				if o.OnConnect == nil { // the client for commands
					o.Addrs = []string{other.Addr}
				}
				return redis.NewUniversalClient(o)
			}
		})
		l.awaitEvent(t, "online", 1)
		began := time.Now()
		l.awaitEvent(t, "offline", 1)
		if took := time.Since(began); took < 4*time.Second || took > detection {
			t.Errorf("found after %v", took)
		}
		l.ended(t, stats.CauseMarker, 1)
		if n := l.stats.MarkersLost.Load(); n != 1 {
			t.Errorf("%d markers lost", n)
		}
		eventually(t, "the log", func() bool { return strings.Contains(l.log.String(), "cause=marker") })
		l.says(t, "did not come back")
	})
}

func TestPublishDoesNotHang(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak)
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
		l.lives(t, server, "chat")
		if n := count(l.recorder.log(), "chat=once"); n > 1 {
			t.Errorf("published %d times", n)
		}
	})
}
