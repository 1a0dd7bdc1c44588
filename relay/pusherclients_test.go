package relay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/roster"
	"sidecast/relay/stream"
)

var testApp = access.NewApp("1", "key", "a secret of 16 bytes")

// A pusherHub is a hub with an application whose clients speak the Pusher
// protocol. Whatever they publish arrives.
type pusherHub struct {
	*testHub
	published []string // "channel payload"
}

// newPusherHub returns a running hub with a configuration that may be changed.
func newPusherHub(t *testing.T, change ...func(*relay.HubConfig)) *pusherHub {
	h := new(pusherHub)
	all := access.Patterns{access.MustPattern("*")}
	p := &fakePresence{users: map[string]int{}, infos: map[string]string{}, rosters: map[string]*roster.Roster{}}
	cfg := relay.HubConfig{
		Access: &access.Rules{
			Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all, App: testApp,
			Presence: access.Patterns{access.MustPattern("presence-*")},
		},
		Shards: 2, PingInterval: time.Hour, HistoryBytes: 1 << 20, HistoryAge: time.Hour, Envelopes: true, Presence: p,
		CommandRate: 20, CommandBurst: 50,
		Publish: func(_ context.Context, channel string, payload []byte) (int64, error) {
			h.published = append(h.published, channel+" "+string(payload))
			return 1, nil
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	h.testHub = newTestHub(t, cfg)
	p.hub = h.testHub
	t.Cleanup(h.start())
	h.Online(1)
	h.receiveMarker()
	return h
}

// send publishes an event as an application does.
func (h *pusherHub) send(channel, event, socket string) {
	socketJSON, _ := json.Marshal(socket)
	if socket == "" {
		socketJSON = []byte("null")
	}
	h.Publish([]byte(channel), fmt.Appendf(nil, `{"event":%q,"data":{"n":1},"socket":%s}`, event, socketJSON))
	h.Flush()
	synctest.Wait()
}

// deliver gives the hub what clients have published.
func (h *pusherHub) deliver() {
	for _, p := range h.published {
		channel, payload, _ := strings.Cut(p, " ")
		h.Publish([]byte(channel), []byte(payload))
	}
	h.published = nil
	h.Flush()
	synctest.Wait()
}

// A pusherClient is a client of the Pusher protocol, or of sidecast.v1.
type pusherClient struct {
	*testClient
	socketID string
}

var socketIDPattern = regexp.MustCompile(`socket_id\\?":\\?"([0-9]+\.[0-9]+)\\?"`)

func (h *pusherHub) pusherClient(p protocol.Protocol, o connectOptions) *pusherClient {
	o.room, o.protocol = outboxtest.Unlimited, p
	c := &pusherClient{testClient: h.connect(o)}
	h.t.Cleanup(c.leave)
	synctest.Wait()
	found := socketIDPattern.FindSubmatch(c.receive()[0].payload)
	if found == nil {
		h.t.Fatal("the client has no socket id")
	}
	c.socketID = string(found[1])
	return c
}

// join subscribes to a channel for which the application has signed the client.
func (c *pusherClient) join(channel, data string) {
	c.handle(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q,"channel_data":%q}}`,
		channel, testApp.SignChannel(c.socketID, channel, data), data)
	synctest.Wait()
}

func succeeded(channel string) string {
	return fmt.Sprintf(`{"event":"pusher_internal:subscription_succeeded","channel":%q,"data":"{}"}`, channel)
}

func shipped(channel string) string {
	return fmt.Sprintf(`{"event":"shipped","channel":%q,"data":"{\"n\":1}"}`, channel)
}

func commandError(text, code string) string {
	return fmt.Sprintf(`{"event":"pusher:error","data":"{\"message\":\"%s\",\"code\":%s}"}`, text, code)
}

func refusedChannel(channel, text string, status int) string {
	return fmt.Sprintf(`{"event":"pusher:subscription_error","channel":%q,"data":"{\"type\":\"AuthError\",\"error\":\"%s\",\"status\":%d}"}`, channel, text, status)
}

// An application's event reaches all sessions but the one that it names, whatever
// that one's protocol is.
func TestToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		a, b := h.pusherClient(protocol.Pusher{}, connectOptions{}), h.pusherClient(protocol.Pusher{}, connectOptions{})
		c := h.pusherClient(protocol.V1{}, connectOptions{})
		a.join("chat", "")
		b.join("private-a", "")
		a.join("private-a", "")
		c.handle(`{"type":"subscribe","channel":"private-a","auth":%q}`, testApp.SignChannel(c.socketID, "private-a", ""))
		synctest.Wait()
		a.wantFrames("answers", succeeded("chat"), succeeded("private-a"))
		b.wantFrames("answer", succeeded("private-a"))
		c.want("answer", "subscribed false")
		h.send("private-a", "shipped", a.socketID)
		a.wantFrames("its own")
		b.wantFrames("another's", shipped("private-a"))
		h.send("private-a", "shipped", c.socketID)
		a.wantFrames("another's", shipped("private-a"))
		c.receive()
		h.send("private-a", "shipped", c.socketID)
		c.wantFrames("its own")
		for _, socket := range []string{"", "1.2", "x", strings.Repeat("9", 40) + ".1"} {
			b.receive()
			h.send("private-a", "shipped", socket)
			b.wantFrames("of no session here", shipped("private-a"))
		}
	})
}

// It is the same for messages that wait for the session in the history or in a
// stream: those from before it subscribed, and those that it missed meanwhile.
func TestToOthersLater(t *testing.T) {
	for name, durable := range map[string]bool{"the history": false, "a stream": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPlainStore()
				h := newPusherHub(t, func(cfg *relay.HubConfig) {
					cfg.Last = func(string) int { return 10 }
					if durable {
						cfg.Access.Durable = access.Patterns{access.MustPattern("private-*")}
						cfg.Streams = func() stream.Store { return &storeConn{store: s} }
					}
				})
				a, b := h.pusherClient(protocol.Pusher{}, connectOptions{}), h.pusherClient(protocol.V1{}, connectOptions{})
				b.handle(`{"type":"subscribe","channel":"private-a","auth":%q}`, testApp.SignChannel(b.socketID, "private-a", ""))
				synctest.Wait()
				if durable {
					for i, socket := range []string{a.socketID, b.socketID} {
						s.add("private-a", stream.ID{Ms: uint64(i + 1)}, []string{"data", fmt.Sprintf(`{"event":"shipped","data":{"n":1},"socket":%q}`, socket)}, "", 0)
					}
					h.Nudge([]byte("private-a"), false)
					synctest.Wait()
				} else {
					h.send("private-a", "shipped", a.socketID)
					h.send("private-a", "shipped", b.socketID)
				}
				a.join("private-a", "")
				a.wantFrames("only the other's", succeeded("private-a"), shipped("private-a"))
			})
		})
	}
}

// On a durable channel, it is the same.
func TestToOthersOnStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore()
		h := newPusherHub(t, func(cfg *relay.HubConfig) {
			cfg.Access.Durable = access.Patterns{access.MustPattern("private-*")}
			cfg.Streams = func() stream.Store { return &storeConn{store: s} }
		})
		a, b := h.pusherClient(protocol.Pusher{}, connectOptions{}), h.pusherClient(protocol.Pusher{}, connectOptions{})
		a.join("private-a", "")
		b.join("private-a", "")
		a.receive()
		b.receive()
		s.add("private-a", stream.ID{Ms: 1}, []string{"data", fmt.Sprintf(`{"event":"shipped","data":{"n":1},"socket":%q}`, a.socketID)}, "", 0)
		h.Nudge([]byte("private-a"), false)
		a.wantFrames("its own")
		b.wantFrames("another's", shipped("private-a"))
		a.handle(`{"event":"client-typing","channel":"private-a","data":{"n":1}}`)
		h.Nudge([]byte("private-a"), false)
		a.wantFrames("its own")
		b.wantFrames("another's", `{"event":"client-typing","channel":"private-a","data":"{\"n\":1}"}`)
	})
}

// What a client sends opens a channel only if the application has signed exactly
// that, for this session. Nothing is subscribed or published otherwise.
func TestPusherRefusals(t *testing.T) {
	const member = `{"user_id":"7","user_info":{"name":"x"}}`
	notSigned, needsAuth := protocol.ReasonAuth.String(), protocol.ReasonNoAuth.String()
	longName, longID, longInfo := "private-"+strings.Repeat("x", 193), strings.Repeat("7", 129), strings.Repeat("x", access.MaxInfo)
	stranger := access.NewApp("1", "key", "another secret of 16 bytes")
	otherKey := access.NewApp("1", "other", "a secret of 16 bytes")
	subscribe := func(channel, auth, data string) string {
		return fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q,"channel_data":%q}}`, channel, auth, data)
	}
	for name, tt := range map[string]struct {
		frame func(socket string) string
		want  string
	}{
		"no auth":      {func(string) string { return subscribe("private-a", "", "") }, refusedChannel("private-a", needsAuth, 403)},
		"only the key": {func(string) string { return subscribe("private-a", "key:", "") }, refusedChannel("private-a", notSigned, 403)},
		"another channel": {func(s string) string { return subscribe("private-a", testApp.SignChannel(s, "private-b", ""), "") },
			refusedChannel("private-a", notSigned, 403)},
		"another socket": {func(string) string { return subscribe("private-a", testApp.SignChannel("1.2", "private-a", ""), "") },
			refusedChannel("private-a", notSigned, 403)},
		"another secret": {func(s string) string { return subscribe("private-a", stranger.SignChannel(s, "private-a", ""), "") },
			refusedChannel("private-a", notSigned, 403)},
		"another key": {func(s string) string { return subscribe("private-a", otherKey.SignChannel(s, "private-a", ""), "") },
			refusedChannel("private-a", notSigned, 403)},
		"upper case": {func(s string) string {
			return subscribe("private-a", strings.ToUpper(testApp.SignChannel(s, "private-a", "")), "")
		},
			refusedChannel("private-a", notSigned, 403)},
		"white space": {func(s string) string { return subscribe("private-a", testApp.SignChannel(s, "private-a", "")+" ", "") },
			refusedChannel("private-a", notSigned, 403)},
		"data that is not signed": {func(s string) string { return subscribe("private-a", testApp.SignChannel(s, "private-a", ""), "{}") },
			refusedChannel("private-a", notSigned, 403)},
		"a private channel for a presence channel": {func(s string) string {
			return subscribe("presence-a", testApp.SignChannel(s, "private-a", member), member)
		},
			refusedChannel("presence-a", notSigned, 403)},
		"another member": {func(s string) string {
			return subscribe("presence-a", testApp.SignChannel(s, "presence-a", member), strings.Replace(member, "7", "8", 1))
		}, refusedChannel("presence-a", notSigned, 403)},
		"a sign-in for a channel": {func(s string) string { return subscribe("presence-a", testApp.SignUser(s, member), member) },
			refusedChannel("presence-a", notSigned, 403)},
		"a presence channel without a member": {func(s string) string { return subscribe("presence-a", testApp.SignChannel(s, "presence-a", ""), "") },
			refusedChannel("presence-a", protocol.ReasonChannelData.String(), 403)},
		"a member without an id": {func(s string) string {
			return subscribe("presence-a", testApp.SignChannel(s, "presence-a", "{}"), "{}")
		},
			refusedChannel("presence-a", protocol.ReasonChannelData.String(), 403)},
		"the signature of a longer name for a shorter one": {func(s string) string { return subscribe("private-a", testApp.SignChannel(s, "private-a:b", ""), "b") },
			refusedChannel("private-a", notSigned, 403)},
		"an id in other letters": {func(s string) string {
			return subscribe("presence-a", testApp.SignChannel(s, "presence-a", `{"USER_ID":"9"}`), `{"USER_ID":"9"}`)
		}, refusedChannel("presence-a", protocol.ReasonChannelData.String(), 403)},
		"an id that is a fraction": {func(s string) string {
			return subscribe("presence-a", testApp.SignChannel(s, "presence-a", `{"user_id":1.5}`), `{"user_id":1.5}`)
		}, refusedChannel("presence-a", protocol.ReasonChannelData.String(), 403)},
		"a long id": {func(s string) string {
			return subscribe("presence-a", testApp.SignChannel(s, "presence-a", `{"user_id":"`+longID+`"}`), `{"user_id":"`+longID+`"}`)
		}, refusedChannel("presence-a", protocol.ReasonChannelData.String(), 403)},
		"long info": {func(s string) string {
			data := `{"user_id":"7","user_info":"` + longInfo + `"}`
			return subscribe("presence-a", testApp.SignChannel(s, "presence-a", data), data)
		}, refusedChannel("presence-a", protocol.ReasonChannelData.String(), 403)},
		"the channel of a user who has not signed in": {func(string) string { return subscribe("#server-to-user-7", "", "") },
			refusedChannel("#server-to-user-7", needsAuth, 403)},
		"a reserved name": {func(s string) string {
			return subscribe("sidecast:revoked", testApp.SignChannel(s, "sidecast:revoked", ""), "")
		},
			refusedChannel("sidecast:revoked", protocol.CodeBadChannel.Message(), 400)},
		"a name of Redis": {func(s string) string {
			return subscribe("__keyspace@0__:a", testApp.SignChannel(s, "__keyspace@0__:a", ""), "")
		},
			refusedChannel("__keyspace@0__:a", protocol.CodeBadChannel.Message(), 400)},
		"a long name": {func(s string) string { return subscribe(longName, testApp.SignChannel(s, longName, ""), "") },
			refusedChannel(longName, protocol.CodeBadChannel.Message(), 400)},
		"a name with a control character": {func(s string) string {
			return `{"event":"pusher:subscribe","data":{"channel":"private-\u0001","auth":"` + testApp.SignChannel(s, "private-\x01", "") + `"}}`
		}, `{"event":"pusher:subscription_error","channel":"private-\u0001","data":"{\"type\":\"AuthError\",\"error\":\"not a channel name, or a reserved one\",\"status\":400}"}`},
		"a sign-in without a signature": {func(string) string {
			return `{"event":"pusher:signin","data":{"auth":"","user_data":"{\"id\":\"7\"}"}}`
		},
			commandError(problemSignIn, "4009")},
		"the sign-in of another socket": {func(string) string {
			return fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%q,"user_data":"{\"id\":\"7\"}"}}`, testApp.SignUser("1.2", `{"id":"7"}`))
		}, commandError(problemSignIn, "4009")},
		"the sign-in of another user": {func(s string) string {
			return fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%q,"user_data":"{\"id\":\"8\"}"}}`, testApp.SignUser(s, `{"id":"7"}`))
		}, commandError(problemSignIn, "4009")},
		"a sign-in without an id": {func(s string) string {
			return fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%q,"user_data":"{}"}}`, testApp.SignUser(s, `{}`))
		}, commandError(problemSignIn, "4009")},
		"an event to a channel that it is not on": {func(string) string { return `{"event":"client-a","channel":"private-a","data":{}}` },
			commandError(problemClientEvent, "null")},
		"an event to a public channel": {func(string) string { return `{"event":"client-a","channel":"chat","data":{}}` },
			commandError(problemClientEvent, "null")},
		"an event of the application": {func(string) string { return `{"event":"shipped","channel":"chat","data":{}}` },
			commandError("unknown event: send pusher:subscribe, pusher:unsubscribe, pusher:ping, pusher:signin, or an event whose name begins with client-", "null")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPusherHub(t)
				c := h.pusherClient(protocol.Pusher{}, connectOptions{})
				c.handle("%s", tt.frame(c.socketID))
				c.wantFrames("the answer", tt.want)
				if n := h.stats.Subscriptions.Load(); n != 0 || len(h.published) > 0 {
					t.Errorf("%d subscriptions, and published %q", n, h.published)
				}
				if code := c.session.CloseCode(); code != protocol.CloseAbnormal {
					t.Errorf("closed with %v", code)
				}
			})
		})
	}
}

// A signature for one channel opens no other, although a name may contain the
// colon that separates the parts of the text that is signed.
func TestSignatureOfLongerName(t *testing.T) {
	const ann, eve = `{"user_id":"1"}`, `{"user_id":"2"}`
	for name, tt := range map[string]struct{ signed, member, channel, data string }{
		"the end of the name as data":                 {"private-orders:42", "", "private-orders", "42"},
		"the end of the name as a number":             {"private-orders:42:1", "", "private-orders", "42:1"},
		"a member in the name":                        {"presence-room:" + ann, eve, "presence-room", ann + ":" + eve},
		"a member in the name, and the room's number": {"presence-room:" + ann + ":7", eve, "presence-room", ann + ":7:" + eve},
		"a member in the name after white space":      {"presence-room: " + ann, eve, "presence-room", " " + ann + ":" + eve},
		"an object in the name of a private channel":  {"private-orders:{}", "", "private-orders", "{}"},
		"the end of the name of a public channel":     {"chat:42", "", "chat", "42"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPusherHub(t)
				c := h.pusherClient(protocol.Pusher{}, connectOptions{})
				c.handle(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q,"channel_data":%q}}`,
					tt.channel, testApp.SignChannel(c.socketID, tt.signed, tt.member), tt.data)
				c.wantFrames("the answer", refusedChannel(tt.channel, protocol.ReasonAuth.String(), 403))
			})
		})
	}
}

const (
	problemSignIn      = "auth does not sign this user_data for this socket, or user_data has no id"
	problemClientEvent = "events of clients need a subscription to a private or presence channel"
)

// The error names the settings that keep a channel closed.
func TestPusherChannelsThatAreNotRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t, func(cfg *relay.HubConfig) {
			cfg.Access.Channels, cfg.Access.Public = access.Patterns{access.MustPattern("chat*")}, access.Patterns{access.MustPattern("chat")}
		})
		c := h.pusherClient(protocol.Pusher{}, connectOptions{})
		c.join("private-a", "")
		c.wantFrames("a private channel", refusedChannel("private-a", protocol.ReasonNotRelayed.String(), 403))
		for _, channel := range []string{"orders", "chat:1"} {
			c.handle(`{"event":"pusher:subscribe","data":{"channel":%q}}`, channel)
			c.wantFrames("a public channel", refusedChannel(channel, protocol.ReasonNotPublic.String(), 403))
		}
	})
}

// The log names the setting that would open a channel, but no setting opens one
// that needs a signature.
func TestPusherRefusalsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := newPusherHub(t, func(cfg *relay.HubConfig) {
			cfg.Access.Public, cfg.Logger = nil, slog.New(slog.NewTextHandler(&log, nil))
		})
		c := h.pusherClient(protocol.Pusher{}, connectOptions{})
		for channel, named := range map[string]bool{"private-a": false, "chat": true} {
			log.Reset()
			c.handle(`{"event":"pusher:subscribe","data":{"channel":%q}}`, channel)
			if text := log.String(); !strings.Contains(text, "channel="+channel) || strings.Contains(text, "SIDECAST_PUBLIC_CHANNELS") != named {
				t.Errorf("%s: the log is %q", channel, text)
			}
		}
	})
}

// A client sends events to channels for which the application has signed it, and
// does not receive its own. The relay says who it is on presence channels, and
// the client can say neither that nor who does not receive the event.
func TestClientEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		a, b := h.pusherClient(protocol.Pusher{}, connectOptions{}), h.pusherClient(protocol.Pusher{}, connectOptions{})
		for _, c := range []*pusherClient{a, b} {
			c.join("private-a", "")
			c.join("private-encrypted-a", "")
		}
		a.join("presence-a", `{"user_id":1}`)
		b.join("presence-a", `{"user_id":2,"User_ID":3}`)
		a.receive()
		b.receive()
		a.handle(`{"event":"client-x","channel":"private-a","data":"text","socket":%q,"user_id":"9"}`, b.socketID)
		h.deliver()
		a.wantFrames("its own")
		b.wantFrames("on a private channel", `{"event":"client-x","channel":"private-a","data":"text"}`)
		a.handle(`{"event":"client-x","channel":"presence-a","data":{"a":[1]},"user_id":"9"}`)
		h.deliver()
		a.wantFrames("its own")
		b.wantFrames("on a presence channel", `{"event":"client-x","channel":"presence-a","data":"{\"a\":[1]}","user_id":"1"}`)
		a.handle(`{"event":"client-x","channel":"private-encrypted-a","data":{}}`)
		a.wantFrames("on an encrypted channel", commandError("clients cannot send events to encrypted channels", "null"))
		a.handle(`{"event":"pusher:unsubscribe","data":{"channel":"private-a"}}`)
		a.handle(`{"event":"client-x","channel":"private-a","data":{}}`)
		a.wantFrames("after it has left", commandError(problemClientEvent, "null"))
		if len(h.published) > 0 {
			t.Errorf("published %q", h.published)
		}
	})
}

// A client of sidecast.v1 publishes events, too. Only what the application has
// signed for it opens a private channel for its own events, and an application's
// events cannot be forged.
func TestClientEventsOfV1(t *testing.T) {
	for name, tt := range map[string]struct{ channel, data, echo, want string }{
		"an event to a private channel": {"private-a", `{"event":"client-x","data":{"a":1}}`, "false", `private-a {"event":"client-x","data":{"a":1},"socket":"OWN"}`},
		"with its own echo":             {"private-a", `{"event":"client-x","data":1}`, "true", `private-a {"event":"client-x","data":1,"socket":null}`},
		"a forged event":                {"chat", `{"event":"shipped","data":1,"socket":"1.2"}`, "true", `chat {"event":"client-message","data":"{\"event\":\"shipped\",\"data\":1,\"socket\":\"1.2\"}","socket":null}`},
		"text to a public channel":      {"chat", `hello`, "false", `chat {"event":"client-message","data":"hello","socket":"OWN"}`},
		"text to a private channel":     {"private-a", `hello`, "true", ``},
		"an event to a channel that only a signature for receiving opens": {"private-b", `{"event":"client-x","data":1}`, "true", ``},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPusherHub(t, func(cfg *relay.HubConfig) { cfg.Access.Secrets = channelSecrets })
				c := h.pusherClient(protocol.V1{}, connectOptions{})
				c.handle(`{"type":"subscribe","channel":"private-a","auth":%q}`, testApp.SignChannel(c.socketID, "private-a", ""))
				c.handle(`{"type":"subscribe","channel":"private-b","sig":%q}`, sign("private-b", "", time.Minute))
				synctest.Wait()
				c.want("answers", "subscribed false,subscribed false")
				c.handle(`{"type":"publish","channel":%q,"data":%q,"echo":%s}`, tt.channel, tt.data, tt.echo)
				got := strings.ReplaceAll(strings.Join(h.published, "\n"), c.socketID, "OWN")
				if got != tt.want {
					t.Errorf("published\n%s\nwant\n%s", got, tt.want)
				}
				if tt.want == "" {
					c.want("the answer", "error forbidden")
				}
			})
		})
	}
}

// A client can subscribe to as many channels as it may have at once, and send
// half as many events as other commands.
func TestPusherRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		c := h.pusherClient(protocol.Pusher{}, connectOptions{})
		var want []string
		for i := range 128 {
			channel := fmt.Sprint("chat-", i)
			c.handle(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":""}}`, channel)
			want = append(want, succeeded(channel))
		}
		c.wantFrames("the answers", want...)
		var refused []string
		for i := range 100 {
			channel := fmt.Sprint("more-", i)
			c.handle(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":""}}`, channel)
			text, status := protocol.CodeTooManyChannels.Message(), 400
			if i >= 50 {
				text, status = protocol.CodeRateLimited.Message(), 429
			}
			refused = append(refused, refusedChannel(channel, text, status))
		}
		c.wantFrames("too many, each with an answer", refused...)
		time.Sleep(time.Minute)
		c.handle(`{"event":"pusher:unsubscribe","data":{"channel":"chat-1"}}`)
		c.join("private-a", "")
		c.wantFrames("one more", succeeded("private-a"))
		for range 100 {
			c.handle(`{"event":"client-x","channel":"private-a","data":{}}`)
		}
		if n := len(h.published); n > (50+128)/2 {
			t.Errorf("%d events at once", n)
		}
		c.wantFrames("too many events", commandError("too many commands", "4301"))
		time.Sleep(time.Hour)
		h.published = nil
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			c.handle(`{"event":"client-x","channel":"private-a","data":{}}`)
		}
		if n := len(h.published); n != 100 {
			t.Errorf("%d events in ten seconds, want 100", n)
		}
	})
}

// Events that are too many are dropped: a page that sends one for each move of the
// mouse stays connected. One that sends much more does not.
func TestPusherDropsEvents(t *testing.T) {
	for perSecond, want := range map[int]protocol.CloseCode{60: protocol.CloseAbnormal, 200: protocol.ClosePolicy.Because(protocol.ReasonRate)} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPusherHub(t)
				c := h.pusherClient(protocol.Pusher{}, connectOptions{})
				c.join("private-a", "")
				for range 60 * perSecond {
					time.Sleep(time.Second / time.Duration(perSecond))
					c.handle(`{"event":"client-x","channel":"private-a","data":{}}`)
				}
				if code := c.session.CloseCode(); code != want {
					t.Errorf("closed with %v, want %v", code, want)
				}
			})
		})
	}
}

// pusher-js does not repeat a subscribe that failed. So a client that could not
// subscribe while Redis was unavailable connects again when it is back.
func TestPusherReturnsAfterOutage(t *testing.T) {
	for name, tt := range map[string]struct {
		durable bool
		channel string
		want    protocol.CloseCode
	}{
		"a presence channel": {false, "presence-a", protocol.CloseTryLater},
		"a stream":           {true, "private-cache-a", protocol.CloseTryLater},
		"another channel":    {false, "private-a", protocol.CloseAbnormal},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var presence *fakePresence
				h := newPusherHub(t, func(cfg *relay.HubConfig) {
					presence = cfg.Presence.(*fakePresence)
					if tt.durable {
						cfg.Access.Durable = access.Patterns{access.MustPattern("private-*")}
						cfg.Streams = func() stream.Store {
							return &storeConn{store: newPlainStore(), pass: func(context.Context, string, string) error { return stream.ErrUnavailable }}
						}
					}
				})
				c, v1 := h.pusherClient(protocol.Pusher{}, connectOptions{}), h.pusherClient(protocol.V1{}, connectOptions{})
				presence.unheard = true
				h.Offline()
				data := ""
				if access.KindOf(tt.channel).Presence {
					data = `{"user_id":1}`
				}
				c.join(tt.channel, data)
				v1.handle(`{"type":"subscribe","channel":%q,"presence":%v,"auth":%q,"channel_data":%q}`,
					tt.channel, data != "", testApp.SignChannel(v1.socketID, tt.channel, data), data)
				time.Sleep(time.Minute)
				if code := c.session.CloseCode(); code != protocol.CloseAbnormal {
					t.Errorf("closed during the outage with %v", code)
				}
				h.Online(2)
				time.Sleep(time.Minute)
				if code := c.session.CloseCode(); code != tt.want {
					t.Errorf("closed with %v, want %v", code, tt.want)
				}
				if code := v1.session.CloseCode(); code != protocol.CloseAbnormal {
					t.Errorf("a client of another protocol: closed with %v", code)
				}
			})
		})
	}
}

// The members of a presence channel are those whom the application has signed,
// with their info, whatever else the relay knows of the client.
func TestPusherPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		a, b := h.pusherClient(protocol.Pusher{}, connectOptions{}), h.pusherClient(protocol.Pusher{}, connectOptions{})
		a.join("presence-a", `{"user_id":1,"user_info":{"name":"Ann"}}`)
		a.wantFrames("the first member", `{"event":"pusher_internal:subscription_succeeded","channel":"presence-a",`+
			`"data":"{\"presence\":{\"count\":1,\"ids\":[\"1\"],\"hash\":{\"1\":{\"name\":\"Ann\"}}}}"}`)
		b.join("presence-a", `{"user_id":"2"}`)
		b.wantFrames("the second member", `{"event":"pusher_internal:subscription_succeeded","channel":"presence-a",`+
			`"data":"{\"presence\":{\"count\":2,\"ids\":[\"1\",\"2\"],\"hash\":{\"1\":{\"name\":\"Ann\"},\"2\":null}}}"}`)
		a.wantFrames("an arrival", `{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"2\",\"user_info\":null}"}`)
		c := h.pusherClient(protocol.V1{}, connectOptions{identity: &access.Identity{User: "other", Info: []byte(`{"no":1}`)}})
		data := `{"user_id":3,"user_info":[3]}`
		c.handle(`{"type":"subscribe","channel":"presence-a","presence":true,"auth":%q,"channel_data":%q}`,
			testApp.SignChannel(c.socketID, "presence-a", data), data)
		synctest.Wait()
		a.wantFrames("the arrival of a client of another protocol",
			`{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"3\",\"user_info\":[3]}"}`)
		c.leave()
		synctest.Wait()
		b.handle(`{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}`)
		synctest.Wait()
		a.wantFrames("departures",
			`{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"3\"}"}`,
			`{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"2\"}"}`)
		h.PresenceChanged("presence-a", roster.Update{Seq: 1000, Members: []byte(`[{"user":"9"}]`), Count: 1})
		a.wantFrames("all members", `{"event":"pusher_internal:subscription_succeeded","channel":"presence-a",`+
			`"data":"{\"presence\":{\"count\":1,\"ids\":[\"9\"],\"hash\":{\"9\":null}}}"}`)
		h.PresenceChanged("presence-a", roster.Update{Seq: 1001, Count: 5000})
		a.wantFrames("too many members for a list")
	})
}

// If the link to Redis was lost, each channel gets a notice.
func TestPusherGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		c := h.pusherClient(protocol.Pusher{}, connectOptions{})
		c.join("chat", "")
		c.join("private-a", "")
		c.join("left", "")
		c.handle(`{"event":"pusher:unsubscribe","data":{"channel":"left"}}`)
		synctest.Wait()
		c.receive()
		h.relink()
		gap := `{"event":"sidecast:gap","channel":"%s","data":"{\"reason\":\"redis\",\"spread\":6}"}`
		c.wantFrames("notices", `{"event":"sidecast:offline","data":"{\"reason\":\"redis\"}"}`, fmt.Sprintf(gap, "chat"), fmt.Sprintf(gap, "private-a"))
		h.Oversize([]byte("chat"))
		h.Flush()
		c.wantFrames("a message that was too large", `{"event":"sidecast:gap","channel":"chat","data":"{\"reason\":\"too_large\"}"}`)
	})
}

// A new subscriber of a cache channel first receives its last event, but not one
// that a client has sent.
func TestCacheChannel(t *testing.T) {
	const channel = "private-cache-a"
	event := func(name string) string {
		return fmt.Sprintf(`{"event":%q,"channel":%q,"data":"{\"n\":1}"}`, name, channel)
	}
	miss := fmt.Sprintf(`{"event":"pusher:cache_miss","channel":%q,"data":"{}"}`, channel)
	for name, tt := range map[string]struct {
		events  []string
		durable bool
		history int
		want    string
	}{
		"no event":                              {nil, false, 1 << 20, miss},
		"some events":                           {[]string{"a", "b", "c"}, false, 1 << 20, event("c")},
		"the last one is of a client":           {[]string{"a", "b", "client-c", "client-d"}, false, 1 << 20, event("b")},
		"all are of clients":                    {[]string{"client-a", "client-b"}, false, 1 << 20, miss},
		"no history":                            {[]string{"a"}, false, 0, miss},
		"a stream without entries":              {nil, true, 1 << 20, miss},
		"a stream":                              {[]string{"a", "b"}, true, 1 << 20, event("b")},
		"a stream whose last one is a client's": {[]string{"a", "client-b"}, true, 1 << 20, event("a")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPlainStore()
				h := newPusherHub(t, func(cfg *relay.HubConfig) {
					cfg.HistoryBytes = tt.history
					if tt.durable {
						cfg.Access.Durable = access.Patterns{access.MustPattern("private-*")}
						cfg.Streams = func() stream.Store { return &storeConn{store: s} }
					}
				})
				first := h.pusherClient(protocol.V1{}, connectOptions{}) // keeps the channel in the history
				first.handle(`{"type":"subscribe","channel":%q,"auth":%q}`, channel, testApp.SignChannel(first.socketID, channel, ""))
				synctest.Wait()
				for i, e := range tt.events {
					if tt.durable {
						s.add(channel, stream.ID{Ms: uint64(i + 1)}, []string{"data", fmt.Sprintf(`{"event":%q,"data":{"n":1}}`, e)}, "", 0)
						h.Nudge([]byte(channel), false)
						synctest.Wait()
					} else {
						h.send(channel, e, "")
					}
				}
				c := h.pusherClient(protocol.Pusher{}, connectOptions{})
				c.join(channel, "")
				c.wantFrames("the first frames", succeeded(channel), tt.want)
				if !tt.durable {
					h.send(channel, "client-x", "")
					h.send(channel, "next", "")
					c.wantFrames("later", event("client-x"), event("next"))
				}
			})
		})
	}
}

// A client that signs in is the user for whom the application has signed it, and
// can be disconnected as that.
func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		c := h.pusherClient(protocol.Pusher{}, connectOptions{})
		signIn := func(c *pusherClient, data string) {
			c.handle(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%q}}`, testApp.SignUser(c.socketID, data), data)
			synctest.Wait()
		}
		subscribe := func(user string) {
			c.handle(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-%s","auth":""}}`, user)
			synctest.Wait()
		}
		older := h.pusherClient(protocol.Pusher{}, connectOptions{})
		signIn(c, `{"id":"42","name":"Ann"}`)
		c.wantFrames("the answer", `{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"42\\\",\\\"name\\\":\\\"Ann\\\"}\"}"}`)
		subscribe("42")
		c.wantFrames("its own channel", succeeded("#server-to-user-42"))
		subscribe("43")
		c.wantFrames("another's channel", refusedChannel("#server-to-user-43", protocol.ReasonNoAuth.String(), 403))
		h.send("#server-to-user-42", "shipped", "")
		c.wantFrames("an event", shipped("#server-to-user-42"))
		signIn(c, `{"id":"43"}`)
		c.wantFrames("another user", commandError("signed in as another user: disconnect first", "4009"))
		signIn(c, `{"id":"42"}`)
		c.receive()
		time.Sleep(time.Second)
		h.Revoke([]access.Revocation{{Subject: access.Subject{Kind: access.SubjectUser, Name: "42"}, Ms: time.Now().UnixMilli()}})
		synctest.Wait()
		if list := c.receive(); len(list) != 1 || list[0].kind != "close" || list[0].closeCode != 4009 {
			t.Errorf("received %v", list)
		}
		signIn(older, `{"id":"42"}`)
		if list := older.receive(); len(list) != 1 || list[0].kind != "close" || list[0].closeCode != 4100 {
			t.Errorf("a sign-in on a connection that is older: received %v, want that the client connects again", list)
		}
		time.Sleep(time.Second)
		again := h.pusherClient(protocol.Pusher{}, connectOptions{})
		signIn(again, `{"id":"42"}`)
		again.wantFrames("a sign-in later", `{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"42\\\"}\"}"}`)
	})
}

// If the application has allowed a channel for a time only, the client connects
// again after it.
func TestPusherPermissionExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPusherHub(t)
		c := h.pusherClient(protocol.Pusher{}, connectOptions{ask: func(_ context.Context, _, channel string) (time.Time, protocol.Code) {
			if channel == "private-a" {
				return time.Now().Add(time.Minute), protocol.CodeOK
			}
			return time.Time{}, protocol.CodeForbidden
		}})
		for _, channel := range []string{"private-a", "private-b"} {
			c.handle(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":""}}`, channel)
		}
		c.wantFrames("the answers", succeeded("private-a"), refusedChannel("private-b", protocol.ReasonNoAuth.String(), 403))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if list := c.receive(); len(list) != 1 || list[0].kind != "close" || list[0].closeCode != 4200 {
			t.Errorf("received %v", list)
		}
	})
}
