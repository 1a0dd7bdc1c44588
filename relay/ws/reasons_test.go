package ws

import (
	"net/http"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// The log names the channel that a client may not use, and the setting that
// would allow it.
func TestRefusedChannelsAreLogged(t *testing.T) {
	only := func(pattern string) access.Patterns { return access.Patterns{access.MustPattern(pattern)} }
	r := newTestRelay(t, func(c *relayConfig) {
		c.hub.Access.Channels, c.hub.Access.Public, c.hub.Access.Publish = only("chat*"), only("chat1"), only("chat1")
	})
	r.dial("/?channel=chat2").wantClose(protocol.CloseForbidden)
	raw := r.dial("/?channel=chat1&publish=chat3")
	raw.write(text("secret payload"))
	raw.wantClose(protocol.ClosePolicy)
	_ = raw.conn.Close()
	v1 := r.dialV1()
	v1.write(text(`{"type":"subscribe","channels":[{"channel":"order"},{"channel":"sidecast:mark"},{"channel":"` + strings.Repeat("x", 1000) + `"},{}]}`))
	for range 4 {
		v1.wantText(`{"type":"error"`)
	}
	log := r.log.String()
	for _, want := range []string{
		`msg="a client may not receive this channel" channel=chat2 code=forbidden setting=SIDECAST_PUBLIC_CHANNELS`,
		`msg="a client may not publish to this channel" channel=chat3 code=forbidden setting=SIDECAST_PUBLISH_CHANNELS`,
		`msg="a client may not receive this channel" channel=order code=forbidden setting=SIDECAST_CHANNELS`,
		`msg="a client may not receive this channel" channel=sidecast:mark code=bad_channel` + "\n",
		`channel=` + strings.Repeat("x", 200) + ` code=bad_channel` + "\n",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not contain %q", want)
		}
	}
	v1.write(text(`{"type":"subscribe","channels":[` + strings.Repeat(`{"channel":"order"},`, 127) + `{"channel":"order"}]}`))
	for range 128 {
		v1.wantText(`{"type":"error"`)
	}
	log = r.log.String()
	if lines := strings.Count(log, "a client may not"); lines > 64 || strings.Contains(log, "secret payload") {
		t.Errorf("%d lines in the log:\n%s", lines, log)
	}
}

// A client that is refused learns from the close reason what to do. The reason
// has no name, and the log has no more than the reason.
func TestCloseReasons(t *testing.T) {
	open := access.Patterns{access.MustPattern("chat*"), access.MustPattern("user:*")}
	user := &access.Identity{User: "42", Own: []string{"user:42"}}
	for _, test := range []struct {
		why, target, send string
		id                *access.Identity
		login             bool
		want              protocol.CloseCode
		text              string
	}{
		{"no channel", "/", "", nil, false, protocol.ClosePolicy.Because(protocol.ReasonNoChannel),
			"no channel named: add ?channel=NAME or set SIDECAST_DEFAULT_CHANNELS"},
		{"a channel that needs a login", "/?channel=other", "", nil, true, protocol.CloseUnauthorized.Because(protocol.ReasonLogin),
			"receiving this channel needs a login"},
		{"only the user's own channels", "/", "hi", user, false, protocol.ClosePolicy.Because(protocol.ReasonPublishNone),
			"no channel to publish to: add ?publish=NAME"},
		{"several channels", "/?channel=chat1&channel=chat2", "hi", nil, false, protocol.ClosePolicy.Because(protocol.ReasonPublishSeveral),
			"several channels: add &publish=NAME"},
		{"no right to publish", "/?channel=chat1", "hi", nil, false, protocol.ClosePolicy.Because(protocol.ReasonPublish),
			"publishing to this channel is not allowed"},
		{"no right to publish, and a login", "/?channel=chat1", "hi", nil, true, protocol.ClosePolicy.Because(protocol.ReasonPublish),
			"publishing to this channel is not allowed"},
		{"a message that is too large for a frame", "/?channel=chat1", strings.Repeat("x", 16<<10+1), nil, false, protocol.CloseTooBig,
			"the message is larger than SIDECAST_MAX_INBOUND_BYTES allows"},
	} {
		t.Run(test.why, func(t *testing.T) {
			r := newTestRelay(t, func(c *relayConfig) {
				c.ws.DefaultChannels = nil
				c.hub.Access.Public, c.hub.Access.Publish, c.hub.Access.Login = open, nil, test.login
				c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) {
					return access.Principal{Identity: test.id}, 0
				}
			})
			p := r.dial(test.target)
			if test.send != "" {
				p.write(text(test.send))
			}
			if test.want.Reason() != test.text {
				t.Errorf("the reason is %q, want %q", test.want.Reason(), test.text)
			}
			p.wantClose(test.want)
			_ = p.conn.Close() // the relay does not have to wait for that
			if test.send != "" {
				await(t, "the log line", func() bool { return strings.Contains(r.log.String(), "connection closed") })
				if log := r.log.String(); test.want != test.want.Plain() && !strings.Contains(log, `reason="`+test.text+`"`) {
					t.Errorf("the log does not contain the reason:\n%s", log)
				}
			}
		})
	}
}
