package ws

import (
	"io"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

func TestURLMistake(t *testing.T) {
	for query, want := range map[string]protocol.CloseReason{
		"": 0, "channel=a": 0, "channel=a&publish=b&echo=false&gap=close&last=1": 0, "v=1&utm_source=x&channel=chanel": 0, "eyJhbGciOi.x.y": 0,
		"map=1": 0, "app=1": 0, "&&=": 0, "%zz=1": 0,
		"chanel=a": protocol.ReasonParameter, "v=1&channels=a": protocol.ReasonParameter, "channel[]=a": protocol.ReasonParameter,
		"channel%5B%5D=a": protocol.ReasonParameter, "Channel=a": protocol.ReasonParameter, "channle=a": protocol.ReasonParameter,
		"room=a": protocol.ReasonParameter, "pubish=a": protocol.ReasonParameter, "Gap=close": protocol.ReasonParameter, "Last=1": protocol.ReasonParameter, "lasts=1": protocol.ReasonParameter, "+channel=a": protocol.ReasonParameter,
		"token=x": protocol.ReasonToken, "channel=a&access_token=x": protocol.ReasonToken, "JWT=x": protocol.ReasonToken,
	} {
		if got := urlMistake(query); got != want {
			t.Errorf("urlMistake(%q) = %q, want %q", query, got, want)
		}
	}
}

// A client that is refused after a mistake in its URL learns of the mistake from
// the close reason.
func TestMistakesInURLsAreReasons(t *testing.T) {
	open := access.Patterns{access.MustPattern("chat:1")}
	for _, test := range []struct {
		target string
		login  bool
		want   protocol.CloseCode
	}{
		{"/?channel=chat:1,chat:2", false, protocol.CloseForbidden.Because(protocol.ReasonComma)},
		{"/?channel=chat:1&channel=chat:*", false, protocol.CloseForbidden.Because(protocol.ReasonPattern)},
		{"/?channel=chat:1+", false, protocol.CloseForbidden.Because(protocol.ReasonBlank)},
		{"/?channel=chat:1%0A", false, protocol.CloseForbidden.Because(protocol.ReasonBlank)},
		{"/?channel=chat:*", true, protocol.CloseUnauthorized.Because(protocol.ReasonPattern)},
		{"/?chanel=chat:1", false, protocol.ClosePolicy.Because(protocol.ReasonParameter)},
		{"/?channel=other&token=x.y.z", true, protocol.CloseUnauthorized.Because(protocol.ReasonToken)},
		{"/?channel=other&token=x.y.z", false, protocol.CloseForbidden.Because(protocol.ReasonToken)},
		{"/?channel=sidecast:mark&token=x.y.z", false, protocol.CloseForbidden.Because(protocol.ReasonName)},
		{"/?v=1", false, protocol.ClosePolicy.Because(protocol.ReasonNoChannel)},
	} {
		t.Run(test.target, func(t *testing.T) {
			r := newTestRelay(t, func(c *relayConfig) {
				c.ws.DefaultChannels, c.hub.Access.Public, c.hub.Access.Login = nil, open, test.login
			})
			p := r.dial(test.target)
			p.wantClose(test.want)
			_ = p.conn.Close()
			if log := r.log.String(); strings.Contains(log, "mistake") {
				t.Errorf("the close reason says it, and the log too:\n%s", log)
			}
		})
	}
}

// A client that is admitted despite a mistake gets no error, so the log has the
// mistake.
func TestMistakesAreLogged(t *testing.T) {
	r := newTestRelay(t)
	for _, test := range []struct {
		target, subprotocol, want string
	}{
		{"/?channel=chat:1,chat:2", "", `channel=chat:1,chat:2 hint="` + protocol.ReasonComma.String()},
		{"/?channel=chat:*", "", `channel=chat:* hint="` + protocol.ReasonPattern.String()},
		{"/?channel=chat+", "", `channel="chat " hint="` + protocol.ReasonBlank.String()},
		{"/?chanel=a", "", `hint="` + protocol.ReasonParameter.String()},
		{"/?channel=a&token=hunter2", "", `hint="` + protocol.ReasonToken.String()},
		{"/?token=hunter2", v1Header, `hint="` + protocol.ReasonToken.String()},
		{"/?channel=a", v1Header, "send subscribe instead"},
	} {
		var headers []string
		if test.subprotocol != "" {
			headers = append(headers, test.subprotocol)
		}
		r.dial(test.target, headers...)
		await(t, "the log line for "+test.target, func() bool { return strings.Contains(r.log.String(), test.want) })
	}
	p := r.dialV1()
	p.write(text(`{"type":"subscribe","channels":["news:*","news"]}`))
	p.wantText(`{"type":"subscribed","channel":"news:*"`)
	p.wantText(`{"type":"subscribed","channel":"news"`)
	if log := r.log.String(); strings.Count(log, "channel=news") != 1 || strings.Contains(log, "hunter2") {
		t.Errorf("the log is\n%s", log)
	}
}

// A program that expects server-sent events learns that they have another path.
func TestEventSource(t *testing.T) {
	r := newTestRelay(t)
	p := r.connect()
	p.write([]byte("GET /ws HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"))
	response := p.response()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != 426 || !strings.Contains(string(body), "the path /sse with new EventSource(url)") {
		t.Errorf("%s, %q", response.Status, body)
	}
	if !strings.Contains(r.log.String(), `problem="a request for server-sent events"`) {
		t.Errorf("the log is\n%s", r.log.String())
	}
}
