package ws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/readers"
	"sidecast/relay/roster/rostertest"
)

var pusherApp = access.NewApp("app", "app-key", "a-secret-of-20-bytes")

// newPusherRelay runs a relay whose application is [pusherApp] until the test
// ends. All channels are relayed, and those without a prefix are public.
func newPusherRelay(t testing.TB) *testRelay {
	t.Helper()
	all := access.Patterns{access.MustPattern("*")}
	r := buildRelay(t, []relayOption{func(c *relayConfig) {
		c.ws.Reader, c.ws.App = readers.Start(t), pusherApp
		c.hub.Envelopes, c.hub.Presence = true, rostertest.Empty{}
		c.hub.Access = &access.Rules{
			Names: access.NewNames("laravel-", ""), Channels: all, Public: all, Publish: all, App: pusherApp,
			Presence: access.Patterns{access.MustPattern("presence-*")},
		}
	}})
	mux := http.NewServeMux()
	mux.HandleFunc("/app/{key}", r.handler.ServePusher)
	server := httptest.NewServer(mux)
	r.addr = server.Listener.Addr().String()
	r.run(func() { server.Close(); r.reader.Close() })
	return r
}

// dialPusher connects a client of the Pusher protocol, and returns its socket id.
func (r *testRelay) dialPusher() (p *peer, socketID string) {
	r.t.Helper()
	p = r.dial("/app/app-key?protocol=7&client=js&version=8.6.0&flash=false")
	var welcome struct{ Data string }
	var data struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(p.wantText("pusher:connection_established")), &welcome); err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(welcome.Data), &data); err != nil {
		r.t.Fatal(err)
	}
	return p, data.SocketID
}

// quoted returns the JSON text of a string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// subscribeFrame returns a pusher:subscribe. data is omitted if it is empty.
func subscribeFrame(channel, auth, data string) string {
	more := ""
	if data != "" {
		more = `,"channel_data":` + quoted(data)
	}
	return fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%s,"auth":%s%s}}`, quoted(channel), quoted(auth), more)
}

func signinFrame(auth, data string) string {
	return fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%s,"user_data":%s}}`, quoted(auth), quoted(data))
}

// A strangersFrame returns what a stranger with a socket id sends.
type strangersFrame func(socketID string) string

// fixed is a frame that does not depend on the socket id.
func fixed(frame string) strangersFrame { return func(string) string { return frame } }

// unsigned subscribes with an auth that is no signature.
func unsigned(channel, auth string) strangersFrame { return fixed(subscribeFrame(channel, auth, "")) }

// signed subscribes to a channel with data, and presents the signature for
// another channel or for other data.
func signed(channel, data, signedChannel, signedData string) strangersFrame {
	return func(socketID string) string {
		return subscribeFrame(channel, pusherApp.SignChannel(socketID, signedChannel, signedData), data)
	}
}

// member subscribes to presence-own with channel_data that the application has
// signed.
func member(data string) strangersFrame { return signed("presence-own", data, "presence-own", data) }

// altered subscribes to private-own with an altered signature.
func altered(alter func(auth string) string) strangersFrame {
	return func(socketID string) string {
		return subscribeFrame("private-own", alter(pusherApp.SignChannel(socketID, "private-own", "")), "")
	}
}

// signin signs in with a signature for other data.
func signin(data, signedData string) strangersFrame {
	return func(socketID string) string { return signinFrame(pusherApp.SignUser(socketID, signedData), data) }
}

// event is the event of a client.
func event(name, channel, data string) strangersFrame {
	return fixed(fmt.Sprintf(`{"event":%s,"channel":%s,"data":%s}`, quoted(name), quoted(channel), data))
}

// refused is the answer to a subscribe.
func refused(channel, why string, status int) string {
	data := fmt.Sprintf(`{"type":"AuthError","error":%s,"status":%d}`, quoted(why), status)
	return fmt.Sprintf(`{"event":"pusher:subscription_error","channel":%s,"data":%s}`, quoted(channel), quoted(data))
}

// failed is the answer to another frame. code is 0 for null.
func failed(why string, code int) string {
	data := fmt.Sprintf(`{"message":%s,"code":%d}`, quoted(why), code)
	if code == 0 {
		data = fmt.Sprintf(`{"message":%s,"code":null}`, quoted(why))
	}
	return fmt.Sprintf(`{"event":"pusher:error","data":%s}`, quoted(data))
}

// Why the relay refuses frames.
const (
	noAuth           = "this channel needs the permission of your application: let the page send auth, from its authEndpoint"
	wrongAuth        = "auth does not sign this channel for this socket: check SIDECAST_PUSHER_KEY and SIDECAST_PUSHER_SECRET"
	wrongChannelData = "channel_data needs a user_id of at most 128 bytes, and a user_info of at most 1 KiB"
	wrongName        = "not a channel name, or a reserved one"
	wrongData        = "data must be an object whose fields are strings"
	unknownEvent     = "unknown event: send pusher:subscribe, pusher:unsubscribe, pusher:ping, pusher:signin, or an event whose name begins with client-"
	notJoined        = "events of clients need a subscription to a private or presence channel"
	wrongSignin      = "auth does not sign this user_data for this socket, or user_data has no id"
	notObject        = `a message must be a JSON object, like {"event":"pusher:subscribe","data":{"channel":"NAME"}}`
)

const (
	ann          = `{"user_id":"ann","user_info":{"name":"Ann"}}`
	stranger     = `{"user_id":"stranger"}`
	othersSocket = "1234.1234"
)

// hostilePusherFrames are what a stranger sends who has subscribed to
// private-joined, presence-joined, private-encrypted-joined and public. The
// relay answers with one frame, or none if want is empty.
var hostilePusherFrames = []struct {
	name string
	send strangersFrame
	want string
	// publishes is the message that reaches Redis, if there is one.
	publishes string
}{
	// Channels of others.
	{name: "a private channel without auth", send: fixed(`{"event":"pusher:subscribe","data":{"channel":"private-own"}}`), want: refused("private-own", noAuth, 403)},
	{name: "a private channel with an empty auth", send: unsigned("private-own", ""), want: refused("private-own", noAuth, 403)},
	{name: "a presence channel without auth", send: fixed(`{"event":"pusher:subscribe","data":{"channel":"presence-own","channel_data":"{}"}}`), want: refused("presence-own", noAuth, 403)},
	{name: "an encrypted channel without auth", send: unsigned("private-encrypted-own", ""), want: refused("private-encrypted-own", noAuth, 403)},
	{name: "a cache channel without auth", send: unsigned("private-cache-own", ""), want: refused("private-cache-own", noAuth, 403)},
	{name: "an auth without a signature", send: unsigned("private-own", "app-key:"), want: refused("private-own", wrongAuth, 403)},
	{name: "an auth without a colon", send: unsigned("private-own", "app-key"), want: refused("private-own", wrongAuth, 403)},
	{name: "an auth of zeros", send: unsigned("private-own", "app-key:"+strings.Repeat("0", 64)), want: refused("private-own", wrongAuth, 403)},
	{name: "an auth of 8 KiB", send: unsigned("private-own", "app-key:"+strings.Repeat("a", 8<<10)), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature without a key", send: altered(func(auth string) string { return strings.TrimPrefix(auth, "app-key:") }), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature with another key", send: altered(func(auth string) string { return "another" + strings.TrimPrefix(auth, "app-key") }), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature in upper case", send: altered(func(auth string) string { return "app-key:" + strings.ToUpper(auth[len("app-key:"):]) }), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature without its last digit", send: altered(func(auth string) string { return auth[:len(auth)-1] }), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature with one more digit", send: altered(func(auth string) string { return auth + "0" }), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature with a space", send: altered(func(auth string) string { return auth + " " }), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for another socket", send: func(string) string {
		return subscribeFrame("private-own", pusherApp.SignChannel(othersSocket, "private-own", ""), "")
	}, want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for a part of the socket id", send: func(socketID string) string {
		first, _, _ := strings.Cut(socketID, ".")
		return subscribeFrame("private-own", pusherApp.SignChannel(first, "private-own", ""), "")
	}, want: refused("private-own", wrongAuth, 403)},
	{name: "a signature with another secret", send: func(socketID string) string {
		return subscribeFrame("private-own", access.NewApp("app", "app-key", "another secret of 20").SignChannel(socketID, "private-own", ""), "")
	}, want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for another channel", send: signed("private-own", "", "private-other", ""), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for a public channel", send: signed("private-own", "", "own", ""), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for a sign-in", send: func(socketID string) string {
		return subscribeFrame("private-own", pusherApp.SignUser(socketID, `{"id":"ann"}`), "")
	}, want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for a channel whose name is longer", send: signed("private-own", "other", "private-own:other", ""), want: refused("private-own", wrongAuth, 403)},
	{name: "a signature for a private channel with data", send: signed("private-own", stranger, "private-own", stranger), want: refused("private-own", wrongAuth, 403)},
	{name: "the channel of a user without a sign-in", send: unsigned("#server-to-user-ann", ""), want: refused("#server-to-user-ann", noAuth, 403)},
	{name: "the channel of a user with the signature of a sign-in", send: func(socketID string) string {
		return subscribeFrame("#server-to-user-ann", pusherApp.SignUser(socketID, `{"id":"ann"}`), "")
	}, want: refused("#server-to-user-ann", wrongAuth, 403)},

	// Members that the application did not sign.
	{name: "a presence channel with a signature without channel_data", send: signed("presence-own", "", "presence-own", ""), want: refused("presence-own", wrongChannelData, 403)},
	{name: "channel_data that was not signed", send: signed("presence-own", ann, "presence-own", ""), want: refused("presence-own", wrongAuth, 403)},
	{name: "channel_data of another user", send: signed("presence-own", ann, "presence-own", stranger), want: refused("presence-own", wrongAuth, 403)},
	{name: "channel_data with a space", send: signed("presence-own", stranger+" ", "presence-own", stranger), want: refused("presence-own", wrongAuth, 403)},
	{name: "channel_data that the name of a channel contains", send: signed("presence-own", ann+":"+stranger, "presence-own:"+ann, stranger), want: refused("presence-own", wrongAuth, 403)},
	{name: "channel_data that is not JSON", send: member("ann"), want: refused("presence-own", wrongAuth, 403)},
	{name: "channel_data that is a list", send: member(`[{"user_id":"ann"}]`), want: refused("presence-own", wrongAuth, 403)},
	{name: "channel_data without a user", send: member(`{"user_info":{}}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "an empty user", send: member(`{"user_id":""}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user that is null", send: member(`{"user_id":null}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user that is a fraction", send: member(`{"user_id":1.5}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user that is a huge number", send: member(`{"user_id":1e400}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user of 129 digits", send: member(`{"user_id":` + strings.Repeat("9", 129) + `}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user that is an object", send: member(`{"user_id":{"a":1}}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user in a field with another name", send: member(`{"USER_ID":"ann"}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user with a control character", send: member(`{"user_id":"a\u0000b"}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "a user of 129 bytes", send: member(`{"user_id":"` + strings.Repeat("a", 129) + `"}`), want: refused("presence-own", wrongChannelData, 403)},
	{name: "user_info of 1 KiB and a byte", send: member(`{"user_id":"a","user_info":"` + strings.Repeat("i", 1<<10-1) + `"}`), want: refused("presence-own", wrongChannelData, 403)},

	// Names that no channel may have.
	{name: "the channel of revocations", send: unsigned("sidecast:revoked", ""), want: refused("sidecast:revoked", wrongName, 400)},
	{name: "the channel of revocations, signed", send: signed("sidecast:revoked", "", "sidecast:revoked", ""), want: refused("sidecast:revoked", wrongName, 400)},
	{name: "keyspace events", send: unsigned("__keyspace@0__:session", ""), want: refused("__keyspace@0__:session", wrongName, 400)},
	{name: "a name of 201 bytes", send: unsigned(strings.Repeat("n", 201), ""), want: refused(strings.Repeat("n", 201), wrongName, 400)},
	{name: "a private name of 201 bytes, signed", send: signed("private-"+strings.Repeat("n", 193), "", "private-"+strings.Repeat("n", 193), ""), want: refused("private-"+strings.Repeat("n", 193), wrongName, 400)},
	{name: "a name with a control character", send: unsigned("a\x00b", ""), want: refused("a\x00b", wrongName, 400)},
	{name: "a name with a line break, signed", send: signed("private-a\nb", "", "private-a\nb", ""), want: refused("private-a\nb", wrongName, 400)},
	{name: "an empty name", send: unsigned("", "app-key:0"), want: failed("data.channel is missing", 0)},
	{name: "a name that is a number", send: fixed(`{"event":"pusher:subscribe","data":{"channel":7}}`), want: failed(wrongData, 0)},
	{name: "a list of names", send: fixed(`{"event":"pusher:subscribe","data":{"channel":["a","b"]}}`), want: failed(wrongData, 0)},
	{name: "no data", send: fixed(`{"event":"pusher:subscribe"}`), want: failed(wrongData, 0)},
	{name: "a name beside the data", send: fixed(`{"event":"pusher:subscribe","channel":"public"}`), want: failed(wrongData, 0)},

	// Events.
	{name: "an event that only the relay sends", send: event("pusher_internal:subscription_succeeded", "private-own", `"{}"`), want: failed(unknownEvent, 0)},
	{name: "a member that does not exist", send: event("pusher_internal:member_added", "presence-joined", `"{\"user_id\":\"ann\"}"`), want: failed(unknownEvent, 0)},
	{name: "an error for others", send: event("pusher:error", "private-joined", `{"code":4001}`), want: failed(unknownEvent, 0)},
	{name: "an event of the application", send: event(`App\Events\Paid`, "private-joined", `{}`), want: failed(unknownEvent, 0)},
	{name: "a notification", send: event(`Illuminate\Notifications\Events\BroadcastNotificationCreated`, "private-joined", `{}`), want: failed(unknownEvent, 0)},
	{name: "an empty event", send: event("", "private-joined", `{}`), want: failed(unknownEvent, 0)},
	{name: "an event to a public channel", send: event("client-a", "public", `{}`), want: failed(notJoined, 0)},
	{name: "an event to a public channel without a subscription", send: event("client-a", "elsewhere", `{}`), want: failed(notJoined, 0)},
	{name: "an event to a channel of others", send: event("client-a", "private-own", `{}`), want: failed(notJoined, 0)},
	{name: "an event to a presence channel of others", send: event("client-a", "presence-own", `{}`), want: failed(notJoined, 0)},
	{name: "an event to an encrypted channel", send: event("client-a", "private-encrypted-joined", `{}`), want: failed("clients cannot send events to encrypted channels", 0)},
	{name: "an event to the channel of a user", send: event("client-a", "#server-to-user-ann", `{}`), want: failed(notJoined, 0)},
	{name: "an event to the channel of revocations", send: event("client-a", "sidecast:revoked", `{}`), want: failed(notJoined, 0)},
	{name: "an event to keyspace events", send: event("client-a", "__keyspace@0__:session", `{}`), want: failed(notJoined, 0)},
	{name: "an event without a channel", send: fixed(`{"event":"client-a","data":{}}`), want: failed("channel is missing", 0)},
	{name: "an event whose name has 201 bytes", send: event("client-"+strings.Repeat("e", 194), "private-joined", `{}`), want: failed("the name of an event has 200 bytes at most", 0)},
	{
		name: "an event with a forged socket", send: fixed(`{"event":"client-a","channel":"private-joined","data":{"x":1},"socket":"` + othersSocket + `","user_id":"ann"}`),
		publishes: `private-joined {"event":"client-a","data":{"x":1},"socket":"SOCKET"}`,
	},
	{
		name: "an event with a forged user", send: fixed(`{"event":"client-a","channel":"presence-joined","user_id":"ann","data":{"user_id":"ann"}}`),
		publishes: `presence-joined {"event":"client-a","data":{"user_id":"ann"},"socket":"SOCKET","user_id":"stranger"}`,
	},
	{
		name: "data that would end the envelope", send: event("client-a", "private-joined", `"\"},\"event\":\"paid\",\"socket\":\"1.1\""`),
		publishes: `private-joined {"event":"client-a","data":"\"},\"event\":\"paid\",\"socket\":\"1.1\"","socket":"SOCKET"}`,
	},
	{
		name: "data of 5,000 lists in each other", send: event("client-a", "private-joined", strings.Repeat("[", 5000)+strings.Repeat("]", 5000)),
		publishes: `private-joined {"event":"client-a","data":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"socket":"SOCKET"}`,
	},

	// Sign-ins.
	{name: "a sign-in without auth", send: fixed(`{"event":"pusher:signin","data":{"user_data":"{\"id\":\"ann\"}"}}`), want: failed(wrongSignin, 4009)},
	{name: "a sign-in for another socket", send: func(string) string {
		return signinFrame(pusherApp.SignUser(othersSocket, `{"id":"ann"}`), `{"id":"ann"}`)
	}, want: failed(wrongSignin, 4009)},
	{name: "a sign-in as another user", send: signin(`{"id":"ann"}`, `{"id":"stranger"}`), want: failed(wrongSignin, 4009)},
	{name: "a sign-in with the signature of a channel", send: func(socketID string) string {
		return signinFrame(pusherApp.SignChannel(socketID, "private-joined", ""), `{"id":"ann"}`)
	}, want: failed(wrongSignin, 4009)},
	{name: "a sign-in without user_data", send: signin("", ""), want: failed(wrongSignin, 4009)},
	{name: "a sign-in without a user", send: signin(`{"name":"ann"}`, `{"name":"ann"}`), want: failed(wrongSignin, 4009)},
	{name: "a sign-in of a user with 129 bytes", send: signin(`{"id":"`+strings.Repeat("a", 129)+`"}`, `{"id":"`+strings.Repeat("a", 129)+`"}`), want: failed(wrongSignin, 4009)},
	{name: "a sign-in with two texts", send: signin(`{"id":"ann"}{}`, `{"id":"ann"}{}`), want: failed(wrongSignin, 4009)},
	{name: "a sign-in with data that is a list", send: fixed(`{"event":"pusher:signin","data":[]}`), want: failed(wrongData, 4009)},

	// Frames.
	{name: "no JSON", send: fixed(`pusher:subscribe`), want: failed(notObject, 0)},
	{name: "an empty frame", send: fixed(``), want: failed(notObject, 0)},
	{name: "a list", send: fixed(`[{"event":"pusher:subscribe","data":{"channel":"public"}}]`), want: failed(notObject, 0)},
	{name: "a text", send: fixed(`"pusher:subscribe"`), want: failed(notObject, 0)},
	{name: "no event", send: fixed(`{"data":{"channel":"public"}}`), want: failed("event is missing", 0)},
	{name: "an event that is null", send: fixed(`{"event":null}`), want: failed("event is missing", 0)},
	{name: "an event that is a number", send: fixed(`{"event":7}`), want: failed(notObject, 0)},
	{name: "a command of another protocol", send: fixed(`{"type":"subscribe","channel":"public"}`), want: failed("event is missing", 0)},
	{name: "two texts", send: fixed(`{"event":"pusher:ping"}{"event":"pusher:ping"}`), want: failed(notObject, 0)},
	{name: "16 KiB of brackets", send: fixed(strings.Repeat("[", 16<<10)), want: failed(notObject, 0)},
	{name: "an object of 2,000 objects in each other", send: fixed(strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)), want: failed("event is missing", 0)},
	{name: "data with an unknown encoding", send: fixed(`{"event":"pusher:subscribe","data":"{\"channel\":"}`), want: failed(wrongData, 0)},
	{name: "an end of a subscription that does not exist", send: fixed(`{"event":"pusher:unsubscribe","data":{"channel":"private-own"}}`), want: failed("the session has not joined this channel", 0)},
}

// Whatever a stranger sends, the relay answers that it is refused and why. The
// stranger joins no channel of others, and nothing else reaches Redis.
func TestHostilePusherFrames(t *testing.T) {
	r := newPusherRelay(t)
	friend, friendsSocket := r.dialPusher()
	for _, channel := range []string{"private-own", "presence-own", "private-encrypted-own", "private-cache-own"} {
		friend.subscribePusher(channel, friendsSocket, ann)
	}
	friend.write(text(signinFrame(pusherApp.SignUser(friendsSocket, `{"id":"ann"}`), `{"id":"ann"}`)))
	friend.wantText("pusher:signin_success")
	friend.write(text(subscribeFrame("#server-to-user-ann", "", "")))
	friend.wantText("pusher_internal:subscription_succeeded")
	for _, tt := range hostilePusherFrames {
		t.Run(tt.name, func(t *testing.T) {
			p, socketID := r.dialPusher()
			p.t = t
			for _, channel := range []string{"private-joined", "presence-joined", "private-encrypted-joined", "public"} {
				p.subscribePusher(channel, socketID, stranger)
			}
			channels, subscriptions, published := r.stats.Channels.Load(), r.stats.Subscriptions.Load(), len(r.publications())

			p.write(text(tt.send(socketID)))
			for _, channel := range []string{"private-own", "presence-own", "private-encrypted-own", "private-cache-own", "#server-to-user-ann"} {
				r.deliver(channel, `{"event":"secret"}`)
			}
			p.write(text(`{"event":"pusher:ping"}`))
			var got []string
			for !strings.Contains(strings.Join(got, ""), "pusher:pong") {
				got = append(got, p.wantText(""))
			}
			if answer := strings.Join(got[:len(got)-1], "\n"); answer != tt.want {
				t.Errorf("the answer is\n%s\nwant\n%s", answer, tt.want)
			}
			messages := strings.Join(r.publications()[published:], "")
			if want := strings.ReplaceAll(tt.publishes, "SOCKET", socketID); messages != want {
				t.Errorf("published %.200q, want %.200q", messages, want)
			}
			if c, n := r.stats.Channels.Load(), r.stats.Subscriptions.Load(); c != channels || n != subscriptions {
				t.Errorf("%d channels and %d subscriptions more", c-channels, n-subscriptions)
			}
			_ = p.conn.Close()
			await(t, "the stranger to leave", func() bool { return r.hub.Sessions() == 1 })
		})
	}
	for range hostilePusherFrames {
		for range 5 {
			friend.wantText(`"secret"`)
		}
	}
	if strings.Contains(r.log.String(), "panic") {
		t.Error("a panic in the log:\n" + r.log.String())
	}
}

// subscribePusher subscribes to a channel with a signature, and reads the answer.
func (p *peer) subscribePusher(channel, socketID, data string) {
	p.t.Helper()
	if !access.KindOf(channel).Presence {
		data = ""
	}
	p.write(text(subscribeFrame(channel, pusherApp.SignChannel(socketID, channel, data), data)))
	p.wantText(`"event":"pusher_internal:subscription_succeeded","channel":` + quoted(channel))
	if access.KindOf(channel).Cache {
		p.wantText("pusher:cache_miss")
	}
}
