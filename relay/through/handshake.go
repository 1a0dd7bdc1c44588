package through

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/source"
)

// An answer is the response to a handshake or to a request for a stream.
type answer struct {
	*http.Response
	body string // its beginning, unless the response is a WebSocket or a stream
}

// open connects to the WebSocket, and reports each fault on the way to the
// relay's welcome. It returns nil if there is no WebSocket, and false if there is
// no connection at all.
func (c *check) open(ctx context.Context) (s *socket, connected bool) {
	began := time.Now()
	s, response, err := c.handshake(ctx, c.dialect().subprotocol, "")
	f := source.Finding{Level: source.LevelFail, Subject: "WebSocket"}
	if failed, ok := errors.AsType[dialError](err); ok {
		c.report(ctx, c.connectProblem(failed.error))
		return nil, false
	}
	switch {
	case err != nil:
		f.Text, f.Do = "the handshake gets no answer: "+unanswered(err), "check the web server's log, and whether a relay runs after it"
	case s == nil:
		f = c.refused(response)
	case !c.plain && response.Header.Get("Sec-WebSocket-Extensions") != "":
		s.close()
		c.plain = true
		c.report(ctx, compressed(response))
		return c.open(ctx)
	default:
		if f = c.checkAnswer(s, response); f.Level == source.LevelOK {
			f = c.welcome(s)
		}
	}
	c.took, c.first = time.Since(began), f
	c.report(ctx, f)
	if f.Level == source.LevelFail && s != nil {
		s.close()
		s = nil
	}
	return s, true
}

// compressed reports an extension, which the relay does not offer.
func compressed(a *answer) source.Finding {
	return source.Finding{
		Level: source.LevelWarn, Subject: "WebSocket",
		Text: fmt.Sprintf("the answer accepts the extension %q, which the relay never does: a proxy unpacks and packs all messages",
			short(a.Header.Get("Sec-WebSocket-Extensions"))),
		Do: "let the proxy pass the bytes of WebSocket connections through, or turn off its compression",
	}
}

// A dialError says why there is no connection.
type dialError struct{ error }

// handshake connects and does the handshake of a browser. The socket is nil if
// the answer is not 101.
func (c *check) handshake(ctx context.Context, subprotocol, query string) (*socket, *answer, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, nil, dialError{err}
	}
	c.checkCertificate(ctx, conn)
	s := &socket{conn: conn, reader: bufio.NewReader(conn)}
	s.stop = context.AfterFunc(ctx, func() { conn.Close() })
	response, err := c.upgrade(ctx, s, subprotocol, query)
	if response != nil {
		c.saw(response.Header)
	}
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		s.stop()
		conn.Close()
		return nil, response, err
	}
	return s, response, nil
}

// upgrade does the handshake on a connection.
func (c *check) upgrade(ctx context.Context, s *socket, subprotocol, query string) (*answer, error) {
	s.key = base64.StdEncoding.EncodeToString([]byte(rand.Text()[:16]))
	request := c.request(ctx, s.key, subprotocol, query)
	_ = s.conn.SetDeadline(time.Now().Add(answerTime))
	defer func() { _ = s.conn.SetDeadline(time.Time{}) }()
	if err := request.Write(s.conn); err != nil {
		return nil, err
	}
	for {
		response, err := http.ReadResponse(s.reader, request)
		switch {
		case err != nil:
			return nil, err
		case response.StatusCode == http.StatusSwitchingProtocols:
			return &answer{Response: response}, nil
		case response.StatusCode >= 200: // others, such as 103, are followed by another response
			return newAnswer(response), nil
		}
	}
}

// newAnswer reads the beginning of a response's body, as far as it arrives.
func newAnswer(response *http.Response) *answer {
	defer response.Body.Close()
	var reader io.Reader = response.Body
	if response.Header.Get("Content-Encoding") == "gzip" {
		if unzipped, err := gzip.NewReader(reader); err == nil {
			reader = unzipped
		}
	}
	body, _ := io.ReadAll(io.LimitReader(reader, maxAnswer))
	return &answer{response, string(body)}
}

// request returns a handshake like those of Chromium.
func (c *check) request(ctx context.Context, key, subprotocol, query string) *http.Request {
	u := c.http()
	u.RawQuery = query
	request := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}).WithContext(ctx)
	if c.Token != "" && subprotocol != "" {
		subprotocol += ", " + protocol.TokenPrefix + c.Token
	}
	extensions := "permessage-deflate; client_max_window_bits"
	if c.plain {
		extensions = ""
	}
	for _, header := range [][2]string{ // spelled as browsers do, for proxies that distinguish
		{"Connection", "Upgrade"},
		{"Pragma", "no-cache"},
		{"Cache-Control", "no-cache"},
		{"User-Agent", "Mozilla/5.0 (compatible; sidecast check)"},
		{"Upgrade", "websocket"},
		{"Origin", c.Origin},
		{"Sec-WebSocket-Version", "13"},
		{"Accept-Encoding", "gzip"},
		{"Accept-Language", "en"},
		{"Sec-WebSocket-Key", key},
		{"Sec-WebSocket-Extensions", extensions},
		{"Sec-WebSocket-Protocol", subprotocol},
		{"Cookie", c.Cookie},
	} {
		if header[1] != "" {
			request.Header[header[0]] = []string{header[1]}
		}
	}
	return request
}

// checkAnswer checks the headers of the answer 101 as a browser does.
func (c *check) checkAnswer(s *socket, a *answer) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: "WebSocket"}
	sum := sha1.Sum([]byte(s.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	got := a.Header.Get("Sec-WebSocket-Protocol")
	switch {
	case !strings.EqualFold(a.Header.Get("Upgrade"), "websocket"), !strings.Contains(strings.ToLower(a.Header.Get("Connection")), "upgrade"):
		f.Text = "the answer 101 has lost its header Upgrade or Connection, so browsers reject it"
		f.Do = "let the proxy pass both headers back:\n" + c.fix(fixUpgrade)
	case a.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		f.Text = "the answer 101 has a wrong Sec-WebSocket-Accept, so browsers reject it"
		f.Do = "let the proxy pass the headers Sec-WebSocket-Key and Sec-WebSocket-Accept unchanged, and cache nothing:\n" + c.fix(fixHandshake)
	case a.Header.Get("Sec-WebSocket-Extensions") != "":
		f.Text = "the answer 101 accepts an extension that was not offered, so browsers reject it"
		f.Do = "let the proxy set no header Sec-WebSocket-Extensions:\n" + c.fix(fixHandshake)
	case got != c.dialect().subprotocol:
		f.Text = "the header Sec-WebSocket-Protocol is missing in the answer, so browsers close the connection"
		if first, _ := s.await(); !strings.Contains(first, `"welcome"`) {
			f.Text = "the header Sec-WebSocket-Protocol does not reach the relay, so browsers close the connection"
		}
		f.Do = "let the proxy pass it in both directions:\n" + c.fix(fixHandshake)
	default:
		f.Level = source.LevelOK
	}
	return f
}

// welcome waits for the relay's first frame.
func (c *check) welcome(s *socket) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: "WebSocket"}
	text, err := s.await()
	first, known := readWelcome(text)
	if end, ok := errors.AsType[*closed](err); ok {
		return c.closedAtOnce(end)
	}
	switch {
	case err != nil:
		f.Text = "the handshake succeeds, but the relay's first frame does not arrive: " + ended(err)
		f.Do = "let the proxy pass the bytes after the answer 101 in both directions:\n" + c.fix(fixUpgrade)
	case !known:
		f.Text, f.Do = fmt.Sprintf("another program than Sidecast answers: its first frame is %q", short(text)), "correct the URL, or the proxy's upstream"
	default:
		c.heartbeat = first.every()
		f.Level, f.Text = source.LevelOK, fmt.Sprintf("works: a page of %s can connect", c.Origin)
		switch {
		case first.Offline:
			f.Level, f.Text, f.Do = source.LevelWarn, f.Text+"; but the relay has lost its connection to Redis", "run `sidecast check` there, with the relay's settings"
		case first.User != "":
			f.Text += fmt.Sprintf(", as user %q", short(first.User))
		case c.Cookie != "" && c.dialect() != pusher:
			f.Level, f.Text = source.LevelWarn, f.Text+", but the relay does not know the user"
			f.Do = "check the cookie with `sidecast check --cookie` and the relay's settings; if it is right, let the proxy pass the Cookie header"
		}
	}
	return f
}

// closedAtOnce explains a close code in place of the relay's welcome.
func (c *check) closedAtOnce(end *closed) source.Finding {
	f := source.Finding{
		Level: source.LevelFail, Subject: "WebSocket",
		Text: fmt.Sprintf("the proxies pass it, but the relay closes it with %d: %q", end.Code, end.Reason),
		Do:   "see the relay's log",
	}
	switch {
	case end.Code == protocol.CloseUnauthorized && (c.Token != "" || c.Cookie != ""):
		f.Do = "log in with a token or cookie that is valid; the relay's log says what is wrong with this one"
	case end.Code == protocol.CloseUnknownApp:
		f.Do = "use the key in SIDECAST_PUSHER_KEY"
	case end.Code == protocol.CloseTryLater, end.Code == protocol.CloseRestart:
		f.Do = "try again; if it happens again, see the relay's log"
	}
	return f
}
