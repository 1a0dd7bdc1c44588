package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sidecast/relay/stats"
)

const (
	// postTimeout bounds one request, the connection included.
	postTimeout = 5 * time.Second
	// maxAnswer is how much of an answer is read, so that the connection can be
	// used again.
	maxAnswer = 64 << 10
)

// Headers of a request.
const (
	SignatureHeader       = "X-Sidecast-Signature"
	pusherKeyHeader       = "X-Pusher-Key"
	pusherSignatureHeader = "X-Pusher-Signature"
)

// newHTTPClient returns a client that follows no redirects, ignores HTTP_PROXY
// and the like, and does not decompress.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A postError is the reason why a request failed. Its texts contain nothing of
// the answer or of the query of the URL.
type postError struct {
	result stats.WebhookResult
	reason string
	do     string
}

// post sends one request. It does not end with ctx: an application that has
// accepted events must not get them again because the relay shuts down.
func (w *Webhooks) post(ctx context.Context, batch []Event) *postError {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postTimeout)
	defer cancel()
	now := time.Now()
	body := w.cfg.Format.body(batch, now)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return &postError{stats.WebhookFailed, "the request cannot be created", "correct the URL"}
	}
	request.Header = w.header(body, now)
	response, err := w.client.Do(request)
	if err != nil {
		return connectionError(ctx, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)) // only the status counts
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return &postError{stats.WebhookRefused, fmt.Sprintf("it answers with the redirect %d, which is not followed", code),
			"set SIDECAST_EVENTS_URL to the final URL"}
	default:
		return &postError{stats.WebhookRefused, fmt.Sprintf("it answers with status %d", code), "see the application's log"}
	}
}

func (w *Webhooks) header(body []byte, now time.Time) http.Header {
	header := http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"Sidecast"},
		SignatureHeader: {Sign(w.cfg.Secret, body, now)},
	}
	if w.cfg.Format == FormatPusher {
		header.Set(pusherKeyHeader, PusherKey)
		header.Set(pusherSignatureHeader, signature(w.cfg.Secret, body))
	}
	return header
}

// Sign returns the value of [SignatureHeader] for a body that is sent now.
func Sign(secret string, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	return "t=" + t + ",v1=" + signature(secret, []byte(t), []byte("."), body)
}

func signature(secret string, parts ...[]byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	for _, part := range parts {
		mac.Write(part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// connectionError describes why there is no answer.
func connectionError(ctx context.Context, err error) *postError {
	if ctx.Err() != nil {
		return &postError{stats.WebhookTimeout, "it does not answer within " + postTimeout.String(),
			"answer first, and process the events afterwards"}
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	return &postError{stats.WebhookFailed, err.Error(), "check SIDECAST_EVENTS_URL, and that the application runs"}
}
