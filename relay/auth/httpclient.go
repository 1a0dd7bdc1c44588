package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
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
	chain  []*x509.Certificate // of the server; nil without TLS
	// misdirected is why the response says nothing but that the URL is wrong;
	// nil for any other response.
	misdirected *problem
}

// A question is a request without its URL.
type question struct {
	header http.Header
	form   string // the body of a POST request; empty: a GET request
}

// httpGet sends a GET request, like [httpAsk].
func httpGet(ctx context.Context, client *http.Client, url string, header http.Header, maxBytes int) (reply, error) {
	return httpAsk(ctx, client, url, question{header: header}, maxBytes)
}

// httpAsk sends a request and returns the response. It returns a [problem] if
// the body is longer than maxBytes, or if ctx ends before the whole body has
// arrived.
func httpAsk(ctx context.Context, client *http.Client, url string, q question, maxBytes int) (reply, error) {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	method, form := http.MethodGet, io.Reader(nil)
	if q.form != "" {
		method, form = http.MethodPost, strings.NewReader(q.form)
	}
	request, err := http.NewRequestWithContext(traced, method, url, form)
	if err != nil {
		return reply{}, &problem{text: "the request cannot be created", do: "correct the URL"}
	}
	request.Header = q.header
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
	var chain []*x509.Certificate
	if response.TLS != nil {
		chain = response.TLS.PeerCertificates
	}
	return reply{
		chain: chain, asked: asked, date: response.Header.Get("Date"), status: response.StatusCode, body: body,
		misdirected: cmp.Or(redirectProblem(response), schemeProblem(response, body)),
	}, nil
}
