package relaytest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestHandshakeAnswers: an answer that does not follow from the request is an
// error.
func TestHandshakeAnswers(t *testing.T) {
	const right = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"
	tests := []struct{ why, answer, want string }{
		{"valid", right + "Sec-WebSocket-Protocol: sidecast.v1\r\n", ""},
		{"no subprotocol", right, ""},
		{"another subprotocol", right + "Sec-WebSocket-Protocol: sidecast.raw\r\n", "subprotocol"},
		{"an extension", right + "Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension"},
		{"another key", strings.Replace(right, "KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1), "Sec-WebSocket-Accept"},
		{"no Upgrade", strings.Replace(right, "Upgrade: websocket\r\n", "", 1), "Upgrade"},
		{"not HTTP", "hello\r\n", "answer"},
	}
	for _, test := range tests {
		l := listen(t)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if r, err := http.ReadRequest(newReader(conn)); err == nil {
				key := acceptKey(r.Header.Get("Sec-WebSocket-Key"))
				_, _ = io.WriteString(conn, strings.Replace(test.answer, "KEY", key, 1)+"\r\n")
			}
		}()
		c, err := (&Dialer{URL: "ws://" + l.Addr().String()}).Dial(t.Context())
		switch {
		case err == nil && test.want == "":
			c.Drop()
		case err == nil, test.want == "", !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: %v", test.why, err)
		}
	}
}

// TestFleetErrors: the error of a fleet names the client that failed, and a
// fleet that cannot connect leaves no client.
func TestFleetErrors(t *testing.T) {
	relay := Start(t, nil)
	relay.AwaitReady()
	fleet, err := (&Dialer{URL: relay.URL()}).DialFleet(t.Context(), 3)
	check(t, err)
	defer fleet.Drop()
	fleet[1].Abort()
	err = fleet.Subscribe(t.Context(), "a")
	if err == nil || !strings.Contains(err.Error(), fleet[1].Name()) {
		t.Errorf("subscribing: %v", err)
	}
	if err := fleet.Await(t.Context(), Is(KindGap)); !errors.Is(err, ErrEnded) {
		t.Errorf("awaiting: %v", err)
	}
	var rejected *HandshakeError
	none, err := (&Dialer{URL: relay.URL() + "/nowhere"}).DialFleet(t.Context(), 100)
	if !errors.As(err, &rejected) || none != nil {
		t.Errorf("connecting: %d clients, %v", len(none), err)
	}
}
