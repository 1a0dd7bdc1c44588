package relaytest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestSendRaw: bytes go out as they are, and the log says that the client is to blame.
func TestSendRaw(t *testing.T) {
	l := listen(t)
	heard := make(chan []byte, 1)
	go func() {
		conn, err := accept(l)
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 14)
		_, _ = io.ReadFull(conn, b)
		heard <- b
	}()
	c := dial(t, &Dialer{URL: "ws://" + l.Addr().String(), Protocol: Raw})
	sent := []byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}
	check(t, c.SendRaw(sent))
	if b := <-heard; string(b) != string(sent) {
		t.Errorf("the relay heard %x", b)
	}
	await(t, c, Is(KindEnd))
	if kinds := kindsOf(c); kinds != "opened | sent raw bytes | end" {
		t.Errorf("log %s", kinds)
	}
	if err := c.SendText("x"); err == nil {
		t.Error("a closed connection was written to")
	}
}

// TestMute: a client whose path is cut says nothing, whatever it is asked.
func TestMute(t *testing.T) {
	l := listen(t)
	answered := make(chan error, 1)
	go func() {
		conn, err := accept(l)
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 100)) // the client is mute now
		_, _ = conn.Write([]byte{0x89, 1, 'x', 0x88, 2, 0x03, 0xe9})
		_ = conn.CloseWrite()
		n, err := conn.Read(make([]byte, 100))
		if n > 0 {
			err = fmt.Errorf("%d bytes", n)
		}
		answered <- err
	}()
	c := dial(t, &Dialer{URL: "ws://" + l.Addr().String(), Protocol: Raw})
	c.Mute()
	check(t, c.SendText("now"))
	if err := <-answered; err != io.EOF {
		t.Errorf("the client answered: %v", err)
	}
	<-c.Done()
	if kinds := kindsOf(c); kinds != "opened | muted | sent | ping frame | close | end" {
		t.Errorf("log %s", kinds)
	}
	if e := c.Last(); e.Code != 1001 {
		t.Errorf("end %+v", e)
	}
}

// TestAnswerToTheHandshake: what does not follow from the offer is no WebSocket connection.
func TestAnswerToTheHandshake(t *testing.T) {
	const right = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"
	tests := []struct{ why, answer, want string }{
		{"all well", right + "Sec-WebSocket-Protocol: sidecast.v1\r\n", ""},
		{"nothing echoed", right, ""},
		{"another subprotocol", right + "Sec-WebSocket-Protocol: sidecast.raw\r\n", "subprotocol"},
		{"an extension", right + "Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension"},
		{"another key's answer", strings.Replace(right, "KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1), "Sec-WebSocket-Accept"},
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

// TestFleetFails: one client that fails fails the fleet, by its name.
func TestFleetFails(t *testing.T) {
	f := newFake(t, mutation{})
	fleet, err := (&Dialer{URL: f.url}).DialFleet(t.Context(), 3)
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
	var refused *HandshakeError
	if fleet, err := (&Dialer{URL: f.url + "/nowhere"}).DialFleet(t.Context(), 100); !errors.As(err, &refused) || fleet != nil {
		t.Errorf("dialling: %d clients, %v", len(fleet), err)
	}
}
