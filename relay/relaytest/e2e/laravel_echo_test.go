package e2e_test

import (
	"fmt"
	"testing"
)

// TestLaravelEcho: unmodified Laravel Echo and pusher-js, in Chromium and in Node,
// with an application that broadcasts as Laravel does, two relays and HAProxy.
func TestLaravelEcho(t *testing.T) {
	t.Parallel()
	pages := buildLaravelPages(t)
	places := map[string]pageMaker{"Node": nodePages(pages), "Chromium": chromiumPages(t)}
	for _, driver := range laravelDrivers {
		s := newLaravelSite(t, driver, pages, nil)
		for place, open := range places {
			t.Run(driver+" in "+place, func(t *testing.T) {
				s := s.of(t)
				ann := connectedPage(open(s, "ann"), "")
				bob := connectedPage(open(s, "bob"), "")
				publicChannel(s, ann)
				privateChannel(s, ann)
				presenceChannel(s, ann, bob, connectedPage(open(s, "bob"), ""))
				toOthers(s, ann, bob)
				cacheChannel(s, ann, bob, place)
				switch {
				case driver == "reverb":
					encryptedChannel(s, ann, place)
					signedIn(s, ann, bob)
				case place == "Chromium":
					unsignedChannel(s, open)
				}
			})
		}
	}
}

// laravelDrivers are the broadcast drivers of the application: with redis, the
// relay asks it and signs; with reverb, it signs.
var laravelDrivers = []string{"redis", "reverb"}

// of returns the site for a subtest.
func (s *laravelSite) of(t *testing.T) *laravelSite {
	same := *s
	same.t = t
	return &same
}

// A name that begins with a point is that of broadcastAs(), others are classes.
// Values arrive as the application has encoded them.
func publicChannel(s *laravelSite, ann *echoPage) {
	s.t.Helper()
	ann.do(`echo.channel('orders').listen('OrderShipped', see('shipped')).listen('.order.paid', see('paid'))
		.listenToAll((event, data) => see('all')(event)).subscribed(see('orders'))`)
	ann.saw("orders", "null")
	const data = `{"order":{"id":7,"text":"Grüße / \"x\" \u0000 😀"},"none":null,"list":[1.5,true]}`
	s.broadcast(`App\Events\OrderShipped`, data, "orders", "other")
	s.broadcast("order.paid", `{"total":"12"}`, "orders")
	ann.saw("paid", s.data(`{"total":"12"}`))
	ann.saw("shipped", s.data(data))
	ann.saw("all", `"OrderShipped"`, `".order.paid"`)
	ann.do(`echo.leave('orders')`)
}

// data returns the data of an event as clients receive it. The redis driver
// publishes the socket in it, too.
func (s *laravelSite) data(data string) string {
	if s.driver == "redis" {
		return data[:len(data)-1] + `,"socket":null}`
	}
	return data
}

// The application opens and refuses private channels. A signature that the relay
// does not accept is an error of the channel, not of the connection.
func privateChannel(s *laravelSite, ann *echoPage) {
	s.t.Helper()
	ann.do(`echo.private('orders.1').listen('OrderShipped', see('private')).error(see('refused')).subscribed(see('orders.1'))`)
	ann.do(`echo.private('orders.secret').listen('OrderShipped', see('secret')).error(({ status }) => see('denied')(status))`)
	ann.saw("orders.1", "null")
	ann.saw("denied", "403")
	if s.driver == "reverb" {
		ann.do(`echo.private('orders.forged').listen('OrderShipped', see('secret')).error(({ type, status }) => see('forged')([type, status]))`)
		ann.saw("forged", `["AuthError",403]`)
	}
	ann.do(`echo.private('App.Models.User.1').notification(see('notification')).subscribed(see('user'))`)
	ann.saw("user", "null")
	s.broadcast(`App\Events\OrderShipped`, `{"id":1}`, "private-orders.secret", "private-orders.forged", "private-orders.1")
	ann.saw("private", s.data(`{"id":1}`))
	notification := `Illuminate\Notifications\Events\BroadcastNotificationCreated`
	s.broadcast(notification, `{"id":"8a","type":"App\\Notifications\\Paid"}`, "private-App.Models.User.1")
	ann.saw("notification", s.data(`{"id":"8a","type":"App\\Notifications\\Paid"}`))
	ann.saw("refused")
	ann.saw("secret")
}

// Members see each other come and go, and whisper. A user with two pages is one
// member.
func presenceChannel(s *laravelSite, ann, bob, bobsOther *echoPage) {
	s.t.Helper()
	join := `echo.join('room.1').here(see('here')).joining(see('joining')).leaving(see('leaving'))
		.listenForWhisper('typing', (data, ...more) => see('whisper')(data)).listen('.said', see('said'))`
	ann.do(join)
	ann.saw("here", `[{"name":"ann"}]`)
	s.awaitMembers("presence-room.1", "1")
	bob.do(join)
	ann.saw("joining", `{"name":"bob"}`)
	bob.await(`seenAs('here').at(-1)?.length === 2`)
	bob.saw("here", `[{"name":"ann"},{"name":"bob"}]`)

	bob.do(`echo.connector.channels['presence-room.1'].subscription.bind('client-typing', (data, { user_id }) => see('typist')(user_id))`)
	ann.do(`echo.join('room.1').whisper('typing', { name: 'Ann' })`)
	bob.saw("whisper", `{"name":"Ann"}`)
	bob.saw("typist", `"1"`)
	bob.do(`echo.join('room.1').whisper('typing', { name: 'Bob' })`)
	ann.saw("whisper", `{"name":"Bob"}`)
	s.broadcast("said", `{"text":"hello"}`, "presence-room.1")
	for _, page := range []*echoPage{ann, bob} {
		page.saw("said", s.data(`{"text":"hello"}`))
	}
	bob.saw("whisper", `{"name":"Ann"}`) // not its own

	bobsOther.do(join)
	bobsOther.saw("here", `[{"name":"ann"},{"name":"bob"}]`)
	s.broadcast("said", `{"text":"again"}`, "presence-room.1")
	bobsOther.saw("said", s.data(`{"text":"again"}`))
	for _, page := range []*echoPage{bob, bobsOther} {
		ann.saw("joining", `{"name":"bob"}`)
		ann.saw("leaving")
		page.do(`echo.leave('room.1')`)
	}
	ann.saw("leaving", `{"name":"bob"}`)
	bob.saw("joining")
	bobsOther.saw("joining")
	bobsOther.do(`echo.disconnect()`)
}

// toOthers leaves out the page whose request caused the event.
func toOthers(s *laravelSite, ann, bob *echoPage) {
	s.t.Helper()
	for _, page := range []*echoPage{ann, bob} {
		page.do(`echo.channel('board').listen('.moved', ({ by }) => see('moved')(by)).subscribed(see('board'))`)
		page.saw("board", "null")
	}
	for i := range 2 {
		ann.do(`broadcastToOthers({ channels: ['board'], event: 'moved', data: { by: 'ann' } })`)
		ann.await(fmt.Sprintf(`seenAs('broadcast').length === %d`, i+1))
	}
	ann.saw("broadcast", "200", "200")
	s.broadcast("moved", `{"by":"all"}`, "board")
	bob.saw("moved", `"ann"`, `"ann"`, `"all"`)
	ann.saw("moved", `"all"`)
	for i, page := range []*echoPage{bob, ann} {
		page.await(fmt.Sprintf(`echo.connector.pusher.channel('board').subscriptionCount === %d`, 2-i))
		page.do(`echo.leave('board')`)
	}
}

// A cache channel begins with its last event, or says that it has none.
func cacheChannel(s *laravelSite, ann, bob *echoPage, place string) {
	s.t.Helper()
	name := "private-cache-weather-" + place
	listen := fmt.Sprintf(`echo.connector.pusher.subscribe(%q).bind('pusher:cache_miss', () => see('miss')(null))
		.bind('now', ({ degrees }) => see('degrees')(degrees))`, name)
	ann.do(listen)
	ann.saw("miss", "null")
	s.broadcast("now", `{"degrees":20}`, name)
	s.broadcast("now", `{"degrees":21}`, name)
	ann.saw("degrees", "20", "21")
	ann.do(fmt.Sprintf(`echo.connector.pusher.channel(%q).trigger('client-guess', {})`, name)) // it is not the last event
	bob.do(listen)
	bob.saw("degrees", "21")
	bob.saw("miss")
}

// The relay cannot read the events of an encrypted channel.
func encryptedChannel(s *laravelSite, ann *echoPage, place string) {
	s.t.Helper()
	ann.do(fmt.Sprintf(`echo.encryptedPrivate('safe-%s').listen('.opened', see('opened')).subscribed(see('safe'))`, place))
	ann.saw("safe", "null")
	s.broadcast("opened", `{"by":"ann"}`, "private-encrypted-safe-"+place)
	ann.saw("opened", `{"by":"ann"}`)
}

// The application reaches a user who has signed in, and no other.
func signedIn(s *laravelSite, ann, bob *echoPage) {
	s.t.Helper()
	for user, page := range map[string]*echoPage{"1": ann, "2": bob} {
		page.do(`echo.connector.pusher.bind('pusher:signin_success', ({ user_data }) => see('signed in')(JSON.parse(user_data).id))`)
		page.do(`echo.connector.pusher.user.bind('news', see('news')), echo.connector.pusher.signin()`)
		page.await(`echo.connector.pusher.user.serverToUserChannel?.subscribed`)
		page.saw("signed in", fmt.Sprintf("%q", user))
	}
	s.broadcast("news", `{"for":2}`, "#server-to-user-2")
	s.broadcast("news", `{"for":1}`, "#server-to-user-1")
	ann.saw("news", `{"for":1}`)
	bob.saw("news", `{"for":2}`)
}

// A page that presents no signature has the rights of its cookies: the relay asks
// the application.
func unsignedChannel(s *laravelSite, open pageMaker) {
	s.t.Helper()
	const unsigned = `{ authorizer: () => ({ authorize: (socket, callback) => callback(null, { auth: '' }) }) }`
	cat := connectedPage(open(s, "cat"), unsigned)
	cat.do(`echo.private('App.Models.User.3').listen('.mine', see('mine')).subscribed(see('user'))`)
	cat.do(`echo.private('App.Models.User.1').error(({ status }) => see('denied')(status))`)
	cat.saw("user", "null")
	cat.saw("denied", "403")
	s.broadcast("mine", `{"n":1}`, "private-App.Models.User.1", "private-App.Models.User.3")
	cat.saw("mine", s.data(`{"n":1}`))
	stranger := connectedPage(open(s, "nobody"), unsigned)
	stranger.do(`echo.private('App.Models.User.3').error(({ status }) => see('denied')(status))`)
	stranger.saw("denied", "403")
}
