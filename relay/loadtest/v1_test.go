package main

import "testing"

func TestV1Message(t *testing.T) {
	tests := []struct {
		name, frame      string
		channel, payload string
		fast             bool // read without encoding/json
	}{
		{"plain", `{"type":"message","channel":"a:1","data":"hello"}`, "a:1", "hello", true},
		{"with a cursor", `{"type":"message","channel":"a:1","cursor":"AbC-_","data":"hello"}`, "a:1", "hello", true},
		{"empty", `{"type":"message","channel":"a","data":""}`, "a", "", true},
		{"escaped", `{"type":"message","channel":"a","data":"\u0068ello"}`, "a", "hello", false},
		{"escaped quote at the end", `{"type":"message","channel":"a","data":"hello\""}`, "a", `hello"`, false},
		{"another order", `{"channel":"a","data":"hello","type":"message"}`, "a", "hello", false},
		{"more behind", `{"type":"message","channel":"a","data":"hello","x":"y"}`, "a", "hello", false},
		{"base64", `{"type":"message","channel":"a","base64":"aGVsbG8="}`, "a", "hello", false},
		{"spaces", `{"type": "message", "channel": "a", "data": "hello"}`, "a", "hello", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			channel, payload, ok := v1Message([]byte(test.frame))
			if ok != test.fast {
				t.Errorf("read the fast way: %v", ok)
			}
			if ok && (string(channel) != test.channel || string(payload) != test.payload) {
				t.Errorf("the fast way reads %q, %q", channel, payload)
			}
			f, err := readV1([]byte(test.frame))
			if err != nil || f.Type != "message" || f.Channel != test.channel || string(f.payload()) != test.payload {
				t.Errorf("got %+v, %q, %v", f, f.payload(), err)
			}
		})
	}
}

// FuzzV1Message holds that what is read the fast way is what encoding/json reads, wherever the frame is JSON.
func FuzzV1Message(f *testing.F) {
	f.Add(`{"type":"message","channel":"a","data":"hello"}`)
	f.Add(`{"type":"message","channel":"a","cursor":"x","data":"hello"}`)
	f.Add(`{"type":"message","channel":"a","x":{"y":1,"data":"no"},"data":"hello"}`)
	f.Fuzz(func(t *testing.T, s string) {
		channel, payload, ok := v1Message([]byte(s))
		if !ok {
			return
		}
		frame, err := readV1([]byte(s))
		if err != nil {
			return // the payload's own checksum tells what that was
		}
		if frame.Channel != string([]rune(string(channel))) && frame.Channel != string(channel) {
			t.Errorf("%q: channel %q, not %q", s, channel, frame.Channel)
		}
		if frame.Data != nil && *frame.Data != string(payload) && *frame.Data != string([]rune(string(payload))) {
			t.Errorf("%q: payload %q, not %q", s, payload, *frame.Data)
		}
	})
}
