package source_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// What can go wrong between Redis and the relay, and the tests that hold what becomes of it: found within 10 s, named in
// the log and the metric, and over without anybody's help.
//
//	killed and started again                 TestRedisRestarts
//	absent at the start                      TestRedisIsAbsentAtTheStart
//	stopped                                  TestStoppedRedisIsFound; for less than 8 s TestShortStopKeepsTheLink
//	black hole, both ways or one             TestBlackHoleIsFound
//	reset inside a message, twice in a row   TestResetInsideAMessage, TestResetTwiceInARow
//	kicked for its output buffer             TestKickedForASlowSink
//	killed by CLIENT KILL                    TestKilledClientComesBack
//	rights missing or revoked                TestDeniedPatternIsNamed, TestDeniedCommandIsNamed, TestRevokedRightEndsTheEpoch
//	wrong password, later right              TestWrongPasswordIsExplained, TestPasswordBecomesRight
//	password replaced in its file            TestPasswordIsRotated, TestPasswordFileIsAway
//	loading                                  TestLoading
//	writes refused (OOM, NOREPLICAS)         TestWritesAreRefused
//	too many clients                         TestTooManyClients
//	another address for the host's name      TestAddressMoves
//	healthy, but delivers nothing            TestLostMarkerEndsTheEpoch
//	a replica, at once or later              TestReplicaIsRefused, TestDemotedServerIsLeft
//	failover by Sentinels                    TestSentinelFailover, TestSentinelsNameAnotherMaster, TestSentinelsDisagree
//	Sentinels away                           TestSentinelsAreAway, TestSentinelTroubleIsExplained
//	cluster: nodes lost, slots moved         TestClusterLosesNodes, TestClusterReshards, TestClusterDemotesTheLinksNode
//	cluster: bus broken                      TestClusterBusBreaks, TestClusterNodeIsStopped
//	TLS                                      TestTLSTroubleIsExplained

// rotated is a source of credentials that a test replaces.
type rotated struct{ password atomic.Pointer[string] }

func (r *rotated) set(password string) { r.password.Store(&password) }

// use makes the link ask for its credentials at each dial. Without a password there is an error.
func (r *rotated) use(c *source.Config) {
	c.Server.Credentials = func() (string, string, error) {
		if password := r.password.Load(); password != nil {
			return "", *password, nil
		}
		return "", "", errors.New("no such file or directory")
	}
}

func TestPasswordIsRotated(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "first-secret")
		var file rotated
		file.set("first-secret")
		l := goLive(t, server.Addr, []string{"*"}, speak, file.use)
		l.await(t, "a marker", hasMarker) // the client for commands has logged in too
		server.CLI("-a", "first-secret", "CONFIG", "SET", "requirepass", "second-secret")
		if l.CatchUp(t.Context()) != nil {
			t.Error("a link that is logged in is lost with the old password")
		}
		server.CLI("-a", "second-secret", "CLIENT", "KILL", "TYPE", "pubsub")
		server.CLI("-a", "second-secret", "CLIENT", "KILL", "TYPE", "normal")
		l.awaitEvent(t, "offline", 1)
		l.says(t, "user and password were refused", "SIDECAST_REDIS_PASSWORD")
		file.set("second-secret")
		l.awaitEvent(t, "online", 2)
		eventually(t, "publishing with the new password", func() bool {
			_, err := l.Link.Publish(t.Context(), "chat", []byte("mine"))
			return err == nil
		})
		l.awaitEvent(t, "chat=mine", 1)
		if strings.Contains(l.log.String(), "secret") {
			t.Error("the log contains a password")
		}
	})
}

func TestPasswordFileIsAway(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "first-secret")
		var file rotated
		l := run(t, server.Addr, []string{"*"}, speak, file.use)
		l.says(t, "user and password cannot be read", "SIDECAST_REDIS_PASSWORD_FILE", "no such file")
		file.set("first-secret")
		l.awaitEvent(t, "online", 1)
	})
}

// TestShortStopKeepsTheLink stops Redis for less than the watchdog's patience. Nothing is lost, so there is no gap.
func TestShortStopKeepsTheLink(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak)
		l.await(t, "a marker", hasMarker)
		server.Stop()
		<-time.After(5 * time.Second)
		server.Cont()
		l.lives(t, server, "chat")
		<-time.After(5 * time.Second) // any marker that was held up is back, or missed
		if n := count(l.recorder.log(), "offline"); n > 0 {
			t.Errorf("lost the link %d times", n)
		}
	})
}

// TestWritesAreRefused has servers that take no writes: messages pass through them all the same, markers too.
func TestWritesAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setting []string
		refusal string
	}{
		"the memory is full":    {[]string{"maxmemory", "1"}, "OOM"},
		"replicas are missing":  {[]string{"min-replicas-to-write", "1"}, "NOREPLICAS"},
		"the disk is not right": {nil, "MISCONF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			l := goLive(t, server.Addr, []string{"*"})
			if test.setting != nil {
				server.CLI("CONFIG", "SET", test.setting[0], test.setting[1])
			} else {
				breakDisk(t, server)
			}
			if out, err := server.TryCLI("XADD", "orders", "*", "data", "x"); err == nil || !strings.Contains(out+err.Error(), test.refusal) {
				t.Fatalf("a write answered %q, %v", out, err)
			}
			server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
			l.awaitEvent(t, "online", 2)
			l.await(t, "a marker in the new epoch", func([]string) bool { return l.stats.MarkersUp.Load() })
			l.lives(t, server, "chat")
			if n, err := l.Link.Publish(t.Context(), "chat", nil); n != 1 || err != nil {
				t.Errorf("Publish returned %d, %v", n, err)
			}
		})
	}
}

// breakDisk makes Redis fail to save, for which it refuses writes.
func breakDisk(t *testing.T, server *redistest.Server) {
	t.Helper()
	dir := strings.TrimSpace(strings.TrimPrefix(server.CLI("CONFIG", "GET", "dir"), "dir\n"))
	if err := os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700); err != nil { // a file cannot take a directory's place
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
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		taken := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer taken.Close()
		conn := taken.Conn()
		defer conn.Close()
		if err := conn.Do(t.Context(), "CONFIG", "SET", "maxclients", "1").Err(); err != nil {
			t.Fatal(err)
		}
		l := run(t, server.Addr, []string{"*"}, speak)
		l.awaitEvent(t, "offline", 1)
		l.says(t, "as many clients as it may have", "raise maxclients")
		if err := conn.Do(t.Context(), "CONFIG", "SET", "maxclients", "100").Err(); err != nil {
			t.Fatal(err)
		}
		l.awaitEvent(t, "online", 1)
		l.lives(t, server, "chat")
	})
}

// TestLoading starts Redis with so much data that it loads for seconds, in which it takes conns already.
func TestLoading(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		server.CLI("EVAL", "for i = 1, 3000 do redis.call('SET', i, i) end", "0")
		server.CLI("SAVE")
		l := goLive(t, server.Addr, []string{"*"}, speak)
		started := make(chan struct{})
		go func() {
			defer close(started)
			server.Restart("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
		}()
		l.awaitEvent(t, "online", 2)
		select {
		case <-started:
			t.Error("the link waited for the data")
		default:
		}
		<-started
		l.lives(t, server, "chat")
		if n := count(l.recorder.log(), "online"); n != 2 {
			t.Errorf("%d epochs", n)
		}
	})
}

// TestAddressMoves gives the host's name another address while the link is live, and then ends the old server: the name
// is looked up at each dial.
func TestAddressMoves(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have one loopback address")
	}
	before, after := redistest.Start(t), redistest.Start(t)
	port := forward(t, "127.0.0.2:0", before.Addr)
	forward(t, "127.0.0.3:"+port, after.Addr)
	var address atomic.Pointer[net.IP]
	name := serveName(t, &address)
	point := func(to ...byte) { ip := net.IP(to); address.Store(&ip) }

	point(127, 0, 0, 2)
	l := goLive(t, name+":"+port, []string{"*"})
	l.lives(t, before, "chat")
	point(127, 0, 0, 3)
	before.Kill()
	l.awaitEvent(t, "offline", 1)
	l.awaitEvent(t, "online", 2)
	l.lives(t, after, "chat")
	eventually(t, "publishing to the new address", func() bool {
		_, err := l.Link.Publish(t.Context(), "chat", []byte("mine"))
		return err == nil
	})
	l.awaitEvent(t, "chat=mine", 1)
}

// forward passes conns to the address on and returns the port.
func forward(t *testing.T, listen, to string) string {
	t.Helper()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				server, err := (&net.Dialer{Resolver: new(net.Resolver)}).Dial("tcp", to) // not the one that tests change
				if err != nil {
					return
				}
				defer server.Close()
				go func() {
					_, _ = io.Copy(server, conn)
					_ = server.Close()
				}()
				_, _ = io.Copy(conn, server)
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// serveName makes this process ask a name server that knows one name, and returns that.
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
	old := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = old
		_ = server.Close()
	})
	return fmt.Sprintf("redis-%d.example.", time.Now().UnixNano())
}

// answer answers a question for an IPv4 address, and says that there is nothing else.
func answer(query []byte, ip net.IP) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, type and class
	kind := binary.BigEndian.Uint16(query[end-4:])
	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x84, 0 // an answer, by who knows
	clear(reply[6:12])
	if kind == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, ip.To4()...)
	}
	return reply
}
