package protocol

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// WrapPublished returns what Redis receives of a client's message with
// PUBLISH_FORMAT=json: a JSON object that also says who sent it. user is empty
// for an anonymous client. In place of data, a payload that is not UTF-8 is base64.
func WrapPublished(user, session string, payload []byte) []byte {
	message := struct {
		User    *string `json:"user"` // null if anonymous
		Session string  `json:"session"`
		Data    *string `json:"data,omitempty"`
		Base64  *[]byte `json:"base64,omitempty"`
	}{Session: session}
	if user != "" {
		message.User = &user
	}
	if utf8.Valid(payload) {
		message.Data = new(string(payload))
	} else {
		message.Base64 = &payload
	}
	var wrapped bytes.Buffer
	encoder := json.NewEncoder(&wrapped)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		panic(err) // strings and bytes can always be encoded
	}
	return bytes.TrimSuffix(wrapped.Bytes(), []byte("\n"))
}
