package ws

import (
	"errors"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

var errAway = errors.New("redis is away")

// payloads that must arrive byte for byte.
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
	r := newRig(t)
	p := r.dial("/?channel=chat")
	for _, test := range payloads {
		r.say("chat", test.payload)
		p.want(test.op, test.payload)
	}
}

func TestRawChannels(t *testing.T) {
	r := newRig(t)
	defaults := r.dial("/")
	two := r.dial("/ws?channel=a&channel=b&channel=a")
	r.say("a", "to a")
	r.say("b", "to b")
	r.say("chat", "to chat")
	two.want(1, "to a")
	two.want(1, "to b")
	defaults.want(1, "to chat")
	r.say("a", "end")
	two.want(1, "end")
}

func TestRawPublishes(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		target, channel, why string
	}{
		{"/", "chat", "to the default channel"},
		{"/?channel=a", "a", "to the only channel named"},
		{"/?channel=a&channel=b&publish=b", "b", "to the one that publish names"},
		{"/?channel=a&publish=elsewhere", "elsewhere", "which need not be heard"},
	} {
		ear := r.dial("/?channel=" + test.channel)
		p := r.dial(test.target)
		p.write(text("text"))
		ear.want(1, "text")
		p.write(frame(0x82, "\x00\xff"))
		ear.want(2, "\x00\xff")
		p.write(append(frame(0x01, "in "), frame(0x80, "pieces")...))
		ear.want(1, "in pieces")
	}
}

func TestRawMayNotPublish(t *testing.T) {
	chat, err := access.ParsePatterns([]string{"chat"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *rigConfig) { c.hub.Access.Publish = chat; c.hub.MaxPayload = 100 })
	for _, test := range []struct {
		target, payload string
		want            protocol.CloseCode
		why             string
	}{
		{"/?channel=other", "x", protocol.ClosePolicy, "no right"},
		{"/?channel=chat&channel=other", "x", protocol.ClosePolicy, "several channels and no publish"},
		{"/?channel=chat&publish=sidecast:control", "x", protocol.ClosePolicy, "a reserved name"},
		{"/?channel=chat", strings.Repeat("x", 101), protocol.CloseTooBig, "larger than the relay carries"},
	} {
		p := r.dial(test.target)
		p.write(text(test.payload))
		p.wantClose(test.want)
	}
	if got := r.publications(); len(got) > 0 {
		t.Errorf("published all the same: %q", got)
	}
}

func TestRawOverTheRate(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.hub.CommandBurst = 3; c.hub.CommandRate = 0.001 })
	p := r.dial("/?channel=a&echo=false")
	for range 4 {
		p.write(text("x"))
	}
	p.wantClose(protocol.ClosePolicy)
	if got := r.publications(); len(got) != 3 {
		t.Errorf("published %q, want three", got)
	}
}

func TestRawWhileRedisIsAway(t *testing.T) {
	r := newRig(t)
	p := r.dial("/")
	r.fail(errAway)
	p.write(text("x"))
	p.wantClose(protocol.CloseTryLater)
}

func TestRawGapClose(t *testing.T) {
	r := newRig(t)
	plain, told := r.dial("/?channel=a"), r.dial("/?channel=a&gap=close")
	r.hub.Offline()
	r.hub.Online(1)
	told.wantClose(protocol.CloseGap)
	r.say("a", "on")
	plain.want(1, "on")
}

func TestRawGapCloseOnOversize(t *testing.T) {
	r := newRig(t)
	other, told := r.dial("/?channel=b&gap=close"), r.dial("/?channel=a&gap=close")
	r.hub.Oversize([]byte("a"))
	r.hub.Flush()
	told.wantClose(protocol.CloseGap)
	r.say("b", "on")
	other.want(1, "on")
}

// echo=false: the sender does not hear itself, others do, and equal messages of others are heard.
func TestRawEcho(t *testing.T) {
	r := newRig(t)
	me, you := r.dial("/?channel=a&echo=false"), r.dial("/?channel=a")
	me.write(text("same"))
	you.want(1, "same")
	you.write(text("same"))
	you.want(1, "same")
	me.want(1, "same")
	me.write(text("mine"))
	you.want(1, "mine")
	r.say("a", "end")
	me.want(1, "end")
}

func TestPingIsAnsweredWithItsPayload(t *testing.T) {
	r := newRig(t)
	p := r.dial("/")
	p.write(frame(0x89, "are you there"))
	p.want(10, "are you there")
}

func TestClientCloses(t *testing.T) {
	r := newRig(t)
	p := r.dial("/")
	r.say("chat", "before")
	p.write(append(frame(0x88, "\x03\xe9"), text("after the close")...)) // 1001
	p.want(1, "before")
	p.wantClose(protocol.CloseNormal)
	if got := r.publications(); len(got) != 1 {
		t.Errorf("what follows a close frame was published: %q", got)
	}
}
