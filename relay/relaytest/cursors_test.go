package relaytest

import (
	"fmt"
	"strings"
	"testing"
)

// TestCursors: a client keeps its positions as the protocol requires. The logs
// have one letter for each event: s, m, g and u are subscribed, message, gap
// and unsubscribed on the channel before them, h is a heartbeat, o a new
// connection. The cursor follows a colon.
func TestCursors(t *testing.T) {
	tests := []struct{ why, log, want string }{
		{"nothing received", "o", ""},
		{"subscribed moves the position", "o as:1", "a 1/"},
		{"a message moves it", "o as:1 am:2", "a 2/"},
		{"a heartbeat is kept in addition", "o as:1 am:2 h:3", "a 2/3"},
		{"the newest heartbeat counts", "o as:1 h:3 h:4", "a 1/4"},
		{"a message replaces the heartbeat", "o as:1 h:3 am:4", "a 4/"},
		{"but only on its own channel", "o as:1 bs:2 h:3 am:4", "a 4/ b 2/3"},
		{"a heartbeat before subscribed does not count", "o h:3 as:1", "a 1/"},
		{"a heartbeat without a cursor does not count", "o as:1 h:3 h:", "a 1/3"},
		{"a heartbeat on a new connection before subscribed does not count", "o as:1 h:3 o h:9", "a 1/3"},
		{"a heartbeat after it counts", "o as:1 h:3 o as:3 h:9", "a 3/9"},
		{"subscribed without a cursor changes nothing", "o as:1 am:2 h:3 o as:", "a 2/3"},
		{"a gap with a cursor moves the position", "o as:1 h:3 ag:7", "a 7/"},
		{"a gap without a cursor does not", "o as:1 h:3 ag:", "a 1/3"},
		{"a gap of all channels does not", "o as:1 h:3 g:", "a 1/3"},
		{"unsubscribed deletes the position", "o as:1 bs:2 au: h:4", "b 2/4"},
	}
	kinds := map[byte]Kind{
		'o': KindOpened, 's': KindSubscribed, 'm': KindMessage, 'g': KindGap, 'h': KindHeartbeat, 'u': KindUnsubscribed,
	}
	for _, test := range tests {
		var c Client
		for word := range strings.FieldsSeq(test.log) {
			what, cursor, _ := strings.Cut(word, ":")
			c.log.add(Event{Kind: kinds[what[len(what)-1]], Channel: what[:len(what)-1], Cursor: cursor})
		}
		var got []string
		for _, r := range c.Cursors() {
			got = append(got, fmt.Sprintf("%s %s/%s", r.Channel, r.After, r.At))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s gives %q, want %q", test.why, test.log, got, test.want)
		}
	}
}
