package relaytest

import (
	"bufio"
	"strings"
	"testing"
)

// TestReadBlock checks how a block of a stream is read, and which bytes no relay
// may send.
func TestReadBlock(t *testing.T) {
	for _, tt := range []struct {
		why, text      string
		name, data, id string
		broken         bool
	}{
		{"a message", "id: 1\ndata: x\n\n", "message", "x", "1", false},
		{"several lines", "data: a\ndata: \ndata:  b\n\n", "message", "a\n\n b", "", false},
		{"a notice", "event: gap\ndata: {}\n\n", "gap", "{}", "", false},
		{"an id alone", "id: a~b\n\n", "message", "", "a~b", false},
		{"a comment", ":\n\n", "message", "", "", false},
		{"the time to reconnect", "retry: 1000\nid: 1\n\n", "message", "", "1", false},
		{"two ids: the last one counts", "id: 1\ndata: x\nid: 2\n\n", "message", "x", "2", false},
		{"an empty id", "id: \n\n", "", "", "", true},
		{"an unknown field", "x: y\n\n", "", "", "", true},
		{"the end within a block", "data: x\n", "", "", "", true},
	} {
		name, data, id, err := readBlock(bufio.NewReader(strings.NewReader(tt.text)))
		if name != tt.name || data != tt.data || id != tt.id || (err != nil) != tt.broken {
			t.Errorf("%s: readBlock(%q) = %q, %q, %q, %v", tt.why, tt.text, name, data, id, err)
		}
	}
}
