package source_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// startBusy starts a server on which a script runs forever.
func startBusy(t *testing.T) *redistest.Server {
	server := redistest.Start(t, "--lua-time-limit", "1")
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: -1, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	go client.Eval(context.WithoutCancel(t.Context()), "while true do end", nil)
	eventually(t, "the script to run", func() bool {
		out, err := server.TryCLI("PING")
		return err != nil && strings.Contains(out+err.Error(), "BUSY")
	})
	return server
}

// TestConditionsOfRedis brings servers into conditions in which they answer
// with errors. Streams, and the check, report what happened and what to do.
func TestConditionsOfRedis(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		start    func(t *testing.T) *redistest.Server
		readable bool     // only adding fails
		want     []string // in the error
		check    string   // a finding begins with this
	}{
		{"OOM", func(t *testing.T) *redistest.Server { return redistest.Start(t, "--maxmemory", "1") }, true,
			[]string{"maxmemory", "raise maxmemory", "(OOM "}, "warn streams order:*: the relay may read them, but the server uses all memory"},
		{"MISCONF", func(t *testing.T) *redistest.Server {
			server := redistest.Start(t)
			breakDisk(t, server)
			return server
		}, true, []string{"cannot save its data", "Redis's log", "(MISCONF "}, "warn server: "},
		{"NOREPLICAS", func(t *testing.T) *redistest.Server {
			return redistest.Start(t, "--min-replicas-to-write", "1")
		}, true, []string{"too few replicas", "min-replicas-to-write", "(NOREPLICAS "}, "warn streams order:*: the relay may read them, but"},
		{"READONLY", func(t *testing.T) *redistest.Server {
			return redistest.Start(t, "--replicaof", "127.0.0.1 "+redistest.Start(t).Port())
		}, true, []string{"refuses writes", "at the master", "(READONLY "}, "fail role: the server is a replica"},
		{"MASTERDOWN", func(t *testing.T) *redistest.Server {
			_, port, _ := strings.Cut(redistest.FreeAddr(t), ":")
			return redistest.Start(t, "--replicaof", "127.0.0.1 "+port, "--replica-serve-stale-data", "no")
		}, false, []string{"without a connection to its master", "at the master", "(MASTERDOWN "}, "fail server: the server is a replica"},
		{"CLUSTERDOWN", func(t *testing.T) *redistest.Server { return redistest.StartClusterNode(t) }, false,
			[]string{"slots have no node", "--cluster check", "(CLUSTERDOWN "}, "fail streams order:*: the cluster is down"},
		{"BUSY", startBusy, false, []string{"script", "SCRIPT KILL", "(BUSY "}, "fail server: a script"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := test.start(t)
			streams, _ := streamsOf(t, server.Addr, 2, source.Config{Names: access.NewNames("", "")})
			failing := func() error {
				_, err := streams.State(t.Context(), "order:1")
				return err
			}
			if test.readable {
				eventually(t, "the state", func() bool { return failing() == nil })
				failing = func() error {
					_, err := streams.Append(t.Context(), "order:1", nil)
					return err
				}
			}
			// An attempt can also fail because it takes more than a second.
			eventually(t, "an error with "+strings.Join(test.want, ", "), func() bool {
				err := failing()
				return err != nil && !slices.ContainsFunc(test.want, func(want string) bool {
					return !strings.Contains(err.Error(), want)
				})
			})
			cfg := checkConfig(server.Addr, []string{"order:*"}, durableFirst, markersOff)
			found := strings.Join(report(source.Check(t.Context(), cfg)), "\n")
			if !strings.Contains("\n"+found, "\n"+test.check) || strings.Contains(found, "grant") {
				t.Errorf("the check reports\n%s", found)
			}
		})
	}
}

// TestPingWhileSavingFails uses a server that refuses PING because it cannot
// save its data. The user has the right to it.
func TestPingWhileSavingFails(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, markersOff)
		breakDisk(t, server)
		l.awaitLog(t, "redis refuses PING", "check Redis's log for the reason") // silence makes the watchdog send one
		l.expectDelivery(t, server, "chat:1")
		l.expectLost(t, 0)
		if strings.Contains(l.log.String(), "grant") {
			t.Error("the log advises to grant a right")
		}
	})
}

// TestClientMessageRefused: the log says why a client's message cannot be added
// to a stream.
func TestClientMessageRefused(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		l := startLive(t, server.Addr, []string{"order:*"}, useProtocol, durableFirst)
		server.CLI("CONFIG", "SET", "maxmemory", "1")
		for range 2 {
			if _, err := l.Streams().Append(t.Context(), "order:1", nil); err == nil {
				t.Error("adding above maxmemory succeeded")
			}
		}
		l.awaitLog(t, "redis refuses messages that clients publish", "raise maxmemory in Redis")
		l.expectLoggedOnce(t, "redis refuses messages that clients publish")
	})
}
