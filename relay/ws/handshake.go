package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A fault is what is wrong with a handshake, in HTTP.
type fault struct {
	status  int
	text    string
	headers [][2]string
}

func (f *fault) answer(w http.ResponseWriter) {
	for _, header := range f.headers {
		w.Header().Set(header[0], header[1])
	}
	w.Header().Set("Connection", "close")
	http.Error(w, f.text, f.status)
}

var (
	notUpgrade = &fault{status: http.StatusUpgradeRequired, text: "this address speaks WebSocket (RFC 6455): " +
		"connect with new WebSocket(url)", headers: [][2]string{{"Upgrade", "websocket"}}}
	wrongVersion = &fault{status: http.StatusUpgradeRequired, text: "WebSocket version 13 is spoken here (RFC 6455)",
		headers: [][2]string{{"Sec-WebSocket-Version", "13"}}}
	wrongKey      = &fault{status: http.StatusBadRequest, text: "Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455)"}
	wrongProtocol = &fault{status: http.StatusBadRequest, text: "none of the offered subprotocols is spoken here: " +
		"offer " + protocol.SubprotocolV1 + " or " + protocol.SubprotocolRaw + " (a token beside it), or none at all for raw payloads"}
	twoTokens = &fault{status: http.StatusBadRequest, text: "more than one token is offered: offer one " +
		protocol.TokenPrefix + "..."}
	tooManyHere = &fault{status: http.StatusTooManyRequests, text: "too many connections from this address; try again later",
		headers: [][2]string{{"Retry-After", "5"}}}
	tooMany = &fault{status: http.StatusServiceUnavailable, text: "too many connections; try again later",
		headers: [][2]string{{"Retry-After", "5"}}}
)

// IsUpgrade reports whether a request wants to become a WebSocket connection, well or badly.
func IsUpgrade(r *http.Request) bool {
	return hasToken(r.Header, "Upgrade", "websocket") || r.Header.Get(headerKey) != ""
}

// judge finds out what to speak, or what is wrong with the handshake (RFC 6455 section 4.2.1).
func (h *Handler) judge(r *http.Request, hs *handshake) *fault {
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 ||
		!hasToken(r.Header, "Upgrade", "websocket") || !hasToken(r.Header, "Connection", "upgrade") {
		return notUpgrade
	}
	if r.Header.Get(headerVersion) != "13" {
		return wrongVersion
	}
	if keys := r.Header[headerKey]; len(keys) != 1 || !validKey(keys[0]) {
		return wrongKey
	}
	return h.subprotocol(r.Header[headerProtocol], hs)
}

// Headers in the form in which net/http keeps them, which is not how RFC 6455 writes them: finding the form costs an
// allocation each time.
const (
	headerKey      = "Sec-Websocket-Key"
	headerVersion  = "Sec-Websocket-Version"
	headerProtocol = "Sec-Websocket-Protocol"
)

// validKey reports whether key is 16 bytes in base64.
func validKey(key string) bool {
	var bytes [18]byte
	if len(key) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(bytes[:], []byte(key))
	return err == nil && n == 16
}

// subprotocol finds the first offered name that is known, or "" where none was offered. A token is no name: it has to
// stand beside one, because a browser fails a connection whose answer names none of what it offered.
func (h *Handler) subprotocol(lines []string, hs *handshake) *fault {
	if len(lines) == 0 {
		hs.tongue = h.tongues[""]
	}
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			if token, ok := strings.CutPrefix(name, protocol.TokenPrefix); ok {
				if hs.token != nil {
					return twoTokens
				}
				hs.token = &token
			} else if known := h.tongues[name]; known != nil && name != "" && hs.tongue == nil {
				hs.tongue = known
			}
		}
	}
	if hs.tongue == nil {
		return wrongProtocol
	}
	return nil
}

// hasToken reports whether a comma-separated header holds token, in any case.
func hasToken(header http.Header, name, token string) bool {
	for _, line := range header.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// A wish is what a client asks for with its handshake: a raw one by its URL, all of it; others ask on the connection.
type wish struct {
	channels []string
	own      bool // the channels of the client's identity too
}

// wishOf reads the URL of a raw client, or returns why it is impossible. Named channels are exactly those; none named means
// the defaults and the identity's.
func (h *Handler) wishOf(r *http.Request, hs *handshake) protocol.CloseCode {
	w, id := &hs.wish, hs.client.Identity
	if hs.tongue.protocol.ID() != protocol.RawID {
		w.own = true
		return 0
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return protocol.ClosePolicy
	}
	hs.client.PublishTo = query.Get("publish")
	hs.client.NoEcho = query.Get("echo") == "false"
	hs.client.GapClose = query.Get("gap") == "close"
	w.channels = query["channel"]
	if len(w.channels) == 0 {
		w.channels, w.own = h.cfg.DefaultChannels, true
	}
	if hs.client.PublishTo == "" && len(w.channels) == 1 {
		hs.client.PublishTo = w.channels[0]
	}
	if w.own && id != nil {
		w.channels = slices.Concat(w.channels, id.Join) // all or nothing: what a token asks for has to be open
	}
	if len(w.channels) == 0 && (id == nil || len(id.Own) == 0) {
		return protocol.ClosePolicy // nothing to hear
	}
	return 0
}

// rejections sorts the codes of refused handshakes for the metric.
var rejections = map[protocol.CloseCode]stats.Rejection{
	protocol.CloseForbidden:    stats.RejectForbidden,
	protocol.ClosePolicy:       stats.RejectBadRequest,
	protocol.CloseTryLater:     stats.RejectUnavailable,
	protocol.CloseRestart:      stats.RejectDraining,
	protocol.CloseUnauthorized: stats.RejectUnauthorized,
}

// refusalTime is how long writing a refusal may take. The kernel of a new connection takes it at once; what takes time is
// to get the processor, in the very rush that is being refused.
const refusalTime = 5 * time.Second

// refuse accepts the handshake and closes at once with code, so that the page learns why. There is no session and no
// outbox: the answer is written by hand.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, name string, code protocol.CloseCode) {
	netConn, _, err := hijack(w)
	if err != nil {
		return
	}
	defer netConn.Close()
	_ = netConn.SetWriteDeadline(time.Now().Add(refusalTime))
	answer := append(acceptance(r.Header.Get(headerKey), name), protocol.CloseFrame(code)...)
	if _, err := netConn.Write(answer); err != nil {
		return
	}
	if half, ok := netConn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = netConn.SetReadDeadline(time.Now().Add(lingerTime))
	// Closing with bytes unread would reset the connection, and the page would miss the close frame.
	_, _ = io.Copy(io.Discard, io.LimitReader(onlyReader{netConn}, 64<<10))
}

// onlyReader keeps io.Copy from using anything but Read.
type onlyReader struct{ net.Conn }

// acceptance is the answer to a handshake (RFC 6455 section 4.2.2).
func acceptance(key, subprotocol string) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	b := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	if subprotocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), subprotocol...)
	}
	return append(b, "\r\n\r\n"...)
}
