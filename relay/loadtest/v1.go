package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// v1Head begins a message of sidecast.v1 as relays write it; the channel's name follows.
const v1Head = `{"type":"message","channel":"`

// v1Data is what stands before the payload of such a message.
var v1Data = []byte(`,"data":"`)

// v1Message returns channel and payload of a message without allocating, if the relay wrote it as relays do and nothing
// in it is escaped; otherwise ok is false and readV1 has to look.
func v1Message(b []byte) (channel, payload []byte, ok bool) {
	if len(b) < len(v1Head) || string(b[:len(v1Head)]) != v1Head {
		return nil, nil, false
	}
	channel, rest, found := bytes.Cut(b[len(v1Head):], []byte{'"'})
	if !found {
		return nil, nil, false
	}
	// A cursor may stand between the two; it is base64url, so the first match is the field.
	_, payload, found = bytes.Cut(rest, v1Data)
	if !found || !bytes.HasSuffix(payload, []byte(`"}`)) {
		return nil, nil, false
	}
	payload = payload[:len(payload)-2]
	if bytes.IndexByte(payload, '"') >= 0 || bytes.IndexByte(payload, '\\') >= 0 || bytes.IndexByte(channel, '\\') >= 0 {
		return nil, nil, false
	}
	return channel, payload, true
}

// A v1Frame is anything that the relay says in sidecast.v1.
type v1Frame struct {
	Type    string  `json:"type"`
	Channel string  `json:"channel"`
	Data    *string `json:"data"`
	Base64  *string `json:"base64"`
	Reason  string  `json:"reason"`
	Code    string  `json:"code"`
}

// readV1 reads any frame of sidecast.v1.
func readV1(b []byte) (v1Frame, error) {
	var f v1Frame
	err := json.Unmarshal(b, &f)
	return f, err
}

// payload returns the payload of a message, nil if it has none that can be read.
func (f v1Frame) payload() []byte {
	switch {
	case f.Data != nil:
		return []byte(*f.Data)
	case f.Base64 != nil:
		p, err := base64.StdEncoding.DecodeString(*f.Base64)
		if err == nil {
			return p
		}
	}
	return nil
}

// v1Subscribe is the frame that asks for one channel, whose name needs no escaping.
func v1Subscribe(channel string) []byte {
	return maskedFrame(nil, opText, []byte(`{"type":"subscribe","channels":[{"channel":"`+channel+`"}]}`))
}
