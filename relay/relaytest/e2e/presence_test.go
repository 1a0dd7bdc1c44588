package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// presenceSettings are those of a relay with members on the channels chat:*.
func presenceSettings(server *redistest.Server) map[string]string {
	return openSettings(server, map[string]string{
		"SIDECAST_PRESENCE_CHANNELS": "chat:*", "SIDECAST_JWT_SECRET": jwtSecret, "SIDECAST_CHANNEL_PREFIX": "app:",
		"SIDECAST_DRAIN_DELAY": "0s", "SIDECAST_DRAIN_TIMEOUT": "1s",
	})
}

// A member of a channel at a relay.
type member struct {
	*relaytest.Client
	t *testing.T
}

// joinAs connects a user and subscribes it to chat:1.
func joinAs(t *testing.T, relay *relaytest.Process, token string) *member {
	t.Helper()
	m := &member{t: t, Client: dial(t, &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token." + token}})}
	if err := m.SendText(`{"type":"subscribe","channel":"chat:1","presence":true,"ref":1}`); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Await(t.Context(), relaytest.IsOn(relaytest.KindSubscribed, "chat:1")); err != nil {
		t.Fatal(err)
	}
	return m
}

// told waits until the member was told that a user joins or leaves.
func (m *member) told(kind, user string) {
	m.t.Helper()
	_, err := m.Await(m.t.Context(), func(e relaytest.Event) bool {
		return e.Kind == relaytest.KindOther && e.Text == kind && strings.Contains(e.Data, fmt.Sprintf(`"user":%q`, user))
	})
	if err != nil {
		m.t.Fatalf("%s %s: %v", kind, user, err)
	}
}

// knows waits until the member was told that these are the members.
func (m *member) knows(want ...string) {
	m.t.Helper()
	_, err := m.Await(m.t.Context(), func(relaytest.Event) bool {
		known := make(map[string]bool)
		for _, e := range m.Events() {
			var frame struct {
				User    string
				Members []struct{ User string }
			}
			if json.Unmarshal([]byte(e.Data), &frame) != nil || e.Channel != "chat:1" {
				continue
			}
			for _, other := range frame.Members {
				known[other.User] = true
			}
			if frame.User != "" {
				known[frame.User] = e.Text == "join"
			}
		}
		maps.DeleteFunc(known, func(_ string, present bool) bool { return !present })
		return slices.Equal(slices.Sorted(maps.Keys(known)), want)
	})
	if err != nil {
		m.t.Fatalf("the members are not %q: %v", want, err)
	}
}

// presenceToken returns a token of a user.
func presenceToken(t *testing.T, s *shell, user string) string {
	return strings.TrimSpace(s.run("sidecast token --user " + user))
}

// Users at two relays see each other come and go, and so does the application,
// whatever ends a relay.
func TestPresence(t *testing.T) {
	server := redistest.Start(t)
	settings := presenceSettings(server)
	s := newShell(t, settings)
	ann, bob, cat := presenceToken(t, s, "ann"), presenceToken(t, s, "bob"), presenceToken(t, s, "cat")
	a, b := start(t, settings), start(t, settings)

	one := joinAs(t, a, ann)
	two := joinAs(t, b, bob)
	one.told("join", "bob")
	three := joinAs(t, b, cat)
	one.told("join", "cat")
	two.told("join", "cat")
	three.knows("ann", "bob", "cat")
	online := func(want ...string) {
		t.Helper()
		for deadline := time.Now().Add(relaytest.Patience); ; time.Sleep(50 * time.Millisecond) {
			got := strings.Fields(server.CLI("ZRANGEBYSCORE", "app:sidecast:presence:chat:1", fmt.Sprint(time.Now().Unix()), "+inf"))
			slices.Sort(got)
			if slices.Equal(got, want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the members are %q, want %q", got, want)
			}
		}
	}
	online("ann", "bob", "cat")

	_ = three.Close(t.Context(), 1000, "")
	one.told("leave", "cat")
	online("ann", "bob")
	b.Signal(syscall.SIGTERM)
	if code := b.Wait(); code != 0 {
		t.Errorf("the exit code is %d", code)
	}
	// Bob has the grace period to connect to another relay.
	score, err := strconv.ParseFloat(strings.TrimSpace(server.CLI("ZSCORE", "app:sidecast:presence:chat:1", "bob")), 64)
	if left := score - float64(time.Now().Unix()); err != nil || left > 7 {
		t.Errorf("after the shutdown, a user is a member for %v s", left)
	}
	bobToo := joinAs(t, a, bob)
	online("ann", "bob")
	_ = bobToo.Close(t.Context(), 1000, "")
	one.told("leave", "bob")
	events := server.CLI("XRANGE", "app:sidecast:events", "-", "+")
	for _, e := range []string{"joined", "left"} {
		if n := strings.Count(events, e); n != map[string]int{"joined": 3, "left": 2}[e] {
			t.Errorf("%d events are %s:\n%s", n, e, events)
		}
	}
}
