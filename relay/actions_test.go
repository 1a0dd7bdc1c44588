package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// actionRules let everyone receive news, and the application everything but
// reserved names and what is not relayed.
func actionRules() *access.Rules {
	return &access.Rules{
		Names: access.NewNames("", ""), Login: true,
		Channels: access.Patterns{access.MustPattern("news"), access.MustPattern("room:*")},
		Public:   access.Patterns{access.MustPattern("news")},
	}
}

// The application's disconnect and refresh close the sessions that it means.
func TestDisconnectAndRefresh(t *testing.T) {
	refreshed := protocol.CloseUnauthorized.Because(protocol.ReasonExpired)
	for _, test := range []struct {
		why    string
		act    func(*relay.Hub, access.Subject) int
		closed protocol.CloseCode
	}{
		{"disconnect", (*relay.Hub).Disconnect, protocol.CloseKicked},
		{"refresh", (*relay.Hub).Refresh, refreshed},
	} {
		h := newTestHub(t, relay.HubConfig{Shards: 2})
		newest := time.Now().Add(time.Hour).UnixMilli() // whatever the clocks say
		mine := []*testClient{
			h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", newest, "t1")}),
			h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", newest, "t2")}),
		}
		others := []*testClient{h.client(outboxtest.Unlimited), h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("43", newest, "t3")})}
		for _, step := range []struct {
			who  access.Subject
			want int
		}{
			{access.Subject{Kind: access.SubjectUser, Name: "4"}, 0},
			{access.Subject{Kind: access.SubjectUser, Name: ""}, 0},
			{access.Subject{Kind: access.SubjectToken, Name: ""}, 0},
			{access.Subject{Kind: access.SubjectToken, Name: "t2"}, 1},
			{user42, 1},
			{user42, 0},
			{access.Subject{Kind: access.SubjectSession, Name: others[0].session.ID()}, 1},
		} {
			if n := test.act(h.Hub, step.who); n != step.want {
				t.Errorf("%s of %v: %d sessions, want %d", test.why, step.who, n, step.want)
			}
		}
		for i, c := range append(mine, others...) {
			want := test.closed
			if i == 3 {
				want = protocol.CloseAbnormal
			}
			if code := c.session.CloseCode(); code != want {
				t.Errorf("%s: session %d is closed with %d, want %d", test.why, i, code.Number(), want.Number())
			}
			c.leave()
		}
		h.checkEmpty()
	}
}

// The application subscribes the sessions of a user to a channel to which they
// have no right, and unsubscribes them.
func TestSubscribeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{Shards: 2, Access: actionRules(), PingInterval: time.Hour})
		t.Cleanup(h.start())
		h.Online(1)
		v1 := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", 1, "")})
		raw := h.connect(connectOptions{protocol: protocol.Raw{}, room: outboxtest.Unlimited, identity: login("42", 1, "")})
		other := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("43", 1, "")})
		for channel, want := range map[string]protocol.Code{
			"room:9": protocol.CodeOK, "sidecast:x": protocol.CodeBadChannel, "": protocol.CodeBadChannel, "order:1": protocol.CodeForbidden,
		} {
			n, code := h.SubscribeFor(user42, channel)
			if code != want || (n == 2) != (code == protocol.CodeOK) {
				t.Errorf("subscribe to %q: %d sessions, %s", channel, n, code)
			}
		}
		_, _ = h.SubscribeFor(user42, "room:9") // again: no effect
		h.Publish([]byte("room:9"), numbered(1, 10))
		h.Flush()
		synctest.Wait()
		v1.want("v1", "subscribed false,1")
		raw.want("raw", "1")
		other.want("another user", "")

		if n := h.UnsubscribeFor(user42, "room:9"); n != 2 {
			t.Errorf("unsubscribe: %d sessions", n)
		}
		h.Publish([]byte("room:9"), numbered(2, 10))
		h.Flush()
		synctest.Wait()
		v1.want("v1", "unsubscribed")
		raw.want("raw", "")
		if got := string(v1.socket.Got()); !strings.Contains(got, `{"type":"unsubscribed","channel":"room:9","reason":"control"}`) {
			t.Errorf("no reason in %q", got)
		}
		v1.subscribe("room:9", "") // without the application it has no right
		v1.want("a subscribe", "error forbidden")
		for _, c := range []*testClient{v1, raw, other} {
			c.leave()
		}
		h.checkEmpty()
	})
}

// What the application subscribes a session to counts as a channel of it.
func TestSubscribeForTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{Shards: 1, Access: actionRules(), PingInterval: time.Hour, MaxChannels: 2})
		c := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", 1, ""), channels: []string{"news"}})
		_, _ = h.SubscribeFor(user42, "room:1")
		_, _ = h.SubscribeFor(user42, "room:2")
		c.want("two channels", "subscribed false,subscribed false,error too_many_channels")
		c.leave()
	})
}

// An event stream does not get more channels, and ends if it loses one.
func TestActionsOnEventStreams(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 1, Access: actionRules()})
	c := h.connect(connectOptions{protocol: protocol.SSE{}, room: outboxtest.Unlimited, identity: login("42", 1, ""), channels: []string{"news"}})
	if n, code := h.SubscribeFor(user42, "room:1"); n != 0 || code != protocol.CodeOK {
		t.Errorf("subscribe: %d sessions, %s", n, code)
	}
	if n := h.UnsubscribeFor(user42, "room:1"); n != 1 || c.session.CloseCode() != protocol.CloseAbnormal {
		t.Errorf("unsubscribe from a channel that it does not have: %d sessions, closed with %d", n, c.session.CloseCode())
	}
	if n := h.UnsubscribeFor(user42, "news"); n != 1 || c.session.CloseCode().Plain() != protocol.CloseUnauthorized {
		t.Errorf("unsubscribe: %d sessions, closed with %d", n, c.session.CloseCode())
	}
	c.leave()
	h.checkEmpty()
}

// If a command of the session waits for Redis, the application's actions follow
// it, and do not wait with it. If there are too many, or the session leaves,
// they are dropped.
func TestActionsWaitForTheCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		h := newTestHub(t, relay.HubConfig{
			Shards: 1, PingInterval: time.Hour,
			Publish: func(context.Context, string, []byte) (int64, error) { <-answer; return 1, nil },
		})
		t.Cleanup(h.start())
		h.Online(1)
		c := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", 1, ""), channels: []string{"a"}})
		c.want("at first", "subscribed false")
		go c.handle(`{"type":"publish","channel":"a","data":"x","ref":1}`)
		synctest.Wait()
		n := 0
		for i := range 70 {
			done, _ := h.SubscribeFor(user42, fmt.Sprintf("room:%d", i))
			n += done
		}
		if n != 64 {
			t.Errorf("%d actions wait", n)
		}
		c.want("while the command waits", "")
		close(answer)
		synctest.Wait()
		c.want("afterwards", "ok"+strings.Repeat(",subscribed false", 64))
		c.handle(`{"type":"ping"}`)
		c.want("the next command", "pong")
		c.leave()
		if done, _ := h.SubscribeFor(user42, "b"); done != 0 || h.WaitingActions() != 0 {
			t.Error("a session that has left gets an action")
		}
		h.checkEmpty()
	})
}

// Commands and actions of one session run one after the other.
func TestActionsAndCommands(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 2, MaxChannels: 8})
	for range 50 {
		c := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("42", 1, "")})
		var actors sync.WaitGroup
		for range 2 {
			actors.Go(func() {
				for i := range 200 {
					_, _ = h.SubscribeFor(user42, fmt.Sprint(i%10))
					_ = h.UnsubscribeFor(user42, fmt.Sprint((i+5)%10))
				}
			})
		}
		for i := range 200 {
			c.handle(`{"type":"subscribe","channels":["%d","%d"]}`, i%10, (i+1)%10)
			c.handle(`{"type":"unsubscribe","channel":"%d"}`, i%10)
		}
		c.leave()
		actors.Wait()
	}
	h.checkEmpty()
	if h.WaitingActions() != 0 || h.IndexedUsers() != 0 {
		t.Error("actions or users are left")
	}
}

// A refresh, or an unsubscribe, does not miss a client that connects meanwhile
// with the application's earlier answers: it is closed, and comes back.
func TestRefreshWhileConnecting(t *testing.T) {
	expired := protocol.CloseUnauthorized.Because(protocol.ReasonExpired)
	token := access.Subject{Kind: access.SubjectToken, Name: "t"}
	for _, test := range []struct {
		why  string
		act  func(*relay.Hub)
		want protocol.CloseCode
	}{
		{"a refresh", func(h *relay.Hub) { h.Refresh(user42) }, expired},
		{"a refresh of the token", func(h *relay.Hub) { h.Refresh(token) }, expired},
		{"an unsubscribe", func(h *relay.Hub) { h.UnsubscribeFor(user42, "room:1") }, expired},
		{"of another user", func(h *relay.Hub) { h.Refresh(access.Subject{Name: "43"}) }, protocol.CloseAbnormal},
		{"of another token", func(h *relay.Hub) { h.Refresh(access.Subject{Kind: access.SubjectToken, Name: "42"}) }, protocol.CloseAbnormal},
		{"of no token", func(h *relay.Hub) { h.Refresh(access.Subject{Kind: access.SubjectToken}) }, protocol.CloseAbnormal},
	} {
		h := newTestHub(t, relay.HubConfig{Shards: 1})
		connect := func(meanwhile func(*relay.Hub)) *testClient {
			return h.connect(connectOptions{
				room: outboxtest.Unlimited, identity: login("42", 1, "t"),
				admit: func(c *relay.Client) { c.Began = time.Now(); meanwhile(h.Hub) },
			})
		}
		during := connect(test.act)
		for began := time.Now(); time.Now().Equal(began); { // the clock may be coarse
		}
		after := connect(func(*relay.Hub) {})
		if code := during.session.CloseCode(); code != test.want {
			t.Errorf("%s: closed with %d, want %d", test.why, code.Number(), test.want.Number())
		}
		if code := after.session.CloseCode(); code != protocol.CloseAbnormal {
			t.Errorf("%s: a client that connects afterwards is closed with %d", test.why, code.Number())
		}
		during.leave()
		after.leave()
		h.checkEmpty()
	}
}

// A refresh does not miss a client that logs in over its connection meanwhile.
func TestRefreshDuringAuth(t *testing.T) {
	var h *testHub
	h = newTestHub(t, relay.HubConfig{Shards: 1, Verify: func(_ context.Context, token string) (*access.Identity, protocol.Code) {
		if token == "during" {
			h.Refresh(user42)
		}
		return login("42", 1, ""), protocol.CodeOK
	}})
	c := h.client(outboxtest.Unlimited)
	c.handle(`{"type":"auth","token":"during"}`)
	if code := c.session.CloseCode().Plain(); code != protocol.CloseUnauthorized {
		t.Errorf("a refresh meanwhile: closed with %d", code)
	}
	for began := time.Now(); time.Now().Equal(began); { // the clock may be coarse
	}
	c = h.client(outboxtest.Unlimited)
	c.handle(`{"type":"auth","token":"afterwards"}`)
	if code := c.session.CloseCode(); code != protocol.CloseAbnormal {
		t.Errorf("a refresh before: closed with %d", code)
	}
}

// A refresh and a client that joins at the same time do not miss each other.
func TestRefreshWhileJoining(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 2})
	for i := range 2000 {
		user := fmt.Sprint(i)
		done := make(chan struct{})
		c := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login(user, 1, ""), admit: func(c *relay.Client) {
			c.Began = time.Now()
			go func() {
				defer close(done)
				h.Refresh(access.Subject{Name: user})
			}()
		}})
		<-done
		if code := c.session.CloseCode().Plain(); code != protocol.CloseUnauthorized {
			t.Fatalf("the client that joined is closed with %d", code)
		}
		c.leave()
	}
}

// Whatever clients and the application do at the same time, nothing of a
// session is left after it has ended.
func TestActionsRandomly(t *testing.T) {
	all := access.Patterns{access.MustPattern("*")}
	h := newTestHub(t, relay.HubConfig{
		Shards: 2, MaxChannels: 6, CommandRate: 1e6, CommandBurst: 1e6, HistoryBytes: 1 << 16, HistoryAge: time.Hour,
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: all, Publish: all, Secrets: channelSecrets, Login: true,
			Public: access.Patterns{access.MustPattern("p*")}},
		Verify: func(_ context.Context, token string) (*access.Identity, protocol.Code) {
			return login(token[:1], time.Now().UnixMilli(), token), protocol.CodeOK
		},
	})
	t.Cleanup(h.start())
	h.Online(1)
	seed := newSeed(t)
	ctx, stop := context.WithCancel(t.Context())
	var clients, actors sync.WaitGroup
	for i := range uint64(4) {
		actors.Go(func() {
			for random := rand.New(rand.NewPCG(seed, 100+i)); ctx.Err() == nil; {
				h.actRandomly(random, i == 0) // only one goroutine is the source
			}
		})
	}
	for i := range uint64(6) {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, i))
			for range 150 {
				h.visitRandomly(random)
			}
		})
	}
	clients.Wait()
	stop()
	actors.Wait()
	h.checkEmpty()
	if h.WaitingActions() != 0 || h.IndexedUsers() != 0 {
		t.Error("actions or users are left")
	}
}

// actRandomly does something that an application does.
func (h *testHub) actRandomly(random *rand.Rand, publishes bool) {
	who := access.Subject{Kind: access.SubjectUser, Name: fmt.Sprint(random.IntN(3))}
	if random.IntN(8) == 0 {
		who = access.Subject{Kind: access.SubjectToken, Name: fmt.Sprintf("%d-%d", random.IntN(3), random.IntN(4))}
	}
	channel := fmt.Sprintf("%c%d", "ps"[random.IntN(2)], random.IntN(3))
	switch action := random.IntN(32); {
	case action == 0:
		h.Disconnect(who)
	case action == 1:
		h.Refresh(who)
	case action == 2:
		h.Revoke([]access.Revocation{{Subject: who, Ms: time.Now().UnixMilli()}})
		h.ForgetRevoked(time.Now().Add(time.Hour)) // or no token would be left
	case action < 5 && publishes:
		h.Publish([]byte(channel), []byte("x"))
		h.Flush()
	case action%2 == 0:
		_, _ = h.SubscribeFor(who, channel)
	default:
		h.UnsubscribeFor(who, channel)
	}
}

// visitRandomly connects a client, which leaves after some commands.
func (h *testHub) visitRandomly(random *rand.Rand) {
	protocols := []protocol.Protocol{protocol.V1{}, protocol.V1{}, protocol.Raw{}, protocol.SSE{}}
	o := connectOptions{
		protocol: protocols[random.IntN(4)], room: outboxtest.Unlimited, channels: []string{"p0", "p1"},
		admit: func(c *relay.Client) { c.Began = time.Now() },
	}
	if random.IntN(2) == 0 {
		o.identity = login(fmt.Sprint(random.IntN(3)), time.Now().UnixMilli(), "")
	}
	c := h.connect(o)
	defer c.leave()
	for range random.IntN(20) {
		channel := fmt.Sprintf("s%d", random.IntN(3))
		switch user := fmt.Sprint(random.IntN(3)); random.IntN(4) {
		case 0:
			c.handle(`{"type":"subscribe","channels":[{"channel":%q,"sig":%q,"user":%q}]}`, channel, sign(channel, user, time.Hour), user)
		case 1:
			c.handle(`{"type":"auth","token":"%d-%d"}`, random.IntN(3), random.IntN(4))
		case 2:
			c.handle(`{"type":"unsubscribe","channel":%q}`, channel)
		default:
			c.handle(`{"type":"subscribe","channel":"p%d"}`, random.IntN(3))
		}
	}
}

// After a refresh or a revocation, the application's earlier answers about the
// user are stale.
func TestStaleAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{Shards: 1})
		c := h.connect(connectOptions{room: outboxtest.Unlimited, identity: login("44", 1, "t")})
		defer c.leave()
		before := time.Now()
		time.Sleep(time.Second)
		h.Refresh(user42)
		h.UnsubscribeFor(access.Subject{Name: "43"}, "a")
		h.Refresh(access.Subject{Kind: access.SubjectToken, Name: "t"})
		h.Revoke([]access.Revocation{{Subject: access.Subject{Name: "45"}, Ms: time.Now().UnixMilli()}})
		now := time.Now()
		time.Sleep(time.Second)
		for _, user := range []string{"42", "43", "44", "45"} {
			if !h.IsStale(user, before) || !h.IsStale(user, now) || h.IsStale(user, time.Now()) {
				t.Errorf("user %s: stale before %v, at %v, after %v", user, h.IsStale(user, before), h.IsStale(user, now), h.IsStale(user, time.Now()))
			}
		}
		if h.IsStale("46", before) || h.IsStale("", before) {
			t.Error("the answers about others are stale")
		}
		for i := range 1 << 16 {
			h.Refresh(access.Subject{Name: fmt.Sprint("many ", i)})
		}
		if !h.IsStale("46", now) || h.IsStale("46", time.Now().Add(1)) {
			t.Error("after very many refreshes, the answers about others are not stale")
		}
	})
}
