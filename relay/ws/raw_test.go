package ws

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

var errRedisDown = errors.New("redis is down")

// payloads must be delivered byte for byte.
var payloads = []struct {
	name, payload string
	op            byte
}{
	{"ASCII", "hello", 1},
	{"empty", "", 1},
	{"spaces at both ends", " \t hello \t ", 1},
	{"line feeds at both ends", "\n\r\nhello\r\n\n", 1},
	{"zeros at both ends", "\x00hello\x00", 1},
	{"UTF-8 with emoji", "grüße 👍🏽 \u2028", 1},
	{"quotes and markup", `"<script>alert('x')</script>&\"` + "\n\t\x00\x1f", 1},
	{"125 bytes", strings.Repeat("x", 125), 1},
	{"126 bytes", strings.Repeat("x", 126), 1},
	{"65,535 bytes", strings.Repeat("x", 65535), 1},
	{"65,536 bytes", strings.Repeat("x", 65536), 1},
	{"1 MiB minus one", strings.Repeat("x", 1<<20-1), 1},
	{"binary", "\x00\xff\xfe\x80", 2},
}

func TestRawByteForByte(t *testing.T) {
	r := newTestRelay(t)
	p := r.dial("/?channel=chat")
	for _, test := range payloads {
		r.publish("chat", test.payload)
		p.want(test.op, test.payload)
	}
}

func TestRawChannels(t *testing.T) {
	r := newTestRelay(t)
	defaults := r.dial("/")
	two := r.dial("/ws?channel=a&channel=b&channel=a")
	r.publish("a", "to a")
	r.publish("b", "to b")
	r.publish("chat", "to chat")
	two.want(1, "to a")
	two.want(1, "to b")
	defaults.want(1, "to chat")
	r.publish("a", "end")
	two.want(1, "end")
}

func TestRawPublishes(t *testing.T) {
	r := newTestRelay(t)
	for _, test := range []struct {
		target, channel, why string
	}{
		{"/", "chat", "to the default channel"},
		{"/?channel=a", "a", "to the only channel named"},
		{"/?channel=a&channel=b&publish=b", "b", "to the channel that publish names"},
		{"/?channel=a&publish=elsewhere", "elsewhere", "to a channel without a subscription"},
	} {
		receiver := r.dial("/?channel=" + test.channel)
		p := r.dial(test.target)
		p.write(text("text"))
		receiver.want(1, "text")
		p.write(frame(0x82, "\x00\xff"))
		receiver.want(2, "\x00\xff")
		p.write(append(frame(0x01, "in "), frame(0x80, "fragments")...))
		receiver.want(1, "in fragments")
	}
}

func TestRawCannotPublish(t *testing.T) {
	chat, err := access.ParsePatterns([]string{"chat"})
	if err != nil {
		t.Fatal(err)
	}
	r := newTestRelay(t, func(c *relayConfig) { c.hub.Access.Publish = chat; c.hub.MaxPayload = 100 })
	for _, test := range []struct {
		target, payload string
		want            protocol.CloseCode
		why             string
	}{
		{"/?channel=other", "x", protocol.ClosePolicy.Because(protocol.ReasonPublish), "no permission"},
		{"/?channel=chat&channel=other", "x", protocol.ClosePolicy.Because(protocol.ReasonPublishSeveral), "several channels and no publish"},
		{"/?channel=chat&publish=sidecast:control", "x", protocol.ClosePolicy.Because(protocol.ReasonPublishName), "a reserved name"},
		{"/?channel=chat", strings.Repeat("x", 101), protocol.CloseTooBig.Because(protocol.ReasonPublishTooLarge), "larger than the maximum payload"},
		{"/?channel=other", `{"type":"subscribe","channels":[]}`, protocol.ClosePolicy.Because(protocol.ReasonCommand), "a command of sidecast.v1"},
	} {
		p := r.dial(test.target)
		p.write(text(test.payload))
		p.wantClose(test.want)
	}
	if got := r.publications(); len(got) > 0 {
		t.Errorf("messages were published: %q", got)
	}
}

func TestRawRateLimit(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.hub.CommandBurst = 3; c.hub.CommandRate = 0.001 })
	p := r.dial("/?channel=a&echo=false")
	for range 4 {
		p.write(text("x"))
	}
	p.wantClose(protocol.ClosePolicy.Because(protocol.ReasonRate))
	if got := r.publications(); len(got) != 3 {
		t.Errorf("published %q, want three messages", got)
	}
}

func TestRawGapCloseOnOversize(t *testing.T) {
	r := newTestRelay(t)
	other, closing := r.dial("/?channel=b&gap=close"), r.dial("/?channel=a&gap=close")
	r.hub.Oversize([]byte("a"))
	r.hub.Flush()
	closing.wantClose(protocol.CloseGap)
	r.publish("b", "next")
	other.want(1, "next")

	plain := r.dial("/?channel=b")
	r.hub.Offline()
	r.hub.Online(1)
	other.wantClose(protocol.CloseGap)
	r.publish("b", "after the outage")
	plain.want(1, "after the outage")
}

// With echo=false a client does not receive its own messages. Other clients
// receive them, and the client receives equal messages of others.
func TestRawEcho(t *testing.T) {
	r := newTestRelay(t)
	me, you := r.dial("/?channel=a&echo=false"), r.dial("/?channel=a")
	me.write(text("same"))
	you.want(1, "same")
	you.write(text("same"))
	you.want(1, "same")
	me.want(1, "same")
	me.write(text("mine"))
	you.want(1, "mine")
	r.publish("a", "end")
	me.want(1, "end")
}

// The relay answers a close frame with 1000, or with the client's own code, if
// the client may send its code (RFC 6455 section 7.4 and the registry of IANA).
func TestClientsCloseCode(t *testing.T) {
	r := newTestRelay(t)
	for _, test := range []struct {
		code uint16
		want protocol.CloseCode
	}{
		{1000, protocol.CloseNormal}, {1001, protocol.CloseNormal}, {1003, protocol.CloseNormal}, {1011, protocol.CloseNormal},
		{1012, protocol.CloseNormal}, {1013, protocol.CloseNormal}, {1014, protocol.CloseNormal},
		{3000, 3000}, {4999, 4999},
		{999, protocol.CloseProtocol}, {1004, protocol.CloseProtocol}, {1005, protocol.CloseProtocol}, {1006, protocol.CloseProtocol},
		{1015, protocol.CloseProtocol}, {1016, protocol.CloseProtocol}, {2999, protocol.CloseProtocol}, {5000, protocol.CloseProtocol},
	} {
		for _, reason := range []string{"", "bye"} {
			p := r.dial("/")
			p.write(frame(0x88, string(binary.BigEndian.AppendUint16(nil, test.code))+reason))
			p.wantClose(test.want)
			_ = p.conn.Close()
		}
	}
	p := r.dial("/")
	p.write(frame(0x88, "\x03\xf6\xff")) // 1014, and a reason that is not UTF-8
	p.wantClose(protocol.CloseBadData)
}

func TestClientCloses(t *testing.T) {
	r := newTestRelay(t)
	p := r.dial("/")
	r.publish("chat", "before")
	p.want(1, "before")
	p.write(append(frame(0x88, "\x03\xe9"), text("after the close")...)) // 1001
	p.wantClose(protocol.CloseNormal)
	if got := r.publications(); len(got) != 1 {
		t.Errorf("a message after a close frame was published: %q", got)
	}
}

// A raw client cannot name more signatures than channels.
func TestRawSignaturesAreCounted(t *testing.T) {
	r := newTestRelay(t)
	for _, query := range []string{"sig=a", "user=a", "channel=chat&sig=a&sig=b", "channel=chat&user=a&user=b"} {
		r.dial("/?" + query).wantClose(protocol.ClosePolicy.Because(protocol.ReasonSignatures))
	}
}
