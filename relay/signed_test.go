package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

var channelSecrets = access.NewChannelSecrets("a secret of thirty-two bytes, or more")

// sign returns a signature that expires after a time.
func sign(channel, user string, after time.Duration) string {
	return channelSecrets.Sign(channel, user, time.Now().Add(after))
}

// newSignedHub returns a running hub on which all channels need a signature, but
// those that begin with public.
func newSignedHub(t *testing.T) *testHub {
	h := newTestHub(t, relay.HubConfig{
		Shards: 1, PingInterval: time.Hour, HistoryBytes: 1 << 20, HistoryAge: time.Hour, CommandRate: 1000, CommandBurst: 1000,
		Access: &access.Rules{
			Names: access.NewNames("", ""), Secrets: channelSecrets,
			Channels: access.Patterns{access.MustPattern("order:*"), access.MustPattern("public*")},
			Public:   access.Patterns{access.MustPattern("public*")},
		},
		Verify: func(_ context.Context, token string) (*access.Identity, protocol.Code) {
			return &access.Identity{User: token}, protocol.CodeOK
		},
	})
	t.Cleanup(h.start())
	h.Online(1)
	h.receiveMarker()
	return h
}

// signedClient returns a client of a user, or an anonymous one if user is empty,
// that presents signatures before its session begins. If the hub does not admit
// it, the code says why.
func (h *testHub) signedClient(user string, p protocol.Protocol, channels []string, signatures map[string]access.Signature) (
	c *testClient, code protocol.CloseCode,
) {
	c = h.connect(connectOptions{room: outboxtest.Unlimited, protocol: p, channels: channels, admit: func(client *relay.Client) {
		if user != "" {
			client.Identity = &access.Identity{User: user}
		}
		client.Signatures = signatures
		code = h.Admit(h.t.Context(), client, channels)
	}})
	h.t.Cleanup(c.leave)
	return c, code
}

// present subscribes to a channel with a signature.
func (c *testClient) present(channel, sig, user, more string) {
	c.handle(`{"type":"subscribe","channels":[{"channel":%q,"sig":%q,"user":%q%s}]}`, channel, sig, user, more)
	synctest.Wait()
}

// A signature opens a channel until it expires. The client is notified, nothing
// of the channel follows, its other channels stay, and with a new signature it
// resumes.
func TestSignedChannelEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSignedHub(t)
		c := h.subscriber("public", "")
		c.present("order:7", sign("order:7", "", 10*time.Second), "", "")
		h.publish("order:7", 1, 1)
		cursor := c.want("with a signature", "subscribed false,subscribed false,1")
		c.present("order:8", "", "", "")
		c.want("without a signature", "error forbidden")

		time.Sleep(9 * time.Second)
		h.publish("order:7", 2, 2)
		c.want("before the end", "2")
		time.Sleep(2 * time.Second)
		h.publish("order:7", 3, 3)
		h.publish("public", 4, 4)
		c.want("after the end", "unsubscribed,4")
		if last := c.events[len(c.events)-2]; last.reason != "expired" || last.channel != "order:7" {
			t.Errorf("the reason is %q on %q", last.reason, last.channel)
		}
		c.present("order:7", "", "", "")
		c.want("again without a signature", "error forbidden")
		c.handle(`{"type":"unsubscribe","channel":"order:7"}`)
		c.want("unsubscribe after the end", "error not_subscribed")

		c.present("order:7", sign("order:7", "", time.Minute), "", fmt.Sprintf(`,"after":%q`, cursor))
		h.publish("order:7", 5, 5)
		c.want("resumed with another signature", "subscribed true,2,3,5")
		c.leave()
		h.checkEmpty()
	})
}

// Clients whose protocol has no event for the end of a subscription are
// disconnected, so that they connect again with a new signature.
func TestSignedChannelEndsSession(t *testing.T) {
	for _, p := range []protocol.Protocol{protocol.Raw{}, protocol.SSE{}} {
		t.Run(p.ID().String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newSignedHub(t)
				c, code := h.signedClient("", p, []string{"public", "order:7"}, map[string]access.Signature{
					"order:7": {Sig: sign("order:7", "", 10*time.Second)},
				})
				if code != 0 {
					t.Fatalf("rejected with %v", code)
				}
				time.Sleep(9 * time.Second)
				if code := c.session.CloseCode(); code != protocol.CloseAbnormal {
					t.Errorf("closed with %v before the end", code)
				}
				time.Sleep(2 * time.Second)
				if code := c.session.CloseCode(); code != protocol.CloseUnauthorized.Because(protocol.ReasonSignatureOld) {
					t.Errorf("closed with %v", code)
				}
				c.leave()
				h.checkEmpty()
			})
		})
	}
}

// A signature opens exactly the channel that was signed, for clients that present
// it in a command and for those that present it in their URL.
func TestSignatureRules(t *testing.T) {
	const soon = time.Minute
	for name, tt := range map[string]struct {
		client                string // the user who is logged in
		channel, signed, user string // the channel that is asked for, and what was signed
		presented             string // the user in the request
		after                 time.Duration
		want                  protocol.Code
		why                   protocol.CloseReason
	}{
		"for every client, anonymous":             {"", "order:7", "order:7", "", "", soon, protocol.CodeOK, 0},
		"for every client, logged in":             {"42", "order:7", "order:7", "", "", soon, protocol.CodeOK, 0},
		"for a user, anonymous":                   {"", "order:7", "order:7", "42", "42", soon, protocol.CodeOK, 0},
		"for a user, who is logged in":            {"42", "order:7", "order:7", "42", "42", soon, protocol.CodeOK, 0},
		"for another user":                        {"43", "order:7", "order:7", "42", "42", soon, protocol.CodeForbidden, protocol.ReasonSignatureUser},
		"for a user who is not named":             {"42", "order:7", "order:7", "42", "", soon, protocol.CodeForbidden, protocol.ReasonSignature},
		"for every client, with a user":           {"42", "order:7", "order:7", "", "42", soon, protocol.CodeForbidden, protocol.ReasonSignature},
		"for another channel":                     {"", "order:8", "order:7", "", "", soon, protocol.CodeForbidden, protocol.ReasonSignature},
		"for a pattern":                           {"", "order:8", "order:*", "", "", soon, protocol.CodeForbidden, protocol.ReasonSignature},
		"a name with a star, which is no pattern": {"", "order:*", "order:*", "", "", soon, protocol.CodeOK, 0},
		"expired":                                 {"", "order:7", "order:7", "", "", 0, protocol.CodeUnauthorized, protocol.ReasonSignatureOld},
		"a second before it expires":              {"", "order:7", "order:7", "", "", time.Second, protocol.CodeOK, 0},
		"expired, and for another user":           {"43", "order:7", "order:7", "42", "42", 0, protocol.CodeForbidden, protocol.ReasonSignatureUser},
		"a channel that is not relayed":           {"", "other", "other", "", "", soon, protocol.CodeForbidden, 0},
		"a reserved name":                         {"", "sidecast:control", "sidecast:control", "", "", soon, protocol.CodeBadChannel, 0},
		"a public channel, but a wrong signature": {"", "public", "order:7", "", "", soon, protocol.CodeForbidden, protocol.ReasonSignature},
		"a public channel, expired":               {"", "public", "public", "", "", 0, protocol.CodeUnauthorized, protocol.ReasonSignatureOld},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newSignedHub(t)
				sig := sign(tt.signed, tt.user, tt.after)
				c, _ := h.signedClient(tt.client, nil, nil, nil)
				c.present(tt.channel, sig, tt.presented, "")
				want := "error " + tt.want.String()
				if tt.want == protocol.CodeOK {
					want = "subscribed false"
				}
				c.want("in a command", want)
				if payload := string(c.events[len(c.events)-1].payload); !strings.Contains(payload, tt.why.String()) {
					t.Errorf("answered %s, without %q", payload, tt.why)
				}
				raw, code := h.signedClient(tt.client, protocol.Raw{}, []string{tt.channel}, map[string]access.Signature{
					tt.channel: {Sig: sig, User: tt.presented},
				})
				_ = raw
				switch {
				case tt.want == protocol.CodeOK && code != 0,
					tt.want == protocol.CodeUnauthorized && code.Plain() != protocol.CloseUnauthorized,
					(tt.want == protocol.CodeForbidden || tt.want == protocol.CodeBadChannel) && code.Plain() != protocol.CloseForbidden,
					tt.why != 0 && code != code.Plain().Because(tt.why):
					t.Errorf("in the URL: %v", code)
				}
			})
		})
	}
}

// A signature lets a client receive a channel, and not publish to it.
func TestSignatureDoesNotPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSignedHub(t)
		c, _ := h.signedClient("42", nil, nil, nil)
		c.present("order:7", sign("order:7", "42", time.Minute), "42", "")
		c.handle(`{"type":"publish","channel":"order:7","data":"x"}`)
		c.want("publish", "subscribed false,error forbidden")
	})
}

// A relay without a secret ignores signatures.
func TestSignaturesAreOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 0, nil)
		c := h.client(outboxtest.Unlimited)
		c.present("order:7", "nonsense", "42", "")
		c.want("a public channel", "subscribed false")
		c.leave()
		h.checkEmpty()
	})
}

// A second signature lets the subscription go on without an interruption, but
// never ends it earlier, and does not change its user.
func TestSignatureIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSignedHub(t)
		c, _ := h.signedClient("", nil, nil, nil)
		c.present("order:7", sign("order:7", "42", 10*time.Second), "42", "")
		c.present("order:7", sign("order:7", "42", 30*time.Second), "42", "")
		c.present("order:7", sign("order:7", "42", 5*time.Second), "42", "")
		c.present("order:7", sign("order:7", "43", time.Hour), "43", "")
		c.want("at first", "subscribed false,subscribed true,subscribed true,error bad_request")
		time.Sleep(28 * time.Second)
		h.publish("order:7", 1, 1)
		c.present("order:7", "", "", "")
		c.want("before the end of the longest", "1,subscribed true")
		time.Sleep(3 * time.Second)
		c.want("after it", "unsubscribed")
		c.present("order:7", "", "", "")
		c.want("afterwards", "error forbidden")
		c.leave()
		h.checkEmpty()
	})
}

// A client that logs in as another user than the signed one loses the channel,
// but keeps one that was signed for every client.
func TestSignatureAndLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSignedHub(t)
		c, _ := h.signedClient("", nil, nil, nil)
		c.present("order:1", sign("order:1", "42", time.Minute), "42", "")
		c.present("order:2", sign("order:2", "43", time.Minute), "43", "")
		c.present("order:3", sign("order:3", "", time.Minute), "", "")
		c.handle(`{"type":"auth","token":"43"}`)
		c.want("login as 43", "subscribed false,subscribed false,subscribed false,unsubscribed")
		if last := c.events[len(c.events)-1]; last.channel != "order:1" || last.reason != "revoked" {
			t.Errorf("unsubscribed from %q because %q", last.channel, last.reason)
		}
		c.leave()
		h.checkEmpty()
	})
}

// A signature that expires while the answer to its subscribe waits gets an
// error, and no subscription.
func TestSignatureExpiresWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSignedHub(t)
		release := make(chan struct{})
		h2 := newTestHub(t, relay.HubConfig{
			Shards: 1, PingInterval: time.Hour, HistoryBytes: 1 << 20, HistoryAge: time.Hour,
			Access: &access.Rules{Names: access.NewNames("", ""), Secrets: channelSecrets, Channels: access.Patterns{access.MustPattern("*")}},
			CatchUp: func(ctx context.Context) error {
				select {
				case <-release:
				case <-ctx.Done():
				}
				return nil
			},
		})
		t.Cleanup(h2.start())
		h2.Online(1)
		h2.receiveMarker()
		h.receiveMarker() // which the other hub does not know
		cursor := h.newSignedCursor()
		c := h2.client(outboxtest.Unlimited)
		c.present("order:7", sign("order:7", "", 3*time.Second), "", fmt.Sprintf(`,"after":%q`, cursor))
		c.want("while it waits", "")
		time.Sleep(4 * time.Second)
		c.want("at the end", "error unauthorized")
		close(release)
		synctest.Wait()
		h2.publish("order:7", 1, 1)
		c.want("afterwards", "")
		c.leave()
		h2.checkEmpty()
	})
}

// newSignedCursor returns the cursor of a hub that no other hub knows.
func (h *testHub) newSignedCursor() string {
	c := h.client(outboxtest.Unlimited)
	c.present("order:7", sign("order:7", "", time.Minute), "", "")
	return c.want("a new client", "subscribed false")
}

// However clients join, leave, renew and expire, each subscription ends when its
// signature does, and nothing is left.
func TestSignedRandomly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSignedHub(t)
		random := rand.New(rand.NewPCG(newSeed(t), 0))
		type key struct {
			client  int
			channel string
		}
		ends := make(map[key]time.Time)
		clients := make([]*testClient, 20)
		for i := range clients {
			clients[i] = h.client(outboxtest.Unlimited)
		}
		for range 3000 {
			i, channel := random.IntN(len(clients)), fmt.Sprint("order:", random.IntN(8))
			switch k := (key{i, channel}); random.IntN(8) {
			case 0:
				clients[i].handle(`{"type":"unsubscribe","channel":%q}`, channel)
				delete(ends, k)
			case 1:
				clients[i].leave()
				clients[i] = h.client(outboxtest.Unlimited)
				for old := range ends {
					if old.client == i {
						delete(ends, old)
					}
				}
			case 2, 3:
				time.Sleep(time.Duration(random.IntN(3)) * time.Second)
			default:
				until := time.Now().Add(time.Duration(1+random.IntN(20)) * time.Second)
				clients[i].present(channel, channelSecrets.Sign(channel, "", until), "", "")
				if until.After(ends[k]) {
					ends[k] = until
				}
			}
		}
		synctest.Wait()
		least, most := 0, 0 // the relay looks once a second
		for _, end := range ends {
			if end.After(time.Now().Add(2 * time.Second)) {
				least++
			}
			if end.After(time.Now().Add(-2 * time.Second)) {
				most++
			}
		}
		if n := h.Signed(); n < least || n > most {
			t.Errorf("%d subscriptions are signed, want %d to %d", n, least, most)
		}
		time.Sleep(25 * time.Second)
		if n := h.Signed(); n != 0 || h.stats.Subscriptions.Load() != 0 {
			t.Errorf("%d signed subscriptions are left, %d subscriptions in all", n, h.stats.Subscriptions.Load())
		}
		for _, c := range clients {
			c.leave()
		}
		h.checkEmpty()
	})
}
