package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A browserEvent is what a browser makes of a block.
type browserEvent struct{ name, data, id string }

// readBlocks reads blocks as a browser does (HTML section 9.2.6). The last id
// stays for the events that follow it, and a block without data is no event. It
// also returns the last id.
func readBlocks(t testing.TB, blocks []byte) (events []browserEvent, id string) {
	t.Helper()
	var name string
	var data []string
	for line := range strings.SplitSeq(string(blocks), "\n") {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case strings.ContainsAny(line, "\r"):
			t.Fatalf("%.80q contains a carriage return, which ends a line", blocks)
		case line == "":
			if data != nil {
				events = append(events, browserEvent{name, strings.Join(data, "\n"), id})
			}
			name, data = "", nil
		case field == "event":
			name = value
		case field == "data":
			data = append(data, value)
		case field == "id":
			if value == "" {
				t.Fatalf("%.80q contains an empty id, which makes the browser forget the last one", blocks)
			}
			id = value
		case field != "":
			t.Fatalf("%.80q contains the line %.80q", blocks, line)
		}
	}
	if name != "" || data != nil {
		t.Fatalf("%.80q does not end with an empty line", blocks)
	}
	return events, id
}

// checkSSE checks the block of a message.
func checkSSE(t *testing.T, p Protocol, channel string, payload, frame []byte) {
	t.Helper()
	events, _ := readBlocks(t, frame)
	if len(events) != 1 {
		t.Fatalf("%s: %.80q became %d events", p.ID(), payload, len(events))
	}
	got, text := events[0], isText(payload)
	if p.ID() == SSEJSONID {
		if got.name != "" {
			t.Fatalf("%s: a message is the event %q", p.ID(), got.name)
		}
		checkV1(t, channel, payload, []byte(got.data), validText(payload))
		return
	}
	want := browserEvent{data: string(payload)}
	if !text {
		want = browserEvent{name: "base64", data: base64.StdEncoding.EncodeToString(payload)}
	}
	if got != want {
		t.Fatalf("%s: %.80q became %.80q", p.ID(), payload, got)
	}
}

// isText reports whether an event stream can contain the payload as it is.
func isText(payload []byte) bool { return validText(payload) && !bytes.Contains(payload, []byte("\r")) }

func validText(payload []byte) bool {
	return strings.ToValidUTF8(string(payload), "") == string(payload)
}

// TestEventIDs checks the ids of blocks: that of a channel has the channel's
// tag if there may be several, and a heartbeat is a place in all channels.
func TestEventIDs(t *testing.T) {
	const tagged = testCursor + "~jZELW8Yo"
	cursor := []byte(testCursor)
	for _, tt := range []struct {
		why       string
		frame     func(Protocol) []byte
		sse, json string // the last id
	}{
		{"message", func(p Protocol) []byte { return p.Message("chat", cursor, []byte("x")) }, testCursor, tagged},
		{"a payload in base64", func(p Protocol) []byte { return p.Message("chat", cursor, []byte("\xff")) }, testCursor, tagged},
		{"no cursor", func(p Protocol) []byte { return p.Message("chat", nil, []byte("x")) }, "", ""},
		{"subscribed", event(Event{Type: EventSubscribed, Channel: "chat", Cursor: cursor}), testCursor, tagged},
		{"not recovered", event(Event{Type: EventSubscribed, Channel: "chat", Cursor: cursor, Resumed: true}), testCursor, tagged},
		{"all channels together", event(Event{Type: EventSubscribed, Cursor: []byte("a~b,c~d")}), "a~b,c~d", "a~b,c~d"},
		{"gap", event(Event{Type: EventGap, Channel: "chat", Cursor: cursor}), testCursor, tagged},
		{"gap on all channels", event(Event{Type: EventGap}), "", ""},
		{"heartbeat", event(Event{Type: EventHeartbeat, Cursor: cursor}), testCursor, testCursor},
		{"heartbeat without a place", event(Event{Type: EventHeartbeat}), "", ""},
		{"ping", func(p Protocol) []byte { return p.Ping(cursor) }, testCursor, testCursor},
	} {
		_, sse := readBlocks(t, tt.frame(SSE{}))
		_, json := readBlocks(t, tt.frame(SSEJSON{}))
		if sse != tt.sse || json != tt.json {
			t.Errorf("%s: the ids are %q and %q, want %q and %q", tt.why, sse, json, tt.sse, tt.json)
		}
	}
}

// TestPlacesInAnEvent checks that a list of places replaces the id of a block,
// and changes nothing else.
func TestPlacesInAnEvent(t *testing.T) {
	places := []Place{{"chat", []byte("a")}, {"chat:42", []byte("b")}}
	const id = "a~jZELW8Yo,b~ukZkgNn7"
	for _, tt := range []struct {
		why   string
		frame []byte
		want  string
	}{
		{"a message", SSEJSON{}.Message("chat", []byte("c"), []byte("x")),
			"id: c~jZELW8Yo\ndata: {\"type\":\"message\",\"channel\":\"chat\",\"cursor\":\"c\",\"data\":\"x\"}\nid: " + id + "\n\n"},
		{"an answer without a place", SSEJSON{}.Event(Event{Type: EventSubscribed, Resumed: true, Recovered: true}), "id: " + id + "\n\n"},
		{"an answer with a gap", SSEJSON{}.Event(Event{Type: EventSubscribed, Resumed: true}),
			"event: gap\ndata: {\"type\":\"gap\",\"reason\":\"unrecovered\"}\nid: " + id + "\n\n"},
	} {
		before, _ := readBlocks(t, tt.frame)
		got := SSEJSON{}.WithPlaces(tt.frame, places)
		after, last := readBlocks(t, got)
		if string(got) != tt.want || last != id || len(before) != len(after) {
			t.Errorf("%s became %q, want %q", tt.why, got, tt.want)
		}
	}
	frame := append(make([]byte, 0, 100), "data: x\n\n"...)
	if (SSEJSON{}).WithPlaces(frame, places); string(frame) != "data: x\n\n" || frame[:10:100][9] != 0 {
		t.Error("the frame itself is changed")
	}
}

func event(e Event) func(Protocol) []byte { return func(p Protocol) []byte { return p.Event(e) } }

// TestChannelTag checks that tags do not change: all relays must compute the
// same one.
func TestChannelTag(t *testing.T) {
	for channel, want := range map[string]string{
		"":                       "nOSEIujX",
		"chat":                   "jZELW8Yo",
		"chat:42":                "ukZkgNn7",
		"chat:43":                "uUZkgNss",
		"räume/✓ 1":              "AP5VDAQA",
		strings.Repeat("x", 200): "TIyuzTKk",
	} {
		if got := ChannelTag(channel); got != want {
			t.Errorf("ChannelTag(%q) = %q, want %q", channel, got, want)
		}
	}
}

// TestParseEventID checks which ids are accepted.
func TestParseEventID(t *testing.T) {
	type positions = []EventPosition
	long := strings.Repeat("c", maxCursor)
	for _, tt := range []struct {
		why, id string
		want    positions // nil: the id is rejected
	}{
		{"a place in all channels", "AWXZ", positions{{"AWXZ", ""}}},
		{"a place of a channel", "AWXZ~01234567", positions{{"AWXZ", "01234567"}}},
		{"several", "a~01234567,b~abcd-_YZ", positions{{"a", "01234567"}, {"b", "abcd-_YZ"}}},
		{"the same tag twice: the transport decides", "a~01234567,b~01234567", positions{{"a", "01234567"}, {"b", "01234567"}}},
		{"the longest cursor", long, positions{{long, ""}}},
		{"a longer cursor", long + "c", nil},
		{"nothing", "", nil},
		{"no cursor", "~01234567", nil},
		{"a tag that is too short", "a~0123456", nil},
		{"a tag that is too long", "a~012345678", nil},
		{"an empty tag", "a~", nil},
		{"a list with a place in all channels", "a~01234567,b", nil},
		{"a list of such places", "a,b", nil},
		{"a list that ends with a comma", "a~01234567,", nil},
		{"a list that begins with a comma", ",a~01234567", nil},
		{"blanks", "a~01234567, b~01234567", nil},
		{"two tags", "a~01234567~01234567", nil},
		{"an id of another server", "42/17", nil},
		{"a character that is not base64url", "a+b", nil},
		{"a control character", "a\x00", nil},
	} {
		got, ok := ParseEventID(tt.id)
		if !slices.Equal(got, tt.want) || ok != (tt.want != nil) {
			t.Errorf("%s: ParseEventID(%q) = %v, %v", tt.why, tt.id, got, ok)
		}
	}
}

// FuzzEventID checks that an id is accepted only if AppendEventID writes it.
func FuzzEventID(f *testing.F) {
	for _, id := range []string{"AWXZ", "AWXZ~01234567", "a~01234567,b~abcd-_YZ", "a~", ",", "a,b", "~~", "a~01234567,"} {
		f.Add(id, "chat")
	}
	f.Fuzz(func(t *testing.T, id, channel string) {
		positions, ok := ParseEventID(id)
		if !ok {
			if positions != nil {
				t.Fatalf("%q is rejected with %v", id, positions)
			}
			return
		}
		var again []string
		var appended []byte
		for _, p := range positions {
			again = append(again, strings.TrimSuffix(p.Cursor+"~"+p.Tag, "~"))
			appended = AppendEventID(appended, []byte(p.Cursor), channel)
		}
		if strings.Join(again, ",") != id {
			t.Errorf("%q became %v", id, positions)
		}
		tagged, ok := ParseEventID(string(appended))
		if !ok || len(tagged) != len(positions) {
			t.Fatalf("the id %q is not accepted", appended)
		}
		for i, p := range tagged {
			if p.Cursor != positions[i].Cursor || p.Tag != ChannelTag(channel) {
				t.Errorf("%v became %v", positions, tagged)
			}
		}
	})
}

// checkSSEEvent checks that an event is a complete block of an event stream,
// whatever its fields contain: its data is v1's JSON object.
func checkSSEEvent(t *testing.T, p Protocol, e Event) {
	t.Helper()
	events, _ := readBlocks(t, p.Event(e))
	for _, got := range events {
		var fields map[string]any
		if err := json.Unmarshal([]byte(got.data), &fields); err != nil || fields["type"] != got.name {
			t.Errorf("%s: %+v became %+v: %v", p.ID(), e, got, err)
		}
		if channel, there := fields["channel"]; there && channel != toValidUTF8(e.Channel) {
			t.Errorf("%s: channel %q became %q", p.ID(), e.Channel, channel)
		}
	}
}
