package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestLaravelReplicas: what pusher-js does when a relay stops or dies, and when
// the key is wrong.
func TestLaravelReplicas(t *testing.T) {
	t.Parallel()
	pages := buildLaravelPages(t)
	for _, driver := range laravelDrivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			s := newLaravelSite(t, driver, pages, nil)
			open := nodePages(pages)
			if driver == "reverb" {
				open = chromiumPages(t)
			}
			wrongKey(s, open)
			outage(s, open)
			drains(s, open)
			reconnects(s, open)
			membersAfterKill(s, nodePages(pages))
			basePath(s, nodePages(pages))
		})
	}
}

// notRefused is that the client has not been closed with a code after which it
// must not return.
const notRefused = `seenAs('problem').every((problem) => !(problem.code >= 4000 && problem.code < 4100))`

// A client whose relay stops or is killed connects to the other one, with all its
// channels, and is the same user.
func reconnects(s *laravelSite, open pageMaker) {
	ann := connectedPage(open(s, "ann"), "")
	ann.do(`echo.channel('orders').listen('.n', ({ n }) => see('public')(n)).subscribed(see('orders'))`)
	ann.do(`echo.private('orders.1').listen('.n', ({ n }) => see('private')(n)).subscribed(see('orders.1'))`)
	ann.do(`echo.join('room.1').here((members) => see('here')(members.map(({ name }) => name))).listen('.n', ({ n }) => see('presence')(n))`)
	subscribed, received := []string{"orders", "orders.1", "here"}, []string{"public", "private", "presence"}
	if s.driver == "reverb" {
		ann.do(`echo.encryptedPrivate('safe').listen('.n', ({ n }) => see('encrypted')(n)).subscribed(see('safe'))`)
		ann.do(`echo.connector.pusher.bind('pusher:signin_success', () => see('user')(null))`)
		ann.do(`echo.connector.pusher.user.bind('n', ({ n }) => see('mine')(n)), echo.connector.pusher.signin()`)
		subscribed, received = append(subscribed, "safe", "user"), append(received, "encrypted", "mine")
	}
	var want []string
	for i := range 5 {
		for _, kind := range subscribed {
			ann.await(fmt.Sprintf("seenAs(%q).length > %d", kind, i))
		}
		s.broadcast("n", fmt.Sprintf(`{"n":%d}`, i), "orders", "private-orders.1", "presence-room.1")
		if s.driver == "reverb" {
			ann.await(`echo.connector.pusher.user.serverToUserChannel?.subscribed`)
			s.broadcast("n", fmt.Sprintf(`{"n":%d}`, i), "private-encrypted-safe")
			s.broadcast("n", fmt.Sprintf(`{"n":%d}`, i), "#server-to-user-1")
		}
		want = append(want, fmt.Sprint(i))
		for _, kind := range received {
			ann.saw(kind, want...)
		}
		ann.do("globalThis.lastSocket = echo.socketId()")
		holder := s.holder()
		if i%2 == 0 {
			terminate(s.relays[holder])
		} else {
			s.relays[holder].Kill()
		}
		ann.await("echo.socketId() && echo.socketId() !== lastSocket")
		s.restartRelay(holder)
	}
	ann.await(notRefused)
	ann.await(`seenAs('here').every((members) => members.join() === 'ann')`)
}

// When a relay is killed, the members that were connected to it leave, and no
// others.
func membersAfterKill(s *laravelSite, open pageMaker) {
	const join = `echo.join('room.2').here((members) => see('here')(members.map(({ name }) => name).sort()))
		.joining(({ name }) => see('joining')(name)).leaving(({ name }) => see('leaving')(name))`
	pages := map[string]*echoPage{}
	direct := func(user string, relay int) *echoPage {
		page := connectedPage(open(s, user), fmt.Sprintf(`{ wsPort: %q }`, port(s.addrs[relay])))
		page.do(join)
		pages[user] = page
		return page
	}
	ann := direct("ann", 0)
	ann.saw("here", `["ann"]`)
	direct("bob", 1)
	ann.saw("joining", `"bob"`)
	direct("cat", 1)
	ann.saw("joining", `"bob"`, `"cat"`)
	s.awaitMembers("presence-room.2", "1", "2", "3")
	pages["bob"].do("echo.disconnect()")
	ann.saw("leaving", `"bob"`)
	s.relays[1].Kill()
	// Redis keeps the members of a killed relay for 30 s.
	_ = poll(func() string {
		return strings.Trim(string(ann.run(`seenAs('leaving').length < 2 ? 'cat is a member' : ''`)), `"`)
	})
	ann.saw("leaving", `"bob"`, `"cat"`)
	s.awaitMembers("presence-room.2", "1")
	s.restartRelay(1)
	ann.saw("joining", `"bob"`, `"cat"`, `"cat"`) // it has reconnected
	s.awaitMembers("presence-room.2", "1", "3")
	ann.await(`Object.keys(echo.connector.channels['presence-room.2'].subscription.members.members).join() === '1,3'`)
}

// A client with a wrong key or of an unknown version gives up.
func wrongKey(s *laravelSite, open pageMaker) {
	ann := open(s, "ann")
	ann.do(`connect({ key: 'another' })`)
	ann.saw("state", `"disconnected"`)
	ann.saw("problem", `{"code":4001,"message":"unknown key: use the one in SIDECAST_PUSHER_KEY"}`)
	connectedPage(ann, "")
	ann.saw("state", `"disconnected"`, `"connected"`) // the first one has not tried again
	ann.do("echo.disconnect()")
}

// After an outage of Redis, each channel gets a notice, and the members are those
// that are connected, although Redis has forgotten them.
func outage(s *laravelSite, open pageMaker) {
	ann := connectedPage(open(s, "ann"), "")
	ann.do(`echo.channel('news').listen('.sidecast:gap', see('news gap')).listen('.n', ({ n }) => see('n')(n)).subscribed(see('news'))`)
	ann.do(`echo.private('news').listen('.sidecast:gap', see('private gap')).subscribed(see('private'))`)
	ann.do(`echo.join('room.news').here(see('here')).listen('.sidecast:gap', see('presence gap'))`)
	ann.do(`echo.connector.pusher.bind('sidecast:offline', see('offline'))`)
	for _, kind := range []string{"news", "private", "here"} {
		ann.await(fmt.Sprintf("seenAs(%q).length === 1", kind))
	}
	s.awaitMembers("presence-room.news", "1")
	s.redis.Kill()
	ann.saw("offline", `{"reason":"redis"}`)
	s.redis.Restart()
	for _, kind := range []string{"news gap", "private gap", "presence gap"} {
		ann.await(fmt.Sprintf("seenAs(%q)[0]?.reason === 'redis'", kind))
	}
	s.awaitMembers("presence-room.news", "1")
	s.broadcast("n", `{"n":1}`, "news")
	ann.await("seenAs('n').at(-1) === 1")
	ann.do("echo.disconnect()")
}

// All clients of a relay that stops connect to the other one, and each receives
// the next event once.
func drains(s *laravelSite, open pageMaker) {
	const n = 40
	page := open(s, "ann")
	page.do(fmt.Sprintf(`globalThis.clients = connectMany(%d, 'flood', 'n')`, n))
	const allJoined = `clients.every((client) => client.channel('flood').subscribed)`
	page.await(allJoined)
	for round := range 2 {
		connected := total(s.t, s.relays[round], "sidecast_connections{")
		if connected < n/4 {
			s.t.Errorf("relay %d has %v of %d clients", round, connected, n)
		}
		terminate(s.relays[round])
		<-s.relays[round].Exited()
		page.await(allJoined)
		s.broadcast("n", fmt.Sprintf(`{"n":%d}`, round), "flood")
		page.await(fmt.Sprintf(`clients.every((_, i) => seenAs('client ' + i).length === %d)`, round+1))
		s.startRelay(round)
		page.do(`clients.slice(0, 20).forEach((client) => { client.disconnect(); client.connect() })`)
		page.await(allJoined)
	}
	page.await(notRefused)
	page.do(`clients.forEach((client) => client.disconnect())`)
}

// A client reaches a relay below a base path.
func basePath(s *laravelSite, open pageMaker) {
	s.relays[0].Kill()
	s.more["SIDECAST_BASE_PATH"] = "/push"
	s.startRelay(0)
	ann := connectedPage(open(s, "ann"), fmt.Sprintf(`{ wsPort: %q, wsPath: '/push' }`, port(s.addrs[0])))
	ann.do(`echo.private('orders.1').listen('.n', ({ n }) => see('n')(n)).subscribed(see('joined'))`)
	ann.saw("joined", "null")
	s.broadcast("n", `{"n":1}`, "private-orders.1")
	ann.saw("n", "1")
}
