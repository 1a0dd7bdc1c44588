package relay_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

var (
	user42  = access.Subject{Kind: access.SubjectUser, Name: "42"}
	rejects = protocol.CloseUnauthorized.Because(protocol.ReasonRevoked)
)

// login returns the identity of a user who logged in at a time in milliseconds.
func login(user string, ms int64, token string) *access.Identity {
	return &access.Identity{User: user, Established: time.UnixMilli(ms), TokenID: token}
}

// A revocation closes the open sessions of the logins that it ends with 4409,
// and rejects new ones with 4401, whichever is first.
func TestRevoke(t *testing.T) {
	const at = 1_700_000_000_000
	revoke := func(kind access.SubjectKind, name string) access.Revocation {
		return access.Revocation{Subject: access.Subject{Kind: kind, Name: name}, Ms: at}
	}
	for _, test := range []struct {
		why      string
		identity *access.Identity
		revoked  access.Revocation
		ends     bool
	}{
		{"a login before it", login("42", at-1, ""), revoke(access.SubjectUser, "42"), true},
		{"a login at the same time", login("42", at, ""), revoke(access.SubjectUser, "42"), true},
		{"a login of unknown time", &access.Identity{User: "42"}, revoke(access.SubjectUser, "42"), true},
		{"a login after it", login("42", at+1, ""), revoke(access.SubjectUser, "42"), false},
		{"another user", login("43", at-1, ""), revoke(access.SubjectUser, "42"), false},
		{"a user whose id is that of a token", login("42", at-1, ""), revoke(access.SubjectToken, "42"), false},
		{"a token", login("42", at+1, "abc"), revoke(access.SubjectToken, "abc"), true},
		{"another token of the user", login("42", at-1, "abd"), revoke(access.SubjectToken, "abc"), false},
		{"a token without an id", login("42", at-1, ""), revoke(access.SubjectToken, ""), false},
		{"an anonymous client", nil, revoke(access.SubjectUser, ""), false},
	} {
		h := newTestHub(t, relay.HubConfig{Shards: 2})
		admitted := h.connect(connectOptions{room: outboxtest.Unlimited, identity: test.identity})
		client := relay.Client{Principal: access.Principal{Identity: test.identity}}
		if code := h.Admit(t.Context(), &client, nil); code != 0 {
			t.Fatalf("%s: rejected with %d before the revocation", test.why, code)
		}
		h.Revoke([]access.Revocation{test.revoked})
		late := h.connect(connectOptions{room: outboxtest.Unlimited, identity: test.identity})

		open, rejected := protocol.CloseAbnormal, protocol.CloseCode(0)
		if test.ends {
			open, rejected = protocol.CloseKicked, rejects
		}
		if code := admitted.session.CloseCode(); code != open {
			t.Errorf("%s: the open session is closed with %d, want %d", test.why, code.Number(), open)
		}
		if code := h.Admit(t.Context(), &client, nil); code != rejected {
			t.Errorf("%s: a new client is rejected with %d, want %d", test.why, code.Number(), rejected.Number())
		}
		if code := late.session.CloseCode(); code != max(rejected, open) && test.ends || code != open && !test.ends {
			t.Errorf("%s: a client that was admitted before is closed with %d", test.why, code.Number())
		}
		admitted.leave()
		late.leave()
		h.checkEmpty()
		if n := h.IndexedUsers(); n != 0 {
			t.Errorf("%s: the index still has %d users", test.why, n)
		}
	}
}

// The revocation of a session closes it, and no other session of its user.
func TestRevokeSession(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 3})
	var clients []*testClient
	for range 9 {
		clients = append(clients, h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", 1, "")}))
	}
	anonymous := h.client(outboxtest.Unlimited)
	for _, name := range []string{clients[4].session.ID(), anonymous.session.ID(), "", "no id", clients[5].session.ID()[1:]} {
		h.Revoke([]access.Revocation{{Subject: access.Subject{Kind: access.SubjectSession, Name: name}}})
	}
	for i, c := range append(clients, anonymous) {
		want := protocol.CloseAbnormal
		if i == 4 || c == anonymous {
			want = protocol.CloseKicked
		}
		if code := c.session.CloseCode(); code != want {
			t.Errorf("session %d is closed with %d, want %d", i, code, want)
		}
		c.leave()
	}
}

// Of two revocations of a user, in whatever order they arrive, the later one
// counts, and a known one is not applied again.
func TestRevokeTwice(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 1})
	for _, ms := range []int64{2000, 1000, 2000} {
		h.Revoke([]access.Revocation{{Subject: user42, Ms: ms}})
	}
	for ms, want := range map[int64]protocol.CloseCode{1500: rejects, 2000: rejects, 2001: 0} {
		c := relay.Client{Principal: access.Principal{Identity: login("42", ms, "")}}
		if code := h.Admit(t.Context(), &c, nil); code != want {
			t.Errorf("a login at %d is rejected with %d, want %d", ms, code.Number(), want.Number())
		}
	}
	if h.ForgetRevoked(time.UnixMilli(2000)); h.Revoked() != 1 {
		t.Errorf("%d revocations are left", h.Revoked())
	}
	if h.ForgetRevoked(time.UnixMilli(2001)); h.Revoked() != 0 {
		t.Errorf("%d revocations are left", h.Revoked())
	}
}

// A user who is locked out, or whose revocation has a wrong time in the future,
// can log in again after the application has written the present time instead.
func TestUnlock(t *testing.T) {
	now := time.Now().UnixMilli()
	for why, locked := range map[string]int64{"for ever": 1 << 62, "in microseconds": now * 1000} {
		h := newTestHub(t, relay.HubConfig{Shards: 1})
		admit := func(ms int64) protocol.CloseCode {
			return h.Admit(t.Context(), &relay.Client{Principal: access.Principal{Identity: login("42", ms, "")}}, nil)
		}
		for range 2 {
			h.Revoke([]access.Revocation{{Subject: user42, Ms: locked}})
			if code := admit(now); code != rejects {
				t.Errorf("locked %s: a login is rejected with %d", why, code.Number())
			}
			h.Revoke([]access.Revocation{{Subject: user42, Ms: now - 1000}})
			if before, after := admit(now-1000), admit(now-999); before != rejects || after != 0 {
				t.Errorf("unlocked: an old login is rejected with %d, a new one with %d", before.Number(), after.Number())
			}
		}
	}
}

// A token that was revoked does not log a client in over its connection, and a
// client that logs in becomes known as the user.
func TestRevokeAndAuth(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 1, Verify: func(_ context.Context, token string) (*access.Identity, protocol.Code) {
		return login("42", 5000, token), protocol.CodeOK
	}})
	h.Revoke([]access.Revocation{{Subject: access.Subject{Kind: access.SubjectToken, Name: "old"}}})
	stays, rejected := h.client(outboxtest.Unlimited), h.client(outboxtest.Unlimited)
	rejected.handle(`{"type":"auth","token":"old"}`)
	if code := rejected.session.CloseCode(); code != rejects {
		t.Errorf("a revoked token: closed with %d", code.Number())
	}
	for range 2 { // the second time it renews the login
		stays.handle(`{"type":"auth","token":"new"}`)
	}
	h.Revoke([]access.Revocation{{Subject: user42, Ms: 4999}})
	if code := stays.session.CloseCode(); code != protocol.CloseAbnormal {
		t.Errorf("a revocation before the login: closed with %d", code)
	}
	h.Revoke([]access.Revocation{{Subject: user42, Ms: 5000}})
	if code := stays.session.CloseCode(); code != protocol.CloseKicked {
		t.Errorf("after the login: closed with %d", code)
	}
}

// A revocation and a client that joins at the same time do not miss each other.
func TestRevokeWhileJoining(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 2})
	for i := range 2000 {
		user := fmt.Sprint(i)
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.Revoke([]access.Revocation{{Subject: access.Subject{Name: user}, Ms: 1}})
		}()
		c := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login(user, 1, "")})
		<-done
		if code := c.session.CloseCode().Plain(); code != protocol.CloseKicked && code != protocol.CloseUnauthorized {
			t.Fatalf("the client that joined is closed with %d", code)
		}
		c.leave()
	}
	if n := h.IndexedUsers(); n != 0 {
		t.Errorf("the index still has %d users", n)
	}
}

// The index of users finds all sessions of a user, in whatever order they leave.
func TestUserIndex(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 2})
	var clients []*testClient
	for range 5 {
		clients = append(clients, h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", 1, "")}))
	}
	for _, i := range []int{2, 0, 4, 1, 3} {
		clients[i].leave()
		left := 0
		for _, c := range clients {
			if !c.left {
				left++
			}
		}
		if n := h.UnsubscribeFor(user42, "a"); n != left {
			t.Errorf("the index has %d sessions, want %d", n, left)
		}
	}
	if n := h.IndexedUsers(); n != 0 {
		t.Errorf("the index still has %d users", n)
	}
}
