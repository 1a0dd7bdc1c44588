package auth

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// Why an answer from elsewhere is worth nothing. They stand for errors whose text may hold URLs and what is in them.
var (
	errRequest   = errors.New("the request cannot be made")
	errTransport = errors.New("it does not answer, or not in time")
	errStatus    = errors.New("it answers with another status than it may")
	errHuge      = errors.New("the answer is too large")
	errAnswer    = errors.New("the answer cannot be understood")
)

// fetchReason is what the log says of such an error.
func fetchReason(err error) string {
	for _, known := range []error{errRequest, errTransport, errStatus, errHuge, errAnswer} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return errTransport.Error()
}

// newClient returns a client that follows no redirect, uses no proxy of the environment, unpacks nothing, and keeps as
// many connections as requests are made at once. The caller bounds time and body.
func newClient(atOnce int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			MaxIdleConnsPerHost:    atOnce,
			MaxConnsPerHost:        atOnce,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
