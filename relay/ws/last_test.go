package ws

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// A raw client receives the newest messages that its URL asks for. Otherwise
// the setting decides, also for the channels of its user.
func TestRawLast(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) {
		c.hub.HistoryBytes, c.hub.HistoryAge = 1<<20, 1<<40
		c.hub.Last = func(channel string) int {
			if strings.HasPrefix(channel, "user:") {
				return 2
			}
			return 0
		}
		c.ws.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) {
			return access.Principal{Identity: &access.Identity{User: "7", Own: []string{"user:7"}}}, 0
		}
		c.ws.DefaultChannels = nil
	})
	publish := func() {
		for n := range 5 {
			r.publish("chat", strconv.Itoa(n))
			r.publish("user:7", "own "+strconv.Itoa(n))
		}
	}
	for _, test := range []struct {
		target string
		want   []string
	}{
		{"/?channel=chat&last=3", []string{"2", "3", "4"}},
		{"/?last=5&channel=chat", []string{"0", "1", "2", "3", "4"}},
		{"/?channel=chat", nil},
		{"/?channel=chat&last=0", nil},
		{"/?channel=user:7", []string{"own 3", "own 4"}},
		{"/?channel=user:7&last=0", nil},
		{"/", []string{"own 3", "own 4"}},
		{"/?last=1", []string{"own 4"}},
		{"/?last=0", nil},
	} {
		publish()
		p := r.dial(test.target)
		for _, payload := range test.want {
			p.want(1, payload)
		}
		r.publish("chat", "end")
		r.publish("user:7", "end")
		p.want(1, "end")
		_ = p.conn.Close()
	}
}

func TestRawLastIsRefused(t *testing.T) {
	r := newTestRelay(t)
	for _, value := range []string{"", "101", "-1", "1.5", "all", "%20"} {
		r.dial("/?channel=chat&last=" + value).wantClose(protocol.ClosePolicy.Because(protocol.ReasonLast))
	}
}
