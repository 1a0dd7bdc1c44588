package auth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// Reasons why the answer of another server cannot be used. They replace the
// errors of net/http, whose texts may contain URLs and secrets in them.
var (
	errRequest    = errors.New("the request cannot be created")
	errConnection = errors.New("the connection failed")
	errTimeout    = errors.New("no complete answer in time")
	errTooLarge   = errors.New("the answer is too large")
	errMalformed  = errors.New("the answer has the wrong format")
)

// explain returns why the answer of another server cannot be used, and what the
// operator can do about it. Only texts from this package are logged.
func explain(err error) (reason, do string) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.text, p.do
	}
	for _, known := range []error{errRequest, errConnection, errTimeout, errTooLarge, errMalformed, errKeysStatus} {
		if errors.Is(err, known) {
			return known.Error(), ""
		}
	}
	return errConnection.Error(), ""
}

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

// httpGet sends a GET request and returns the answer's status and body. It
// returns an error if the body is longer than maxBytes, or if ctx ends before
// the whole body has arrived.
func httpGet(ctx context.Context, client *http.Client, url string, header http.Header, maxBytes int) (
	status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, errRequest
	}
	request.Header = header
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, connectionError(ctx)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, int64(maxBytes)+1))
	switch {
	case err != nil:
		return 0, nil, connectionError(ctx)
	case len(body) > maxBytes:
		return 0, nil, errTooLarge
	}
	return response.StatusCode, body, nil
}

func connectionError(ctx context.Context) error {
	if ctx.Err() != nil {
		return errTimeout
	}
	return errConnection
}
