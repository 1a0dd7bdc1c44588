package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/roster"
)

// fakePresence stands for relay/presence: what a user does is known at once.
type fakePresence struct {
	hub *testHub

	mu      sync.Mutex
	users   map[string]int    // subscriptions by channel and user
	infos   map[string]string // the newest ones, likewise
	rosters map[string]*roster.Roster
	watches int
	unheard bool
	version int64
}

func (p *fakePresence) Enter(channel, user string, info []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := channel + " " + user
	p.infos[key] = string(info)
	if p.users[key] == 0 {
		p.users[key]++
		go p.change(channel, roster.Joined, user, info) // the caller has locked the shard
	} else {
		p.users[key]++
	}
}

func (p *fakePresence) Exit(channel, user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := channel + " " + user
	if p.users[key]--; p.users[key] == 0 {
		delete(p.users, key)
		go p.change(channel, roster.Left, user, nil)
	}
}

// change applies a change and notifies the hub.
func (p *fakePresence) change(channel string, kind roster.Kind, user string, info []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	change := roster.Change{Version: p.version, Kind: kind, Member: roster.Member{User: user, Info: info}}
	if update, news := p.rosterLocked(channel).Apply([]roster.Change{change}); news {
		p.hub.PresenceChanged(channel, update)
	}
}

func (p *fakePresence) rosterLocked(channel string) *roster.Roster {
	if p.rosters[channel] == nil {
		p.rosters[channel] = roster.New(0, nil)
		p.rosters[channel].Load(0, 0, nil)
	}
	return p.rosters[channel]
}

func (p *fakePresence) Watch(_ context.Context, channel string) (*roster.Roster, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unheard {
		return nil, errors.New("changes are not received")
	}
	p.watches++
	return p.rosterLocked(channel), nil
}

func (p *fakePresence) Unwatch(string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches--
}

// newPresenceHub returns a running hub on whose channels "room:*" users are
// members, and its source of them.
func newPresenceHub(t *testing.T) (*testHub, *fakePresence) {
	all := access.Patterns{access.MustPattern("*")}
	p := &fakePresence{users: map[string]int{}, infos: map[string]string{}, rosters: map[string]*roster.Roster{}}
	p.hub = newTestHub(t, relay.HubConfig{
		Access: &access.Rules{
			Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all,
			Presence: access.Patterns{access.MustPattern("room:*")}, Secrets: channelSecrets,
		},
		Presence: p, Shards: 2,
		Verify: func(_ context.Context, token string) (*access.Identity, protocol.Code) {
			return &access.Identity{User: token, Info: []byte(`{"token":true}`)}, protocol.CodeOK
		},
	})
	t.Cleanup(p.hub.start())
	p.hub.Online(1)
	return p.hub, p
}

// user connects a client that is logged in, unless name is empty.
func (h *testHub) user(name string) *testClient {
	o := connectOptions{room: outboxtest.Unlimited}
	if name != "" {
		o.identity = &access.Identity{User: name, Info: fmt.Appendf(nil, `{"name":%q}`, strings.ToUpper(name))}
	}
	c := h.connect(o)
	h.t.Cleanup(c.leave)
	c.receive()
	return c
}

// wantFrames fails unless exactly these JSON frames have arrived since the last
// call.
func (c *testClient) wantFrames(what string, want ...string) {
	c.t.Helper()
	synctest.Wait()
	var got []string
	for _, e := range c.receive() {
		got = append(got, string(e.payload))
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("%s: received\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const askPresence = `{"type":"subscribe","channel":"room:1","presence":true}`

// Clients that ask for it learn who is present, and are notified of each arrival
// and departure but their own.
func TestMembersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newPresenceHub(t)
		ann := h.user("ann")
		ann.handle(askPresence)
		ann.wantFrames("the first member",
			`{"type":"subscribed","channel":"room:1","recovered":false,"members":[{"user":"ann","info":{"name":"ANN"}}],"count":1}`)
		bob := h.user("bob")
		bob.handle(askPresence)
		bob.wantFrames("the second member", `{"type":"subscribed","channel":"room:1","recovered":false,`+
			`"members":[{"user":"ann","info":{"name":"ANN"}},{"user":"bob","info":{"name":"BOB"}}],"count":2}`)
		ann.wantFrames("an arrival", `{"type":"join","channel":"room:1","user":"bob","info":{"name":"BOB"},"count":2}`)
		silent := h.user("cat")
		silent.handle(`{"type":"subscribe","channel":"room:1"}`)
		silent.wantFrames("a member that does not ask", `{"type":"subscribed","channel":"room:1","recovered":false}`)
		ann.wantFrames("its arrival", `{"type":"join","channel":"room:1","user":"cat","info":{"name":"CAT"},"count":3}`)
		bob.wantFrames("its arrival", `{"type":"join","channel":"room:1","user":"cat","info":{"name":"CAT"},"count":3}`)
		silent.handle(`{"type":"unsubscribe","channel":"room:1"}`)
		silent.wantFrames("leaving", `{"type":"unsubscribed","channel":"room:1"}`)
		bob.leave()
		ann.wantFrames("departures",
			`{"type":"leave","channel":"room:1","user":"cat","count":2}`, `{"type":"leave","channel":"room:1","user":"bob","count":1}`)
		ann.leave()
		synctest.Wait()
		if len(p.users) > 0 || p.watches != 0 {
			t.Errorf("left over: %v, %d watches", p.users, p.watches)
		}
	})
}

// A signature for a user makes an anonymous client a member of that channel, and
// of no other.
func TestSignedUserIsAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newPresenceHub(t)
		c := h.user("")
		c.present("room:1", sign("room:1", "ann", time.Minute), "ann", `,"presence":true`)
		c.wantFrames("a signature for a user",
			`{"type":"subscribed","channel":"room:1","recovered":false,"members":[{"user":"ann"}],"count":1}`)
		c.present("room:2", sign("room:2", "", time.Minute), "", `,"presence":true`)
		c.wantFrames("a signature for any client",
			`{"type":"error","code":"unauthorized","message":"presence is for users who are logged in","channel":"room:2"}`)
		c.handle(`{"type":"subscribe","channel":"room:3"}`)
		c.present("room:3", sign("room:3", "ann", time.Minute), "ann", `,"presence":true`)
		c.wantFrames("a signature for a channel to which the client is subscribed without a user",
			`{"type":"subscribed","channel":"room:3","recovered":false}`,
			`{"type":"error","code":"bad_request","message":"already subscribed without a user: unsubscribe before a subscribe with presence","channel":"room:3"}`)
		c.present("room:1", sign("room:1", "ann", 2*time.Minute), "ann", `,"presence":true`)
		c.wantFrames("a new signature",
			`{"type":"subscribed","channel":"room:1","recovered":true,"members":[{"user":"ann"}],"count":1}`)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(p.users) > 0 || p.watches != 0 {
			t.Errorf("left over when the signature has expired: %v, %d watches", p.users, p.watches)
		}
	})
}

// A login over the connection that renews an earlier one can have another info,
// which others receive from then on. It is no departure.
func TestInfoIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newPresenceHub(t)
		bob, cat := h.user("bob"), h.user("cat")
		bob.handle(askPresence)
		cat.handle(askPresence)
		synctest.Wait()
		bob.receive()
		cat.receive()
		cat.handle(`{"type":"auth","token":"cat"}`)
		cat.wantFrames("the login")
		bob.wantFrames("no departure")
		if got := p.infos["room:1 cat"]; got != `{"token":true}` {
			t.Errorf("the info is %s", got)
		}
		cat.leave()
		bob.leave()
		synctest.Wait()
		if len(p.users) > 0 || p.watches != 0 {
			t.Errorf("left over: %v, %d watches", p.users, p.watches)
		}
	})
}

// Each case is a client that sends commands. Users is who is a member then.
func TestWhoIsAMember(t *testing.T) {
	const known = `"members":[{"user":"ann","info":{"name":"ANN"}}],"count":1}`
	for _, test := range []struct {
		name, user string
		commands   []string
		want       []string
		users      string
	}{
		{"an anonymous client", "", []string{`{"type":"subscribe","channel":"room:1"}`},
			[]string{`{"type":"subscribed","channel":"room:1","recovered":false}`}, ""},
		{"an anonymous client that asks", "", []string{askPresence},
			[]string{`{"type":"error","code":"unauthorized","message":"presence is for users who are logged in","channel":"room:1"}`}, ""},
		{"a channel without members", "ann", []string{`{"type":"subscribe","channel":"chat","presence":true,"ref":1}`},
			[]string{`{"type":"error","code":"bad_request","message":"presence is for the channels of SIDECAST_PRESENCE_CHANNELS only","channel":"chat","ref":1}`}, ""},
		{"subscribing twice counts once", "ann", []string{askPresence, askPresence, `{"type":"unsubscribe","channel":"room:1"}`},
			[]string{`{"type":"subscribed","channel":"room:1","recovered":false,` + known,
				`{"type":"subscribed","channel":"room:1","recovered":true,` + known, `{"type":"unsubscribed","channel":"room:1"}`}, ""},
		{"asking later", "ann", []string{`{"type":"subscribe","channel":"room:1"}`, askPresence},
			[]string{`{"type":"subscribed","channel":"room:1","recovered":false}`, `{"type":"subscribed","channel":"room:1","recovered":true,` + known},
			"room:1 ann"},
		{"not asking again", "ann", []string{askPresence, `{"type":"subscribe","channel":"room:1"}`},
			[]string{`{"type":"subscribed","channel":"room:1","recovered":false,` + known, `{"type":"subscribed","channel":"room:1","recovered":true}`},
			"room:1 ann"},
		{"a login over the connection", "", []string{`{"type":"subscribe","channel":"room:1"}`, `{"type":"auth","token":"bob"}`},
			[]string{`{"type":"subscribed","channel":"room:1","recovered":false}`}, "room:1 bob"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, p := newPresenceHub(t)
				c := h.user(test.user)
				for _, command := range test.commands {
					c.handle("%s", command)
				}
				c.wantFrames("the answers", test.want...)
				for user := range p.users {
					if user != test.users {
						t.Errorf("%s is a member", user)
					}
				}
				if want := min(len(test.users), 1); len(p.users) != want {
					t.Errorf("there are %d members, want %d", len(p.users), want)
				}
			})
		})
	}
}

// If the relay cannot know the members, the client is told to try again.
func TestMembersUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newPresenceHub(t)
		p.unheard = true
		c := h.user("ann")
		c.handle(askPresence)
		c.wantFrames("the answer", `{"type":"error","code":"unavailable","message":"`+protocol.CodeUnavailable.Message()+`","channel":"room:1"}`)
		if len(p.users) > 0 || p.watches != 0 {
			t.Errorf("left over: %v, %d watches", p.users, p.watches)
		}
	})
}

// What happens together is one write to each client, and a client does not
// receive the part about itself. A notice that the client knew when it
// subscribed is not for it.
func TestChangesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newPresenceHub(t)
		ann, bob := h.user("ann"), h.user("bob")
		ann.handle(askPresence)
		bob.handle(askPresence)
		synctest.Wait()
		ann.receive()
		bob.receive()
		members := func(users ...string) (list []roster.Change) {
			for _, user := range users {
				p.version++
				list = append(list, roster.Change{Version: p.version, Kind: roster.Joined, Member: roster.Member{User: user}})
			}
			return list
		}
		u, _ := p.rosters["room:1"].Apply([]roster.Change{{Version: 90, Kind: roster.Left, Member: roster.Member{User: "bob"}}})
		u.Changes = append(u.Changes, members("x", "y")...)
		h.PresenceChanged("room:1", u)
		ann.wantFrames("of others", `{"type":"leave","channel":"room:1","user":"bob","count":1}`,
			`{"type":"join","channel":"room:1","user":"x","count":0}`, `{"type":"join","channel":"room:1","user":"y","count":0}`)
		bob.wantFrames("without its own", `{"type":"join","channel":"room:1","user":"x","count":0}`,
			`{"type":"join","channel":"room:1","user":"y","count":0}`)
		h.PresenceChanged("room:1", u)
		ann.wantFrames("known already")
		h.PresenceChanged("room:1", roster.Update{Seq: u.Seq + 1, Count: 5000})
		ann.wantFrames("many", `{"type":"members","channel":"room:1","count":5000}`)
		h.PresenceChanged("room:1", roster.Update{Seq: u.Seq + 2, Members: []byte(`[{"user":"z"}]`), Count: 1})
		bob.wantFrames("all", `{"type":"members","channel":"room:1","count":5000}`, `{"type":"members","channel":"room:1","members":[{"user":"z"}],"count":1}`)
	})
}

// Each client that watches belongs to one part of an update that is for parts of
// them, and has no news from the parts of an update before the one it knows.
func TestChangesInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newPresenceHub(t)
		var clients []*testClient
		for i := range 2 * roster.Parts {
			c := h.user(fmt.Sprint("user", i))
			c.handle(askPresence)
			synctest.Wait()
			clients = append(clients, c)
		}
		received := func() (n int) {
			synctest.Wait()
			for _, c := range clients {
				n += len(c.receive())
			}
			return n
		}
		received()
		const seq = 1000
		told := 0
		for part := 1; part <= roster.Parts; part++ {
			h.PresenceChanged("room:1", roster.Update{Seq: seq, Count: 5000, Part: part})
			n := received()
			if told += n; n > 4 {
				t.Errorf("part %d is %d of %d clients", part, n, len(clients))
			}
		}
		if told != len(clients) {
			t.Errorf("all parts are %d of %d clients", told, len(clients))
		}
		h.PresenceChanged("room:1", roster.Update{Seq: seq, Count: 5000})
		if n := received(); n != 0 {
			t.Errorf("%d clients received an update twice", n)
		}
		h.PresenceChanged("room:1", roster.Update{Seq: seq + 2, Members: []byte(`[]`)})
		received()
		h.PresenceChanged("room:1", roster.Update{Seq: seq + 1, Count: 6000, Part: 1})
		if n := received(); n != 0 {
			t.Errorf("%d clients received an update that is older than what they know", n)
		}
	})
}
