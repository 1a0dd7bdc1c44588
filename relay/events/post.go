package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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

// newTransport returns a client without a proxy (HTTP_PROXY and the like) and
// without decompression.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
		DisableCompression:     true,
	}
}

// A postError is the reason why a request failed. Its texts contain nothing of
// the answer or of the query of the URL.
type postError struct {
	result stats.WebhookResult
	reason string
	do     string
	after  time.Duration // the pause that the application asks for; 0 if it does not
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
		return &postError{result: stats.WebhookFailed, reason: "the request cannot be created", do: "correct the URL"}
	}
	request.Header = w.header(body, now)
	response, err := w.client.RoundTrip(request) // a client would follow redirects, or read where they lead
	if err != nil {
		return connectionError(ctx, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)) // only the status counts
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return &postError{
			result: stats.WebhookRefused, reason: fmt.Sprintf("it answers with the redirect %d, which is not followed", code),
			do: "set SIDECAST_EVENTS_URL to the final URL",
		}
	default:
		return &postError{
			result: stats.WebhookRefused, reason: fmt.Sprintf("it answers with status %d", code),
			do: "see the application's log", after: retryAfterOf(response.Header, now),
		}
	}
}

// retryAfterOf returns the pause that an answer asks for.
func retryAfterOf(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
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
		return &postError{
			result: stats.WebhookTimeout, reason: "it does not answer within " + postTimeout.String(),
			do: "answer first, and process the events afterwards",
		}
	}
	return &postError{
		result: stats.WebhookFailed, reason: shown(err), do: "check SIDECAST_EVENTS_URL, and that the application runs",
	}
}

// shown returns the text of an error, unless it could quote the answer.
func shown(err error) string {
	if _, ok := errors.AsType[net.Error](err); ok {
		return err.Error()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return err.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS"
	}
	if errors.Is(err, io.EOF) {
		return "it closes the connection without an answer"
	}
	return "the connection broke, or the answer is not valid HTTP"
}
