package relaytest

import (
	"errors"
	"testing"
)

func TestDecodeV1(t *testing.T) {
	tests := []struct {
		text string
		want Event
	}{
		{`{"type":"welcome","session":"s","heartbeat":25,"offline":true}`, Event{Kind: KindWelcome, Text: "s", Offline: true}},
		{`{"type":"subscribed","channel":"a","recovered":true,"cursor":"c","ref":7}`,
			Event{Kind: KindSubscribed, Channel: "a", Recovered: true, Cursor: "c", Ref: 7}},
		{`{"type":"unsubscribed","channel":"a","reason":"kicked"}`, Event{Kind: KindUnsubscribed, Channel: "a", Text: "kicked"}},
		{`{"type":"message","channel":"a","data":"\"\u0000é","cursor":"c"}`,
			Event{Kind: KindMessage, Channel: "a", Data: "\"\x00é", Cursor: "c"}},
		{`{"type":"message","channel":"a","base64":"/wA="}`, Event{Kind: KindMessage, Channel: "a", Data: "\xff\x00", Binary: true}},
		{`{"type":"message","channel":"a","data":""}`, Event{Kind: KindMessage, Channel: "a"}},
		{`{"type":"gap","reason":"redis"}`, Event{Kind: KindGap, Text: "redis"}},
		{`{"type":"gap","channel":"a","reason":"too_large","cursor":"c"}`,
			Event{Kind: KindGap, Channel: "a", Text: "too_large", Cursor: "c"}},
		{`{"type":"offline","reason":"redis"}`, Event{Kind: KindOffline, Text: "redis"}},
		{`{"type":"heartbeat","at":"c"}`, Event{Kind: KindHeartbeat, Cursor: "c"}},
		{`{"type":"heartbeat"}`, Event{Kind: KindHeartbeat}},
		{`{"type":"pong","ref":3}`, Event{Kind: KindPong, Ref: 3}},
		// A command that a test has written may have another ref than a number.
		{`{"type":"ok","ref":"x"}`, Event{Kind: KindOK}},
		{`{"type":"error","code":"forbidden","message":"m","channel":"a","ref":1}`,
			Event{Kind: KindError, Text: "forbidden", Data: "m", Channel: "a", Ref: 1}},
		{`{"type":"join","user":"42"}`, Event{Kind: KindOther, Text: "join", Data: `{"type":"join","user":"42"}`}},
	}
	for _, test := range tests {
		got, err := decodeV1([]byte(test.text))
		if err != nil || got != test.want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", test.text, got, err, test.want)
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	tests := []struct {
		why  string
		p    Protocol
		op   byte
		text string
	}{
		{"not JSON", V1, OpText, `hello`},
		{"not an object", V1, OpText, `[]`},
		{"two objects", V1, OpText, `{"type":"pong"}{"type":"pong"}`},
		{"not UTF-8", V1, OpText, "{\"type\":\"pong\",\"x\":\"\xff\"}"},
		{"a binary frame", V1, OpBinary, `{"type":"pong"}`},
		{"data and base64", V1, OpText, `{"type":"message","channel":"a","data":"","base64":""}`},
		{"neither data nor base64", V1, OpText, `{"type":"message","channel":"a"}`},
		{"base64 that is invalid", V1, OpText, `{"type":"message","channel":"a","base64":"*"}`},
		{"a message without channel", V1, OpText, `{"type":"message","data":""}`},
		{"subscribed without recovered", V1, OpText, `{"type":"subscribed","channel":"a"}`},
		{"subscribed without channel", V1, OpText, `{"type":"subscribed","recovered":false}`},
		{"gap without reason", V1, OpText, `{"type":"gap"}`},
		{"error without code", V1, OpText, `{"type":"error"}`},
		{"welcome without session", V1, OpText, `{"type":"welcome"}`},
		{"raw text that is not UTF-8", Raw, OpText, "\xff"},
	}
	for _, test := range tests {
		var broken wireError
		if e, err := decode(test.p, test.op, []byte(test.text)); !errors.As(err, &broken) {
			t.Errorf("%s: %v, %v", test.why, e, err)
		}
	}
}

// TestMessageCache: a message that two clients receive is kept once, and
// messages with equal frames of another kind are kept apart.
func TestMessageCache(t *testing.T) {
	var cache messageCache
	frame := []byte(`{"type":"message","channel":"a","data":"x"}`)
	first, _ := cache.decode(V1, OpText, frame)
	again, _ := cache.decode(V1, OpText, frame)
	raw, _ := cache.decode(Raw, OpText, frame)
	binary, _ := cache.decode(Raw, OpBinary, frame)
	if first != again || first.Data != "x" || len(cache.events) != 3 {
		t.Errorf("%+v, %+v, %d kept", first, again, len(cache.events))
	}
	if raw.Data != string(frame) || raw.Binary || !binary.Binary {
		t.Errorf("raw %+v, binary %+v", raw, binary)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = cache.decode(V1, OpText, frame) }); n != 0 {
		t.Errorf("%v allocations for a known message", n)
	}
}

func FuzzDecodeV1(f *testing.F) {
	f.Add([]byte(`{"type":"message","channel":"a","data":"\u0000"}`))
	f.Add([]byte(`{"type":"gap","reason":"redis"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var broken wireError
		if e, err := decodeV1(text); err != nil && !errors.As(err, &broken) {
			t.Errorf("%q: %v, %v", text, e, err)
		}
	})
}
