package ws

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lxzan/gws"
)

// These tests check properties of the WebSocket library that this package
// depends on. If one fails after an update of the library, review the code that
// its comment names: it may be unnecessary or insufficient now.

// The library accepts a key of any length: see [handshake.validate].
func TestGwsAcceptsShortKey(t *testing.T) {
	for _, key := range []string{"x", "dGhlIHNhbXBsZSBub25jZQ", strings.Repeat("A", 100)} {
		r := handshakeRequest(t)
		r.Header.Set("Sec-WebSocket-Key", key)
		w := &memConn{end: io.EOF}
		if _, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, options(1000)).UpgradeFromConn(w, bufio.NewReader(w), r); err != nil {
			t.Errorf("the key %q is rejected: %v", key, err)
		}
	}
}

// An upgrader with subprotocols rejects a client that offers no subprotocol:
// each [codec] has its own upgrader.
func TestGwsRejectsClientWithoutSubprotocol(t *testing.T) {
	o := options(1000)
	o.SubProtocols = []string{"sidecast.v1"}
	w := &memConn{end: io.EOF}
	_, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, o).UpgradeFromConn(w, bufio.NewReader(w), handshakeRequest(t))
	if !errors.Is(err, gws.ErrSubprotocolNegotiation) {
		t.Errorf("a client that offers no subprotocol: %v", err)
	}
}

// Upgrade loses the bytes that a client sends in one packet with its handshake:
// see [hijack].
func TestGwsDropsEarlyBytes(t *testing.T) {
	w := &memConn{end: io.EOF}
	log := &eventLog{result: &result{}}
	early := bufio.NewReader(bytes.NewReader(text("early")))
	if _, err := early.Peek(1); err != nil {
		t.Fatal(err)
	}
	writer := hijackable{httptest.NewRecorder(), w, bufio.NewReadWriter(early, nil)}
	socket, err := gws.NewUpgrader(log, options(1000)).Upgrade(writer, handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	socket.ReadLoop()
	if len(log.messages) != 0 {
		t.Errorf("Upgrade keeps the bytes that net/http has buffered: %q", log.messages)
	}
}

type hijackable struct {
	http.ResponseWriter
	conn     net.Conn
	buffered *bufio.ReadWriter
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.buffered, nil }
