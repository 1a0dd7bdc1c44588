package source_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// These tests cover the faults between Redis and the relay. Each fault is
// detected within 10 s and named in the log and the metric, and the relay
// recovers from it without help.
//
//	killed and started again                 TestRedisRestarts
//	absent at the start                      TestRedisIsAbsentAtTheStart
//	stopped                                  TestStoppedRedisIsDetected; for less than 8 s TestShortStopKeepsTheLink
//	black hole, both ways or one             TestBlackHoleIsDetected
//	reset inside a message, twice in a row   TestResetInsideAMessage, TestResetTwiceInARow
//	closed for its output buffer             TestSlowSinkExceedsOutputBuffer
//	killed by CLIENT KILL                    TestKilledClientReconnects
//	rights missing                           TestDeniedPatternIsNamed, TestDeniedCommandIsNamed
//	rights revoked                           TestRevokedRightEndsTheEpoch
//	wrong password, later valid              TestWrongPasswordIsExplained, TestPasswordIsRotated
//	password replaced in its file            TestPasswordIsRotated, TestPasswordFileIsMissing
//	loading                                  TestLoading
//	writes refused (OOM, NOREPLICAS)         TestWritesAreRefused, TestConditionsOfRedis
//	busy with a script                       TestConditionsOfRedis
//	too many clients                         TestTooManyClients
//	another address for the host's name      TestAddressMoves
//	healthy, but delivers nothing            TestLostMarkerEndsTheEpoch
//	a replica, at once or later              TestReplicaIsRefused, TestDemotedServerEndsTheEpoch
//	failover by Sentinels                    TestSentinelFailover, TestSentinelsNameAnotherMaster, TestSentinelsDisagree
//	old master still in use after a failover TestDeposedMaster
//	Sentinels down                           TestSentinelsAreUnreachable, TestSentinelErrorsAreExplained
//	cluster: nodes lost or demoted           TestClusterLosesNodes, TestClusterNodeIsDemoted
//	cluster: slots moved                     TestClusterReshardLosesNothing
//	cluster: bus broken                      TestClusterBusLinkBreaks, TestClusterNodeIsStopped
//	TLS                                      TestTLSErrorsAreExplained

// rotatingPassword is a source of credentials that a test can change.
type rotatingPassword struct{ password atomic.Pointer[string] }

func (r *rotatingPassword) set(password string) { r.password.Store(&password) }

// use makes the link ask for its credentials at each dial. While no password is
// set, that fails.
func (r *rotatingPassword) use(c *source.Config) {
	c.Server.Credentials = func() (string, string, error) {
		if password := r.password.Load(); password != nil {
			return "", *password, nil
		}
		return "", "", errors.New("no such file or directory")
	}
}

func TestPasswordIsRotated(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "first-secret")
		var file rotatingPassword
		file.set("first-secret")
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, file.use)
		l.await(t, "a marker", hasMarker) // the client for commands has logged in too
		server.CLI("-a", "first-secret", "CONFIG", "SET", "requirepass", "second-secret")
		if l.CatchUp(t.Context()) != nil {
			t.Error("a link that is logged in was lost when the password changed")
		}
		server.CLI("-a", "second-secret", "CLIENT", "KILL", "TYPE", "pubsub")
		server.CLI("-a", "second-secret", "CLIENT", "KILL", "TYPE", "normal")
		l.awaitEvent(t, "offline", 1)
		l.awaitLog(t, "user and password were refused", "SIDECAST_REDIS_PASSWORD")
		file.set("second-secret")
		l.awaitEvent(t, "online", 2)
		l.awaitPublishing(t)
		l.awaitEvent(t, "mine=x", 1)
		if strings.Contains(l.log.String(), "secret") {
			t.Error("the log contains a password")
		}
	})
}

func TestPasswordFileIsMissing(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "first-secret")
		var file rotatingPassword
		l := startLink(t, server.Addr, []string{"*"}, useProtocol, file.use)
		l.awaitLog(t, "user and password cannot be read", "SIDECAST_REDIS_PASSWORD_FILE", "no such file")
		file.set("first-secret")
		l.awaitEvent(t, "online", 1)
	})
}

// TestShortStopKeepsTheLink stops Redis for less time than the watchdog allows.
// No message is lost, so there is no gap.
func TestShortStopKeepsTheLink(t *testing.T) {
	eachLink(t, func(t *testing.T, server *redistest.Server, l *runningLink) {
		l.await(t, "a marker", hasMarker)
		server.Stop()
		<-time.After(5 * time.Second)
		server.Cont()
		l.expectDelivery(t, server, "chat")
		<-time.After(5 * time.Second) // any delayed marker has returned, or is lost
		l.expectLost(t, 0)
	})
}

// TestWritesAreRefused uses servers that refuse writes. They still deliver
// messages and markers.
func TestWritesAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setting []string
		refusal string
	}{
		"the memory is full":   {[]string{"maxmemory", "1"}, "OOM"},
		"replicas are missing": {[]string{"min-replicas-to-write", "1"}, "NOREPLICAS"},
		"saving fails":         {nil, "MISCONF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			l := startLive(t, server.Addr, []string{"*"})
			if test.setting != nil {
				server.CLI("CONFIG", "SET", test.setting[0], test.setting[1])
			} else {
				breakDisk(t, server)
			}
			out, err := server.TryCLI("XADD", "orders", "*", "data", "x")
			if err == nil || !strings.Contains(out+err.Error(), test.refusal) {
				t.Fatalf("a write answered %q, %v", out, err)
			}
			server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
			l.awaitEvent(t, "online", 2)
			l.await(t, "a marker in the new epoch", func([]string) bool { return l.stats.MarkersUp.Load() })
			l.expectDelivery(t, server, "chat")
			if n, err := l.Link.Publish(t.Context(), "chat", nil); n != 1 || err != nil {
				t.Errorf("Publish returned %d, %v", n, err)
			}
		})
	}
}

// breakDisk makes saving fail, after which Redis refuses writes.
func breakDisk(t *testing.T, server *redistest.Server) {
	t.Helper()
	dir := strings.TrimSpace(strings.TrimPrefix(server.CLI("CONFIG", "GET", "dir"), "dir\n"))
	if err := os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700); err != nil { // a file cannot replace a directory
		t.Fatal(err)
	}
	server.CLI("CONFIG", "SET", "save", "3600 1000")
	server.CLI("SET", "key", "value")
	server.CLI("BGSAVE")
	eventually(t, "saving to fail", func() bool {
		return strings.Contains(server.CLI("INFO", "persistence"), "rdb_last_bgsave_status:err")
	})
}

func TestTooManyClients(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		conn := client.Conn()
		defer conn.Close()
		if err := conn.Do(t.Context(), "CONFIG", "SET", "maxclients", "1").Err(); err != nil {
			t.Fatal(err)
		}
		l := startLink(t, server.Addr, []string{"*"}, useProtocol)
		l.awaitEvent(t, "offline", 1)
		l.awaitLog(t, "limit of clients", "raise maxclients")
		if err := conn.Do(t.Context(), "CONFIG", "SET", "maxclients", "100").Err(); err != nil {
			t.Fatal(err)
		}
		l.awaitEvent(t, "online", 1)
		l.expectDelivery(t, server, "chat")
	})
}

// TestLoading starts Redis with so much data that loading takes seconds, during
// which Redis accepts connections.
func TestLoading(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		server.CLI("EVAL", "for i = 1, 3000 do redis.call('SET', i, i) end", "0")
		server.CLI("SAVE")
		l := startLive(t, server.Addr, []string{"*"}, useProtocol)
		started := make(chan struct{})
		go func() {
			defer close(started)
			server.Restart("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
		}()
		l.awaitEvent(t, "online", 2)
		select {
		case <-started:
			t.Error("the link was not up before all data was loaded")
		default:
		}
		<-started
		l.expectDelivery(t, server, "chat")
		if n := count(l.recorder.deliveries(), "online"); n != 2 {
			t.Errorf("%d epochs", n)
		}
	})
}

// TestAddressMoves changes the address of the host name while the link is up,
// and then kills the old server: the relay resolves the name at each dial.
func TestAddressMoves(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have one loopback address")
	}
	before := startEmbedded(t, "127.0.0.2:0")
	_, port, _ := net.SplitHostPort(before.Addr())
	startEmbedded(t, "127.0.0.3:"+port)
	var address atomic.Pointer[net.IP]
	name := serveName(t, &address)
	point := func(to ...byte) { ip := net.IP(to); address.Store(&ip) }

	point(127, 0, 0, 2)
	l := startLive(t, name+":"+port, []string{"*"})
	point(127, 0, 0, 3)
	before.Close()
	l.awaitEvent(t, "online", 2)
	l.awaitPublishing(t)
	l.awaitEvent(t, "mine=x", 1)
}

// nameServer is the address of the name server to ask; nil means the system's.
var nameServer atomic.Pointer[string]

// The resolver is set before any test runs, because every dial reads it.
func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if at := nameServer.Load(); at != nil {
			network, address = "udp", *at
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// serveName makes this process use a name server that knows one name, and
// returns that name.
func serveName(t *testing.T, address *atomic.Pointer[net.IP]) string {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(answer(query[:n], *address.Load()), from)
		}
	}()
	at := server.LocalAddr().String()
	nameServer.Store(&at)
	t.Cleanup(func() {
		nameServer.Store(nil)
		_ = server.Close()
	})
	return fmt.Sprintf("redis-%d.example.", time.Now().UnixNano())
}

// answer answers a query for an IPv4 address. To any other query it answers
// that there is no record.
func answer(query []byte, ip net.IP) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, type and class
	kind := binary.BigEndian.Uint16(query[end-4:])
	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x84, 0 // an authoritative answer
	clear(reply[6:12])
	if kind == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, ip.To4()...)
	}
	return reply
}
