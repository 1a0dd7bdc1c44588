package through

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidecast/relay/source"
)

// A stream is an event stream that has begun.
type stream struct {
	transport http.Transport
	response  *http.Response
	reader    *bufio.Reader
	cancel    context.CancelFunc // ends it
}

func (s *stream) close() {
	s.cancel()
	if s.response != nil {
		_ = s.response.Body.Close()
	}
	s.transport.CloseIdleConnections()
}

// errNothing is the reason why a request for a stream ends if nothing arrives.
var errNothing = errors.New("nothing arrives")

// openStream opens an event stream beside the WebSocket, and reports whether it
// begins at once. It returns nil if there is no stream to watch.
func (c *check) openStream(ctx context.Context) *stream {
	began := time.Now()
	streaming, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(answerTime, func() { cancel(errNothing) })
	s := &stream{cancel: func() { cancel(nil) }}
	s.transport = http.Transport{
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialTime, DialContext: (&net.Dialer{Timeout: dialTime}).DialContext,
	}
	request, err := c.streamRequest(streaming)
	if err == nil {
		s.response, err = s.transport.RoundTrip(request) // unlike EventSource, it follows no redirect
	}
	if err == nil {
		if a := c.noStream(s.response); a != nil {
			timer.Stop()
			s.close()
			c.report(ctx, c.streamRefused(a, time.Since(began)))
			return nil
		}
		s.reader = bufio.NewReader(s.response.Body)
		_, err = s.reader.Peek(1)
	}
	timer.Stop()
	if err != nil {
		defer s.close()
		c.report(ctx, c.streamFailed(s.response, context.Cause(streaming), err))
		return nil
	}
	f := source.Finding{Subject: "event stream", Text: "begins at once"}
	if took := time.Since(began); took > c.took+answerTime/2 {
		f = c.buffered(fmt.Sprintf("its beginning arrives after %v: a proxy holds it back", took.Round(time.Second)))
	}
	c.report(ctx, f)
	return s
}

// streamRequest returns a request as of EventSource, but with the token in a
// header, because proxies log URLs.
func (c *check) streamRequest(ctx context.Context) (*http.Request, error) {
	u := c.http()
	u.Path = c.base() + "/sse"
	if c.Channel != "" {
		u.RawQuery = url.Values{"channel": {c.Channel}}.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{"Accept": {"text/event-stream"}, "Cache-Control": {"no-cache"}, "Origin": {c.Origin}}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Cookie != "" {
		request.Header.Set("Cookie", c.Cookie)
	}
	return request, nil
}

// noStream returns the answer if it is not a stream.
func (c *check) noStream(response *http.Response) *answer {
	c.saw(response.Header)
	if response.StatusCode == http.StatusOK && strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return nil
	}
	return newAnswer(response)
}

// streamRefused explains an answer that is not a stream, and that arrived after a
// time.
func (c *check) streamRefused(a *answer, took time.Duration) source.Finding {
	f := source.Finding{Level: source.LevelWarn, Subject: "event stream"}
	own := strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") && a.Header.Get("Cache-Control") == "no-store"
	switch {
	case own && a.StatusCode == http.StatusBadRequest && c.Channel == "":
		f.Level, f.Text = source.LevelOK, "reaches the relay; name a channel with --channel to see whether a proxy holds messages back"
	case own && (a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden):
		f.Text = fmt.Sprintf("reaches the relay, which refuses the channel %q to this client (%d)", c.Channel, a.StatusCode)
		f.Do = "name another channel with --channel, or log in with --token-file or --cookie"
	case own:
		f.Text, f.Do = fmt.Sprintf("the relay answers %d: %s", a.StatusCode, short(strings.TrimSpace(a.body))), "correct the channel"
	case a.StatusCode == http.StatusGatewayTimeout && c.first.Level != source.LevelFail:
		return c.buffered(fmt.Sprintf("%s answers 504 after %s: it waits for the end of the stream, which is never", c.who(a), seconds(took)))
	default:
		if f.Text, f.Do = c.ofRelay(a); f.Text == "" {
			f.Text, f.Do = c.ofProxy(a)
		}
		if f.Text == c.first.Text {
			f.Text, f.Do = "the same answer as for WebSocket", ""
		}
		f.Text += "; pages with EventSource, and sidecast.js where WebSocket fails, receive nothing"
	}
	return f
}

// streamFailed explains a stream of which nothing arrives. response may be nil.
func (c *check) streamFailed(response *http.Response, cause, err error) source.Finding {
	switch {
	case cause == errNothing && response == nil:
		return c.buffered(fmt.Sprintf("no answer arrives within %v: a proxy waits for its end, which is never", answerTime))
	case cause == errNothing:
		return c.buffered(fmt.Sprintf("its beginning does not arrive within %v, although the headers do: a proxy holds it back", answerTime))
	}
	return source.Finding{
		Level: source.LevelFail, Subject: "event stream", Text: "ends before it begins: " + unanswered(err),
		Do: "try again; if it happens again, check the logs of the relay and of the web server",
	}
}

// buffered returns the finding that a proxy buffers the stream.
func (c *check) buffered(text string) source.Finding {
	return source.Finding{
		Level: source.LevelFail, Subject: "event stream", Text: text,
		Do: "let the proxy send each part of /sse at once, and not compress it:\n" + c.fix(fixBuffer),
	}
}
