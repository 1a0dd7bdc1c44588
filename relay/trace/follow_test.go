package trace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

// newBox returns a black box in memory.
func newBox(t testing.TB) *blackbox.Box {
	t.Helper()
	box, err := blackbox.Open(1<<20, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	return box
}

// brief returns the kinds of events, with what they are about.
func brief(events []Event) string {
	var all []string
	for _, e := range events {
		parts := []string{string(e.Kind), string(e.How), e.User, e.Protocol, e.Reason, e.Command}
		if e.Kind == EventMessage || e.Kind == EventTooLarge {
			parts = append(parts, fmt.Sprintf("to %d", e.Listeners))
		}
		all = append(all, strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " "))
	}
	return strings.Join(all, "; ")
}

// Each record that concerns the channel makes an event, and no other does.
func TestFollower(t *testing.T) {
	var a, near, other blackbox.Name
	begin := func(b *blackbox.Box, user string) uint32 {
		return b.Begin(blackbox.Client{User: user, Protocol: uint8(protocol.V1ID)})
	}
	message := func(b *blackbox.Box, name *blackbox.Name, channel string, m blackbox.Message) {
		b.Message(name, []byte(channel), m)
	}
	for _, tt := range []struct {
		comment string
		do      func(*blackbox.Box)
		want    string
	}{
		{"a message", func(b *blackbox.Box) { message(b, &a, "chat:1", blackbox.Message{Heard: 2}) }, "message to 2"},
		{"one that is too large", func(b *blackbox.Box) { message(b, &a, "chat:1", blackbox.Message{Heard: 2, TooLarge: true}) }, "too_large to 2"},
		{"a similar name", func(b *blackbox.Box) { message(b, &near, "chat.1", blackbox.Message{Heard: 1}) }, "message separator to 1"},
		{"another name", func(b *blackbox.Box) { message(b, &other, "chat:2", blackbox.Message{Heard: 1}) }, ""},
		{"a nudge", func(b *blackbox.Box) { b.Nudge([]byte("chat:1"), true) }, "nudge"},
		{"a client joins and leaves", func(b *blackbox.Box) {
			s := begin(b, "42")
			b.Join(s, &a, "chat:1", false, 1)
			b.Leave(s, &a, "chat:1", false, 2)
			b.End(s, blackbox.End{})
		}, "join 42 v1; leave 42 v1"},
		{"a client waits for the past first", func(b *blackbox.Box) {
			s := begin(b, "42")
			b.Await(s, &a, "chat:1", false)
			b.Join(s, &a, "chat:1", false, 1)
			b.End(s, blackbox.End{})
		}, "join 42 v1; leave 42 v1"},
		{"a client is evicted", func(b *blackbox.Box) {
			s := begin(b, "")
			b.Join(s, &a, "chat:1", false, 1)
			b.End(s, blackbox.End{Evicted: true})
		}, "join v1; evicted v1"},
		{"a client on another channel is evicted", func(b *blackbox.Box) {
			s := begin(b, "")
			b.Join(s, &other, "chat:2", false, 1)
			b.End(s, blackbox.End{Evicted: true})
		}, ""},
		{"a client on a similar name", func(b *blackbox.Box) { b.Join(begin(b, "7"), &near, "chat.1", false, 1) }, "join separator 7 v1"},
		{"a refusal", func(b *blackbox.Box) {
			b.Refused(blackbox.Refusal{User: "7", Channel: "chat:1", Code: uint32(protocol.CodeForbidden), Reason: "subscribe"})
		}, "refused 7 forbidden subscribe"},
		{"a refusal on a similar name", func(b *blackbox.Box) {
			b.Refused(blackbox.Refusal{Channel: "Chat:1", Code: uint32(protocol.CodeUnauthorized), Reason: "connect"})
		}, "refused case unauthorized connect"},
		{"a refusal on another name", func(b *blackbox.Box) { b.Refused(blackbox.Refusal{Channel: "chat:2", Reason: "forbidden"}) }, ""},
		{"the link", func(b *blackbox.Box) { b.Link(false, 1); b.Link(true, 2) }, "link_down; link_up"},
		{"a gap for all", func(b *blackbox.Box) { b.Gap(blackbox.Gap{Reason: "redis"}) }, "gap redis"},
		{"a gap on the channel", func(b *blackbox.Box) { b.Gap(blackbox.Gap{Channel: "chat:1", Reason: "history"}) }, "gap history"},
		{"a gap on another one", func(b *blackbox.Box) { b.Gap(blackbox.Gap{Channel: "chat:2", Reason: "history"}) }, ""},
		{"a dropped message", func(b *blackbox.Box) { b.Dropped([]byte("chat:1"), "overlap") }, "dropped overlap"},
		{"a dropped message with the prefix", func(b *blackbox.Box) { b.Dropped([]byte("app_chat:1"), "overlap") }, "dropped overlap"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			a, near, other = 0, 0, 0 // a name is declared once in each box
			box := newBox(t)
			f := NewFollower(box, "chat:1", "app_chat:1", func() map[string]int { return nil })
			tt.do(box)
			if got := brief(f.Poll()); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if again := f.Poll(); len(again) > 0 {
				t.Errorf("and then %q", brief(again))
			}
		})
	}
}

// A client that was there before is known, and so is how it is connected.
func TestFollowerKnowsThePast(t *testing.T) {
	box := newBox(t)
	var name blackbox.Name
	s := box.Begin(blackbox.Client{User: "42", Protocol: uint8(protocol.PusherID)})
	box.Join(s, &name, "chat:1", false, 0)
	box.Message(&name, []byte("chat:1"), blackbox.Message{Heard: 1})
	f := NewFollower(box, "chat:1", "chat:1", func() map[string]int { return map[string]int{"pusher": 1} })
	if events := f.Poll(); len(events) > 0 {
		t.Errorf("what happened before: %q", brief(events))
	}
	box.Message(&name, []byte("chat:1"), blackbox.Message{Heard: 1})
	box.Message(&name, []byte("chat:1"), blackbox.Message{Heard: 2})
	box.End(s, blackbox.End{})
	events := f.Poll()
	if got := brief(events); got != "message to 1; message to 2; leave 42 pusher" {
		t.Errorf("%q", got)
	}
	if events[0].Protocols["pusher"] != 1 || events[1].Protocols != nil {
		t.Errorf("%+v", events)
	}
}

// The records say when the last message came, and who was refused.
func TestReadPast(t *testing.T) {
	if ReadPast(t.Context(), nil, "chat:1") != nil {
		t.Error("without a black box, there is a past")
	}
	box := newBox(t)
	var name, other blackbox.Name
	box.Message(&name, []byte("chat:1"), blackbox.Message{})
	box.Message(&other, []byte("chat:2"), blackbox.Message{})
	for _, command := range []string{"connect", "subscribe", "publish"} {
		box.Refused(blackbox.Refusal{Channel: "chat:1", Code: uint32(protocol.CodeForbidden), Reason: command})
	}
	box.Refused(blackbox.Refusal{Channel: "chat:2", Code: uint32(protocol.CodeForbidden), Reason: "connect"})
	past := ReadPast(t.Context(), box, "chat:1")
	if past.Last.IsZero() || past.Since.After(past.Last) || past.At.IsZero() || len(past.Refused) != 1 || past.Refused["forbidden"] != 2 {
		t.Errorf("%+v", past)
	}
	if past := ReadPast(t.Context(), box, "chat:3"); !past.Last.IsZero() || past.Since.IsZero() {
		t.Errorf("another channel: %+v", past)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if past := ReadPast(ended, box, "chat:1"); !past.Last.IsZero() {
		t.Errorf("although the context has ended: %+v", past)
	}
}

// One poll returns so many events, and says that there were more.
func TestFollowerIsBounded(t *testing.T) {
	box := newBox(t)
	var name, near blackbox.Name
	f := NewFollower(box, "chat:1", "chat:1", func() map[string]int { return nil })
	for range 2 * maxEvents {
		box.Message(&name, []byte("chat:1"), blackbox.Message{})
		box.Message(&near, []byte("chat.1"), blackbox.Message{})
	}
	events := f.Poll()
	if len(events) != maxEvents+1 || events[maxEvents].Kind != EventMissed {
		t.Errorf("%d events, the last is %q", len(events), events[len(events)-1].Kind)
	}
	for range 1 << 20 { // more than the box holds
		box.Message(&name, []byte("chat:1"), blackbox.Message{Size: 1000})
	}
	if events = f.Poll(); events[len(events)-1].Kind != EventMissed {
		t.Error("it does not say that records were overwritten")
	}
}

// BenchmarkNewFollower measures how long it takes to read a full black box.
func BenchmarkNewFollower(b *testing.B) {
	box, err := blackbox.Open(16<<20, "")
	if err != nil {
		b.Fatal(err)
	}
	names := make([]blackbox.Name, 1000)
	for i := range 2_000_000 {
		box.Message(&names[i%1000], fmt.Appendf(nil, "channel:%d", i%1000), blackbox.Message{Size: 200, Heard: 10})
	}
	for b.Loop() {
		NewFollower(box, "chat:1", "chat:1", func() map[string]int { return nil })
	}
}
