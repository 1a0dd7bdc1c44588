package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"sidecast/relay/accept"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
)

// An httpError is the HTTP response to a handshake that fails.
type httpError struct {
	status  int
	text    string
	headers [][2]string
	problem *accept.Problem // nil: it is counted as [stats.RejectHandshake], and not logged
}

func (e *httpError) write(w http.ResponseWriter) {
	for _, header := range e.headers {
		w.Header().Set(header[0], header[1])
	}
	w.Header().Set("Connection", "close")
	http.Error(w, e.text, e.status)
}

// invalidHandshake returns the log's text about a handshake that gets status
// 400 or 426.
func invalidHandshake(text, do string) *accept.Problem {
	return &accept.Problem{Reason: stats.RejectHandshake, Text: text, Do: do}
}

var (
	notUpgrade = &httpError{
		status:  http.StatusUpgradeRequired,
		text:    "this URL accepts only WebSocket connections (RFC 6455): connect with new WebSocket(url)",
		headers: [][2]string{{"Upgrade", "websocket"}},
	}
	// upgradeRemoved is for requests with the key of a handshake, which only
	// WebSocket clients send. [withoutUpgrade] gives it a text.
	upgradeRemoved = httpError{
		status:  http.StatusUpgradeRequired,
		headers: [][2]string{{"Upgrade", "websocket"}},
		problem: invalidHandshake("a WebSocket handshake has lost its Upgrade header, probably in a proxy",
			"let the proxy pass the headers Upgrade and Connection, as HTTP/1.1: see relay/auth/README.md, Web server configuration"),
	}
	wrongVersion = &httpError{
		status:  http.StatusUpgradeRequired,
		text:    "only WebSocket version 13 is supported (RFC 6455)",
		headers: [][2]string{{"Sec-WebSocket-Version", "13"}},
		problem: invalidHandshake("a handshake of another version of WebSocket than 13", "use a client that follows RFC 6455"),
	}
	wrongKey = &httpError{
		status:  http.StatusBadRequest,
		text:    "Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455)",
		problem: invalidHandshake("a handshake without a valid Sec-WebSocket-Key", "use a client that follows RFC 6455"),
	}
	hasBody = &httpError{
		status:  http.StatusBadRequest,
		text:    "a WebSocket handshake has no body (RFC 6455)",
		problem: invalidHandshake("a handshake with a body", "use a client that follows RFC 6455"),
	}
	unknownSubprotocol = &httpError{
		status: http.StatusBadRequest,
		text: "the offered subprotocols are not supported: offer " + protocol.SubprotocolV1 + " or " +
			protocol.SubprotocolRaw + ", in addition to a token; or offer no subprotocol to receive raw payloads",
		problem: invalidHandshake("none of the offered subprotocols is supported", "let the page offer "+protocol.SubprotocolV1+" or "+
			protocol.SubprotocolRaw+", in addition to a token; or no subprotocol, to receive raw payloads"),
	}
	severalTokens = &httpError{
		status:  http.StatusBadRequest,
		text:    "more than one token is offered: offer a single " + protocol.TokenPrefix + "...",
		problem: invalidHandshake("a handshake offers more than one token", "let the page offer a single "+protocol.TokenPrefix+"..."),
	}
	addressLimit = &httpError{
		status:  http.StatusTooManyRequests,
		text:    "too many connections from this address; try again later",
		headers: [][2]string{{"Retry-After", "5"}},
		problem: &accept.AddressLimit,
	}
	forwardedLimit = &httpError{
		status: addressLimit.status, text: addressLimit.text, headers: addressLimit.headers, problem: &accept.ForwardedLimit,
	}
	connectionLimit = &httpError{
		status:  http.StatusServiceUnavailable,
		text:    "too many connections; try again later",
		headers: [][2]string{{"Retry-After", "5"}},
		problem: &accept.ConnectionLimit,
	}
)

// withoutUpgrade says which parts of a handshake are missing.
func withoutUpgrade(r *http.Request) *httpError {
	e := upgradeRemoved
	var lost []string
	if !hasToken(r.Header, headerUpgrade, "websocket") {
		lost = append(lost, "its header Upgrade: websocket")
	}
	if !hasToken(r.Header, headerConnection, "upgrade") {
		lost = append(lost, "its header Connection: Upgrade")
	}
	e.text = "this WebSocket handshake arrived as " + r.Proto
	if len(lost) > 0 {
		e.text += " without " + strings.Join(lost, " and ")
	}
	e.text += ": a proxy must pass them on, as HTTP/1.1"
	return &e
}

// notUpgraded is a handshake that the relay accepts and the library does not.
var notUpgraded = accept.Problem{
	Reason: stats.RejectHandshake,
	Text:   "the connection could not be upgraded, although the handshake is valid",
	Do:     "report the client and its request headers as a bug of Sidecast",
}

// problems has the log's texts about clients that are rejected with a close
// code.
var problems = map[protocol.CloseCode]*accept.Problem{
	protocol.ClosePolicy.Because(protocol.ReasonQuery): {
		Reason: stats.RejectBadRequest,
		Text:   "the query of the URL is invalid: it contains a semicolon, or a % without two hexadecimal digits after it",
		Do:     "encode channel names with encodeURIComponent, and separate parameters with &",
	},
	protocol.ClosePolicy.Because(protocol.ReasonNoChannel): {
		Reason: stats.RejectBadRequest,
		Text:   "the URL names no channel, and there is no default channel",
		Do:     "add ?channel=NAME to the URL (channel, not channel[] or channels), or set SIDECAST_DEFAULT_CHANNELS",
	},
	protocol.ClosePolicy.Because(protocol.ReasonChannels): {
		Reason: stats.RejectBadRequest,
		Text:   "the URL asks for more channels than one client may have",
		Do:     "name fewer channels, or raise SIDECAST_MAX_CHANNELS_PER_SESSION",
	},
	protocol.CloseUnknownApp: {
		Reason: stats.RejectBadRequest,
		Text:   "a client of the Pusher protocol has another key than SIDECAST_PUSHER_KEY (close code 4001)",
		Do:     "let the page use that key: VITE_REVERB_APP_KEY or VITE_PUSHER_APP_KEY in Laravel",
	},
	protocol.CloseVersion: {
		Reason: stats.RejectBadRequest,
		Text:   "a client speaks a version of the Pusher protocol that the relay does not support (close code 4007)",
		Do:     "use a client for version 5, 6 or 7: pusher-js 2 or later",
	},
	protocol.CloseTooBig: {
		Reason: stats.RejectBadRequest,
		Text:   "a message from a client is larger than SIDECAST_MAX_INBOUND_BYTES (close code 1009)",
		Do:     "let the page send smaller messages, or raise SIDECAST_MAX_INBOUND_BYTES",
	},
}

// rejections maps the close code of a rejected client to the label of the
// metric.
var rejections = map[protocol.CloseCode]stats.Rejection{
	protocol.CloseForbidden:    stats.RejectForbidden,
	protocol.ClosePolicy:       stats.RejectBadRequest,
	protocol.CloseTryLater:     stats.RejectUnavailable,
	protocol.CloseRestart:      stats.RejectDraining,
	protocol.CloseUnauthorized: stats.RejectUnauthorized,
}

// rejectTimeout limits the time for writing a rejection. The kernel of a new
// connection accepts it immediately; the time is for a process that gets little
// processor time while many clients connect and are rejected.
const rejectTimeout = 5 * time.Second

// acceptAndClose accepts the handshake and closes the connection immediately,
// so that the page receives the close code. The client gets no session and no
// outbox.
func acceptAndClose(w http.ResponseWriter, r *http.Request, c *codec, code protocol.CloseCode) {
	netConn, _, err := transport.Hijack(w)
	if err != nil {
		return
	}
	defer netConn.Close()
	_ = netConn.SetWriteDeadline(time.Now().Add(rejectTimeout))
	response := append(switchingProtocols(r.Header.Get(headerKey), c.name), c.protocol.Close(code)...)
	if _, err := netConn.Write(response); err != nil {
		return
	}
	if half, ok := netConn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = netConn.SetReadDeadline(time.Now().Add(transport.LingerTime))
	// If the relay closed the connection with unread bytes, the kernel would
	// send a reset, and the page would lose the close frame.
	_, _ = io.Copy(io.Discard, io.LimitReader(onlyReader{netConn}, 64<<10))
}

// onlyReader hides the methods of a connection that io.Copy would use instead
// of Read.
type onlyReader struct{ net.Conn }

// switchingProtocols returns the response to a valid handshake (RFC 6455
// section 4.2.2).
func switchingProtocols(key, subprotocol string) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	b := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	if subprotocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), subprotocol...)
	}
	return append(b, "\r\n\r\n"...)
}
