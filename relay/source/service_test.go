package source_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// withService makes the link run a service whose calls are recorded in calls.
// prepare may be nil.
func withService(
	calls *recorder, channel string, prepare func(context.Context, redis.UniversalClient) error,
) func(*source.Config) {
	return func(c *source.Config) {
		c.Services = append(c.Services, source.Service{
			Channel: channel,
			Receive: func(payload []byte) { calls.add("received " + string(payload)) },
			Prepare: prepare,
			Online:  func(heard bool) { calls.add(fmt.Sprint("online ", heard)) },
			Offline: calls.Offline,
		})
	}
}

// TestService checks what a service is told, over two epochs, and that its
// messages are not counted as dropped although a pattern matches them.
func TestService(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		calls := newRecorder()
		l := startLive(t, server.Addr, []string{"*"}, useProtocol,
			withService(calls, "sidecast:one", nil), withService(newRecorder(), "", nil), withService(newRecorder(), "sidecast:two", nil))
		server.CLI("PUBLISH", "sidecast:one", "hello")
		calls.awaitEvent(t, "received hello", 1)
		server.CLI("PUBLISH", "sidecast:other", "hello")
		l.expectDelivery(t, server, "chat")
		server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		calls.awaitEvent(t, "online true", 2)
		server.CLI("PUBLISH", "sidecast:one", "again")
		calls.awaitEvent(t, "received again", 1)
		want := []string{"online true", "received hello", "offline", "online true", "received again"}
		if got := calls.allEvents(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := l.stats.Dropped[stats.DropReserved].Load(); n != 1 {
			t.Errorf("%d messages on reserved channels were dropped, want only that on a channel of no service", n)
		}
		if slices.ContainsFunc(l.allEvents(), func(e string) bool { return e == "sidecast:one=hello" }) {
			t.Error("a message for a service was delivered to the sink")
		}
	})
}

// TestServiceDenied checks that the link works without the right to a service's
// channel, and says which right is missing.
func TestServiceDenied(t *testing.T) {
	for _, tt := range []struct {
		comment string
		rights  []string
		markers bool
	}{
		{"only the channel", []string{"&chat:*", "&sidecast:mark", "+publish", "+role", "+info"}, true},
		{"the markers too", []string{"&chat:*", "+publish", "+role", "+info"}, false},
		{"the command", []string{"&chat:*", "&sidecast:*", "+publish", "+role", "+info", "-subscribe"}, false},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
				calls := newRecorder()
				l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol, aclUser(t, server, tt.rights...),
					withService(calls, "sidecast:one", nil), withService(newRecorder(), "sidecast:two", nil))
				calls.awaitEvent(t, "online false", 1)
				l.expectDelivery(t, server, "chat:1")
				l.awaitLog(t, "+subscribe and &sidecast:one", "+subscribe and &sidecast:two")
				if tt.markers {
					l.await(t, "a marker", hasMarker)
				}
				server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
				calls.awaitEvent(t, "online false", 2)
				l.expectDelivery(t, server, "chat:2")
				l.expectLoggedOnce(t, "&sidecast:one")
			})
		})
	}
}

// TestServicePreparesTheEpoch checks that no message is delivered before a
// service is prepared, and that the link tries again if one cannot be.
func TestServicePreparesTheEpoch(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		calls, attempts := newRecorder(), 0
		l := startLink(t, server.Addr, []string{"*"}, useProtocol,
			withService(calls, "sidecast:one", func(ctx context.Context, client redis.UniversalClient) error {
				calls.add("prepare")
				switch attempts++; attempts {
				case 1:
					return errors.New("not now") // tried again on the same connection
				case 2:
					return client.Do(ctx, "NONSENSE").Err() // ends the connection
				}
				return client.Publish(ctx, "chat", "early").Err()
			}))
		l.awaitEvent(t, "chat=early", 1)
		if got, want := l.deliveries(), []string{"offline", "online", "chat=early"}; !slices.Equal(got, want) {
			t.Errorf("the sink: got %q, want %q", got, want)
		}
		if got, want := calls.allEvents(), []string{"prepare", "prepare", "prepare", "online true"}; !slices.Equal(got, want) {
			t.Errorf("the service: got %q, want %q", got, want)
		}
		l.awaitLog(t, "NONSENSE")
	})
}

// TestDo checks the errors of commands.
func TestDo(t *testing.T) {
	eachLink(t, func(t *testing.T, server *redistest.Server, l *runningLink) {
		do := func(args ...any) error {
			return l.Do(t.Context(), func(ctx context.Context, client redis.UniversalClient) error {
				return client.Do(ctx, args...).Err()
			})
		}
		if err := do("SET", "key", "value"); err != nil {
			t.Errorf("a command: %v", err)
		}
		if err := do("GET", "missing"); err != nil {
			t.Errorf("nil is no error: %v", err)
		}
		if err := do("HGET", "key", "field"); !errors.Is(err, source.ErrRefused) {
			t.Errorf("a wrong type: %v", err)
		}
		server.Kill()
		l.awaitEvent(t, "offline", 1)
		if err := do("GET", "key"); !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("without Redis: %v", err)
		}
	})
}
