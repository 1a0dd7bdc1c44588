package front

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
)

// maxHead is the size of the largest request head that the front reads, and of
// its buffers. net/http reads larger ones.
const maxHead = 4 << 10

var endOfLine, endOfHead = []byte("\r\n"), []byte("\r\n\r\n")

// begins reports whether b can be the beginning of a request that parse accepts.
func begins(b []byte) bool {
	const first = "GET /"
	return string(b[:min(len(b), len(first))]) == first[:min(len(b), len(first))]
}

// continues reports whether the bytes of b from an index on can be in a request
// that parse accepts: they are text, and its lines end with CR and LF.
func continues(b []byte, from int) bool {
	for i := from; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n':
			if i == 0 || b[i-1] != '\r' {
				return false
			}
		case c != '\r' && classes[c]&isText == 0:
			return false
		}
	}
	return true
}

// parse returns the request with the given head, which ends with an empty line,
// and true if it is an ordinary WebSocket handshake without a body. It accepts
// only what net/http accepts, and returns the same request. In doubt it refuses:
// net/http decides then.
func parse(head []byte) (r http.Request, ok bool) {
	head, whole := bytes.CutSuffix(head, endOfHead)
	line, lines, _ := bytes.Cut(head, endOfLine)
	target, get := bytes.CutPrefix(line, []byte("GET "))
	target, http11 := bytes.CutSuffix(target, []byte(" HTTP/1.1"))
	if !whole || !get || !http11 || !begins(line) || !all(target, isGraphic) {
		return r, false
	}
	uri, h := string(target), parseHeader(lines)
	link, err := url.ParseRequestURI(uri)
	if err != nil || !ordinary(h) {
		return r, false
	}
	host := h["Host"][0]
	delete(h, "Host")
	return http.Request{
		Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		RequestURI: uri, URL: link, Host: host, Header: h, Body: http.NoBody,
	}, true
}

// ordinary reports whether a header is that of a handshake that needs no
// decision of net/http.
func ordinary(h http.Header) bool {
	for _, name := range [...]string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect"} {
		if h[name] != nil {
			return false
		}
	}
	host, upgrade := h["Host"], h["Upgrade"]
	return len(host) == 1 && host[0] != "" && all(host[0], isHost) &&
		len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") &&
		len(h["Connection"]) == 1 && !strings.Contains(strings.ToLower(h["Connection"][0]), "close") &&
		(h["Pragma"] == nil || h["Cache-Control"] != nil) // otherwise net/http adds one
}

// parseHeader parses the lines of a header. It returns nil if one is anything
// but name, colon and visible ASCII with blanks.
func parseHeader(lines []byte) http.Header {
	count := bytes.Count(lines, endOfLine) + 1
	h, values := make(http.Header, count), make([]string, count)
	for i := range count {
		line, rest, _ := bytes.Cut(lines, endOfLine)
		name, value, ok := bytes.Cut(line, []byte{':'})
		if lines = rest; !ok || len(name) == 0 || !all(name, isToken) || !all(value, isText) {
			return nil
		}
		key := canonical(name)
		values[i] = valueString(bytes.TrimSpace(value))
		if before, ok := h[key]; ok {
			h[key] = append(before, values[i])
		} else {
			h[key] = values[i : i+1 : i+1]
		}
	}
	return h
}

// all reports whether all bytes of s are in a class.
func all[T string | []byte](s T, class byte) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// Classes of bytes.
const (
	isToken   = 1 << iota // in a header's name (RFC 9110 section 5.6.2)
	isHost                // in a Host header
	isGraphic             // visible ASCII
	isText                // visible ASCII and blanks
)

var classes = func() (table [256]byte) {
	for c := byte('!'); c <= '~'; c++ {
		table[c] = isGraphic | isText
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			table[c] |= isToken | isHost
		}
	}
	table[' '] = isText
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		table[c] |= isToken
	}
	for _, c := range []byte("!$%&'()*+,-.:;=[]_~") {
		table[c] |= isHost
	}
	return table
}()

// canonical returns a header's name as net/http spells it.
func canonical(name []byte) string {
	if key, ok := canonicalNames[string(name)]; ok {
		return key
	}
	return http.CanonicalHeaderKey(string(name))
}

// canonicalNames are the headers of a browser's handshake, as it sends them.
var canonicalNames = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Host", "Connection", "Upgrade", "Origin", "Cookie", "User-Agent", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma",
		"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions",
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP",
	} {
		m[name], m[strings.ToLower(name)] = http.CanonicalHeaderKey(name), http.CanonicalHeaderKey(name)
	}
	return m
}()

// valueString returns a value as a string of its own: the relay may remember one of
// them as long as the client is connected, and not the memory of all of them. The
// values that all clients send need no memory.
func valueString(value []byte) string {
	for _, common := range [...]string{"Upgrade", "keep-alive, Upgrade", "websocket", "13", "no-cache"} {
		if string(value) == common {
			return common
		}
	}
	return string(value)
}
