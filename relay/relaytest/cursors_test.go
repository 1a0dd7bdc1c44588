package relaytest

import (
	"fmt"
	"strings"
	"testing"
)

// TestCursors: a client remembers what the rule says. Words are as in a log: s, m and g are subscribed, message and gap
// on the channel before them, h a heartbeat, o a new connection, u unsubscribed; behind : stands the cursor.
func TestCursors(t *testing.T) {
	tests := []struct{ why, log, want string }{
		{"nothing heard", "o", ""},
		{"subscribed moves", "o as:1", "a 1/"},
		{"a message moves", "o as:1 am:2", "a 2/"},
		{"a heartbeat stands beside it", "o as:1 am:2 h:3", "a 2/3"},
		{"the newest heartbeat counts", "o as:1 h:3 h:4", "a 1/4"},
		{"a message clears it", "o as:1 h:3 am:4", "a 4/"},
		{"on its own channel", "o as:1 bs:2 h:3 am:4", "a 4/ b 2/3"},
		{"a heartbeat before subscribed does not count", "o h:3 as:1", "a 1/"},
		{"nor one without a position", "o as:1 h:3 h:", "a 1/3"},
		{"nor one of a new connection, before subscribed", "o as:1 h:3 o h:9", "a 1/3"},
		{"after it, it does", "o as:1 h:3 o as:3 h:9", "a 3/9"},
		{"subscribed without a cursor changes nothing", "o as:1 am:2 h:3 o as:", "a 2/3"},
		{"a gap with a cursor moves", "o as:1 h:3 ag:7", "a 7/"},
		{"one without leaves the client where it is", "o as:1 h:3 ag:", "a 1/3"},
		{"a gap of all channels moves none", "o as:1 h:3 g:", "a 1/3"},
		{"who leaves forgets", "o as:1 bs:2 au: h:4", "b 2/4"},
	}
	kinds := map[byte]Kind{'o': KindOpened, 's': KindSubscribed, 'm': KindMessage, 'g': KindGap, 'h': KindHeartbeat, 'u': KindUnsubscribed}
	for _, test := range tests {
		var c Cursors
		for word := range strings.FieldsSeq(test.log) {
			what, cursor, _ := strings.Cut(word, ":")
			c.Hear(Event{Kind: kinds[what[len(what)-1]], Channel: what[:len(what)-1], Cursor: cursor})
		}
		var got []string
		for _, w := range c.Wishes() {
			got = append(got, fmt.Sprintf("%s %s/%s", w.Channel, w.After, w.At))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s gives %q, want %q", test.why, test.log, got, test.want)
		}
	}
}
