package ws

import (
	"fmt"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest"
)

// v1Transcripts has the conversations of one client, line by line: > is a
// command of the client, < a message of the relay, ~ one of two messages of the
// relay in any order, ! a message that the application publishes, as "channel
// payload", and x the close code. The order of a published message and of its
// `ok` is open, because a shard sends the one and the session the other.
var v1Transcripts = []struct {
	name, lines string
}{
	{"subscribe, receive, unsubscribe", `
		> {"type":"subscribe","channels":[{"channel":"a"},{"channel":"b"}],"ref":1}
		< {"type":"subscribed","channel":"a","recovered":false,"ref":1}
		< {"type":"subscribed","channel":"b","recovered":false,"ref":1}
		! a one
		< {"type":"message","channel":"a","data":"one"}
		! b two
		< {"type":"message","channel":"b","data":"two"}
		> {"type":"unsubscribe","channel":"a","ref":"r"}
		< {"type":"unsubscribed","channel":"a","ref":"r"}
		! a three
		! b four
		< {"type":"message","channel":"b","data":"four"}`},
	{"a second subscribe is answered, and rejected if it has a cursor", `
		> {"type":"subscribe","channels":[{"channel":"a","after":"x","at":"y"}]}
		< {"type":"subscribed","channel":"a","recovered":false,"spread":6}
		> {"type":"subscribe","channels":[{"channel":"a"}]}
		< {"type":"subscribed","channel":"a","recovered":true}
		> {"type":"subscribe","channels":[{"channel":"a","after":"x"}],"ref":7}
		< {"type":"error","code":"bad_request","message":"already subscribed: unsubscribe before a subscribe with after, at, since or last","channel":"a","ref":7}
		! a once
		< {"type":"message","channel":"a","data":"once"}`},
	{"a subscribe in short", `
		> {"type":"subscribe","channel":"a","ref":1}
		< {"type":"subscribed","channel":"a","recovered":false,"ref":1}
		> {"type":"subscribe","channels":["b",{"channel":"a1"}]}
		< {"type":"subscribed","channel":"b","recovered":false}
		< {"type":"subscribed","channel":"a1","recovered":false}
		! b two
		< {"type":"message","channel":"b","data":"two"}
		> {"type":"subscribe","channels":["c,a"]}
		< {"type":"error","code":"forbidden","message":"a comma does not separate channels: name each one on its own, like ?channel=a&channel=b","channel":"c,a"}
		> {"type":"publish","channel":"c*","data":"x"}
		< {"type":"error","code":"forbidden","message":"a channel name is not a pattern: name each channel","channel":"c*"}`},
	{"publish is answered after Redis has answered, and only with a ref", `
		> {"type":"subscribe","channels":[{"channel":"a"}]}
		< {"type":"subscribed","channel":"a","recovered":false}
		> {"type":"publish","channel":"a","data":"hi","ref":2}
		~ {"type":"message","channel":"a","data":"hi"}
		~ {"type":"ok","ref":2}
		> {"type":"publish","channel":"a","data":""}
		< {"type":"message","channel":"a","data":""}
		> {"type":"publish","channel":"a","base64":"AP8="}
		< {"type":"message","channel":"a","base64":"AP8="}`},
	{"publish without echo", `
		> {"type":"subscribe","channels":[{"channel":"a"}]}
		< {"type":"subscribed","channel":"a","recovered":false}
		> {"type":"publish","channel":"a","data":"mine","echo":false,"ref":3}
		< {"type":"ok","ref":3}
		! a mine
		< {"type":"message","channel":"a","data":"mine"}
		> {"type":"publish","channel":"a","data":"loud","echo":true}
		< {"type":"message","channel":"a","data":"loud"}`},
	{"ping", `
		> {"type":"ping","ref":"x"}
		< {"type":"pong","ref":"x"}
		> {"type":"ping"}
		< {"type":"pong"}`},
	{"unknown and invalid commands are answered and the session continues", `
		> {"type":"dance","ref":1}
		< {"type":"error","code":"unknown_type","message":"unknown type: send subscribe, unsubscribe, publish, auth or ping","ref":1}
		> {"type":"auth","token":"x"}
		< {"type":"error","code":"unknown_type","message":"this relay accepts no tokens: set SIDECAST_JWT_SECRET, SIDECAST_JWT_PUBLIC_KEY or SIDECAST_JWT_JWKS_URL"}
		> {}
		< {"type":"error","code":"unknown_type","message":"type is missing"}
		> {"type":"subscribe"}
		< {"type":"error","code":"bad_request","message":"channels is missing: send a list, like [{\"channel\":\"NAME\"}]"}
		> {"type":"subscribe","channels":7}
		< {"type":"error","code":"bad_request","message":"channels must be a list, like [{\"channel\":\"NAME\"}]"}
		> {"type":"publish","channel":"a"}
		< {"type":"error","code":"bad_request","message":"data is missing","channel":"a"}
		> {"type":"publish","channel":"a","data":{"text":"hi"}}
		< {"type":"error","code":"bad_request","message":"data must be a string: use JSON.stringify for other values","channel":"a"}
		> {"type":"publish","channel":"a","data":"x","base64":"eA=="}
		< {"type":"error","code":"bad_request","message":"data and base64: send only one of them","channel":"a"}
		> {"type":"publish","data":"x"}
		< {"type":"error","code":"bad_request","message":"channel is missing"}
		> {"type":"unsubscribe","channel":"never"}
		< {"type":"error","code":"not_subscribed","message":"the session has not joined this channel","channel":"never"}
		> {"type":"ping","ref":{"a":1}}
		< {"type":"error","code":"bad_request","message":"ref must be a number or a string of at most 64 bytes"}
		> {"type":"ping","ref":null,"more":[1,2,{}]}
		< {"type":"pong"}`},
	{"invalid, reserved and forbidden names", `
		> {"type":"subscribe","channels":[{"channel":"sidecast:mark"},{"channel":"__keyspace@0__:x"},{"channel":""}]}
		> {"type":"subscribe","channels":[{"channel":"a\u0000"},{"channel":"closed"},{"channel":"*"}]}
		< {"type":"error","code":"bad_channel","message":"not a channel name, or a reserved one","channel":"sidecast:mark"}
		< {"type":"error","code":"bad_channel","message":"not a channel name, or a reserved one","channel":"__keyspace@0__:x"}
		< {"type":"error","code":"bad_channel","message":"not a channel name, or a reserved one"}
		< {"type":"error","code":"bad_channel","message":"not a channel name, or a reserved one","channel":"a\u0000"}
		< {"type":"error","code":"forbidden","message":"this is not open to you","channel":"closed"}
		< {"type":"error","code":"forbidden","message":"a channel name is not a pattern: name each channel","channel":"*"}
		> {"type":"publish","channel":"sidecast:control","data":"x"}
		< {"type":"error","code":"bad_channel","message":"not a channel name, or a reserved one","channel":"sidecast:control"}
		> {"type":"publish","channel":"closed","data":"x"}
		< {"type":"error","code":"forbidden","message":"this is not open to you","channel":"closed"}`},
	{"more channels than a session may have", `
		> {"type":"subscribe","channels":[{"channel":"a"},{"channel":"a1"}]}
		< {"type":"subscribed","channel":"a","recovered":false}
		< {"type":"subscribed","channel":"a1","recovered":false}
		> {"type":"subscribe","channels":[{"channel":"a2"},{"channel":"a3"}]}
		< {"type":"subscribed","channel":"a2","recovered":false}
		< {"type":"error","code":"too_many_channels","message":"more channels than a session may have","channel":"a3"}
		> {"type":"unsubscribe","channel":"a"}
		< {"type":"unsubscribed","channel":"a"}
		> {"type":"subscribe","channels":[{"channel":"a3"}]}
		< {"type":"subscribed","channel":"a3","recovered":false}`},
	{"a subscribe with more entries than a session may have channels gets one answer", `
		> {"type":"subscribe","channels":[{},{},{},{}],"ref":1}
		< {"type":"error","code":"too_many_channels","message":"more channels than a session may have","ref":1}
		> {"type":"subscribe","channels":[{"channel":"a"},{"channel":"a"},{"channel":"a"},{"channel":"a"}]}
		< {"type":"error","code":"too_many_channels","message":"more channels than a session may have"}
		> {"type":"subscribe","channels":[{"channel":"a"},{"channel":"a"},{"channel":"a"}]}
		< {"type":"subscribed","channel":"a","recovered":false}
		< {"type":"subscribed","channel":"a","recovered":true}
		< {"type":"subscribed","channel":"a","recovered":true}`},
	{"text that is not JSON closes the session", `
		> {"type":"ping"
		x 1007`},
	{"JSON that is not an object closes the session", `
		> [1]
		x 1007`},
}

func TestV1(t *testing.T) {
	open, err := access.ParsePatterns([]string{"a*", "b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range v1Transcripts {
		t.Run(test.name, func(t *testing.T) {
			r := newTestRelay(t, func(c *relayConfig) {
				c.hub.MaxChannels = 3
				c.hub.Access.Public, c.hub.Access.Publish = open, open
			})
			p := r.dialV1()
			p.t = t
			var anyOrder []string
			for line := range strings.SplitSeq(strings.TrimSpace(test.lines), "\n") {
				kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch kind {
				case ">":
					p.write(text(rest))
				case "<":
					p.want(1, rest)
				case "~":
					if anyOrder = append(anyOrder, rest); len(anyOrder) == 2 {
						p.wantAnyOrder(anyOrder)
						anyOrder = nil
					}
				case "!":
					channel, payload, _ := strings.Cut(rest, " ")
					r.publish(channel, payload)
				case "x":
					var code protocol.CloseCode
					if _, err := fmt.Sscan(rest, &code); err != nil {
						t.Fatal(err)
					}
					p.wantClose(code)
				}
			}
		})
	}
}

func TestV1Binary(t *testing.T) {
	r := newTestRelay(t)
	p := r.dialV1()
	p.write(frame(0x82, `{"type":"ping"}`))
	p.wantClose(protocol.CloseBadData)
}

func TestV1TooLarge(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.hub.MaxPayload = 10 })
	p := r.dialV1()
	p.write(text(`{"type":"publish","channel":"a","data":"12345678901","ref":1}`))
	p.wantText(`"code":"too_large"`)
}

func TestV1ByteForByte(t *testing.T) {
	r := newTestRelay(t)
	c, err := (&relaytest.Dialer{URL: "ws://" + r.addr + "/"}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Drop)
	if err := c.Subscribe(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, test := range payloads {
		last := c.Last()
		r.publish("a", test.payload)
		e, err := c.AwaitAfter(t.Context(), last, relaytest.Is(relaytest.KindMessage))
		if err != nil || e.Data != test.payload || e.Binary != (test.op == 2) {
			t.Errorf("%s: delivered as %d bytes, binary %v (%v)", test.name, len(e.Data), e.Binary, err)
		}
	}
}

// If Redis is down, a client receives `offline` once, and one gap when Redis is
// back, before the next message.
func TestV1Outage(t *testing.T) {
	r := newTestRelay(t)
	p := r.dialV1()
	p.write(text(`{"type":"subscribe","channels":[{"channel":"a"}]}`))
	p.wantText(`"subscribed"`)
	r.hub.Offline()
	p.want(1, `{"type":"offline","reason":"redis"}`)
	r.setRedisError(errRedisDown)
	p.write(text(`{"type":"publish","channel":"a","data":"x","ref":1}`))
	p.want(1, `{"type":"error","code":"unavailable","message":"this cannot be done now; try again later","channel":"a","ref":1}`)
	r.setRedisError(nil)

	late := r.dial("/", v1Header)
	if got := late.wantText(`{"type":"welcome"`); !strings.HasSuffix(got, `,"offline":true}`) {
		t.Errorf("a client that connects during the outage receives %s", got)
	}
	r.hub.Online(1)
	r.publish("a", "first")
	p.want(1, `{"type":"gap","reason":"redis","spread":12}`)
	p.want(1, `{"type":"message","channel":"a","data":"first"}`)
	late.want(1, `{"type":"gap","reason":"redis","spread":12}`)

	r.hub.Oversize([]byte("a"))
	r.publish("a", "next")
	p.want(1, `{"type":"gap","channel":"a","reason":"too_large"}`)
	p.want(1, `{"type":"message","channel":"a","data":"next"}`)
}

func TestV1RateLimit(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.hub.CommandBurst = 5; c.hub.CommandRate = 0.001 })
	p := r.dialV1()
	for range 106 {
		p.write(text(`{"type":"ping"}`))
	}
	for range 5 {
		p.want(1, `{"type":"pong"}`)
	}
	p.want(1, `{"type":"error","code":"rate_limited","message":"too many commands"}`)
	p.wantClose(protocol.ClosePolicy)
}

// After `unsubscribed`, a client receives no message of the channel, even if
// messages are published continuously.
func TestNothingFollowsUnsubscribed(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.hub.CommandRate = 0 })
	p := r.dialV1()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = r.publishToRedis(t.Context(), "a", []byte("x"))
			}
		}
	}()
	for range 200 {
		p.write(text(`{"type":"subscribe","channels":[{"channel":"a"}]}`))
		p.wantText(`"subscribed"`)
		p.write(text(`{"type":"unsubscribe","channel":"a"}`))
		for {
			_, got, err := p.read()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(got, `"unsubscribed"`) {
				break
			}
		}
		p.write(text(`{"type":"ping"}`))
		p.want(1, `{"type":"pong"}`)
	}
	close(stop)
	<-stopped
}
