package auth

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// newHTTPClient returns a client that keeps up to maxConns connections to a
// host open. It does not follow redirects, ignores HTTP_PROXY and the like, and
// does not decompress. The caller bounds the time and the size of an answer.
func newHTTPClient(maxConns int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			MaxIdleConnsPerHost:    maxConns,
			MaxConnsPerHost:        maxConns,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A reply is the HTTP response of another server.
type reply struct {
	asked  time.Time // before the request was sent
	date   string    // the header Date
	status int
	body   []byte
	// misdirected is why the response says nothing but that the URL is wrong;
	// nil for any other response.
	misdirected *problem
}

// httpGet sends a GET request and returns the response. It returns a [problem]
// if the body is longer than maxBytes, or if ctx ends before the whole body has
// arrived.
func httpGet(ctx context.Context, client *http.Client, url string, header http.Header, maxBytes int) (reply, error) {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(traced, http.MethodGet, url, nil)
	if err != nil {
		return reply{}, &problem{text: "the request cannot be created", do: "correct the URL"}
	}
	request.Header = header
	asked := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return reply{}, connectionProblem(ctx, err, connected.Load())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(maxBytes)+1))
	switch {
	case err != nil:
		return reply{}, connectionProblem(ctx, err, true)
	case len(body) > maxBytes:
		return reply{}, errTooLarge
	}
	return reply{
		asked: asked, date: response.Header.Get("Date"), status: response.StatusCode, body: body,
		misdirected: cmp.Or(redirectProblem(response), schemeProblem(response, body)),
	}, nil
}
