package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	// maxPublishChannels is how many channels one request may name.
	maxPublishChannels = 100
	// publishTimeout bounds how long Redis may take for all channels of one
	// request.
	publishTimeout = 10 * time.Second
)

// A Publisher configures `POST /publish`, with which an application publishes
// without a Redis client. Only Token is required, and without it the path
// answers 404.
type Publisher struct {
	Token      string
	MaxPayload int // bytes

	// Relayed returns [protocol.CodeOK] for a channel that the relay delivers,
	// [protocol.CodeBadChannel] for a name that no channel can have, and
	// another code for a channel that nobody can receive.
	Relayed func(channel string) protocol.Code
	// Publish returns nil after Redis has accepted the message. The text of its
	// error contains no secret; it is logged, and not sent to the caller.
	Publish func(ctx context.Context, channel string, payload []byte) error

	Stats  *stats.Stats
	Logger *slog.Logger
}

// A publishHandler answers /publish.
type publishHandler struct {
	Publisher
	token bearerToken
	// authorized says that others have checked who sent the request.
	authorized bool
	log        rate.Sometimes // of rejected requests, so that they cannot fill the disk
}

func newPublishHandler(p Publisher) *publishHandler {
	return &publishHandler{
		Publisher: p, token: newBearerToken(p.Token), log: rate.Sometimes{First: 10, Interval: 10 * time.Second},
	}
}

// A publishError is a request that is answered with an error.
type publishError struct {
	status  int
	result  stats.PublishResult
	problem string // the text of the answer
	err     error  // logged in addition; may be nil
}

func (h *publishHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.token.isSet && !h.authorized {
		http.Error(w, "publishing over HTTP is off: set SIDECAST_PUBLISH_TOKEN and restart the relay", http.StatusNotFound)
		return
	}
	channels, failed := h.check(r)
	var payload []byte
	if failed == nil {
		payload, failed = h.payload(w, r)
	}
	if failed == nil {
		failed = h.publish(r.Context(), channels, payload)
	}
	if failed != nil {
		h.reject(w, r, failed)
		return
	}
	h.Stats.HTTPPublishes[stats.PublishAccepted].Add(1)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"published\":%d}\n", len(channels))
}

// check returns the channels of a request that may publish, without reading its
// body. A browser adds an Origin to each POST of a page, whatever the page does.
func (h *publishHandler) check(r *http.Request) ([]string, *publishError) {
	switch {
	case len(r.Header.Values("Origin")) > 0 && !h.authorized:
		return nil, &publishError{status: http.StatusForbidden, result: stats.PublishOrigin,
			problem: "web pages may not publish here: send the request from your application, without an Origin header"}
	case r.Method != http.MethodPost:
		return nil, &publishError{status: http.StatusMethodNotAllowed, result: stats.PublishInvalid,
			problem: "only POST is allowed here"}
	case !h.token.in(r) && !h.authorized:
		return nil, &publishError{status: http.StatusUnauthorized, result: stats.PublishUnauthorized,
			problem: "this request needs the token in SIDECAST_PUBLISH_TOKEN: send it as Authorization: Bearer TOKEN"}
	}
	return h.channels(r.URL.RawQuery)
}

// channels returns the channels that the query names, each of them once.
func (h *publishHandler) channels(query string) (channels []string, failed *publishError) {
	invalid := func(status int, format string, args ...any) *publishError {
		return &publishError{status: status, result: stats.PublishInvalid, problem: fmt.Sprintf(format, args...)}
	}
	values, err := url.ParseQuery(query)
	named := values["channel"]
	switch {
	case err != nil:
		return nil, invalid(http.StatusBadRequest, "the query cannot be read: percent-encode the names of channels")
	case len(named) == 0:
		return nil, invalid(http.StatusBadRequest, "name the channel in the URL, like /publish?channel=chat: the body is the message")
	case len(named) > maxPublishChannels:
		return nil, invalid(http.StatusBadRequest, "%d channels: one request may name at most %d", len(named), maxPublishChannels)
	}
	for _, channel := range named {
		switch h.Relayed(channel) {
		case protocol.CodeOK:
		case protocol.CodeBadChannel:
			return nil, invalid(http.StatusBadRequest, "%.200q is not a name that a channel can have, or it is reserved", channel)
		default:
			return nil, invalid(http.StatusUnprocessableEntity,
				"%.200q matches no pattern in SIDECAST_CHANNELS or SIDECAST_DURABLE_CHANNELS: no client could receive the message", channel)
		}
		if !slices.Contains(channels, channel) {
			channels = append(channels, channel)
		}
	}
	return channels, nil
}

// payload returns the whole body.
func (h *publishHandler) payload(w http.ResponseWriter, r *http.Request) ([]byte, *publishError) {
	tooLarge := &publishError{status: http.StatusRequestEntityTooLarge, result: stats.PublishTooLarge,
		problem: fmt.Sprintf("the message is larger than %d bytes: see SIDECAST_MAX_PAYLOAD_BYTES", h.MaxPayload)}
	if r.ContentLength > int64(h.MaxPayload) {
		return nil, tooLarge
	}
	var body bytes.Buffer
	body.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, int64(h.MaxPayload)))
	if _, exceeded := errors.AsType[*http.MaxBytesError](err); exceeded {
		return nil, tooLarge
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &publishError{status: http.StatusRequestTimeout, result: stats.PublishInvalid,
			problem: "the message did not arrive in time"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &publishError{status: http.StatusBadRequest, result: stats.PublishInvalid,
			problem: "the message is shorter than announced"}
	case err != nil:
		return nil, &publishError{status: http.StatusBadRequest, result: stats.PublishInvalid,
			problem: "the message cannot be read"}
	}
	return body.Bytes(), nil
}

// publish publishes to one channel after the other, and stops at the first that
// fails: it does not hold up the application while Redis is not available.
func (h *publishHandler) publish(ctx context.Context, channels []string, payload []byte) *publishError {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	for i, channel := range channels {
		if err := h.Publish(ctx, channel, payload); err != nil {
			return &publishError{status: http.StatusServiceUnavailable, result: stats.PublishUnavailable, err: err, problem: fmt.Sprintf(
				"published to %d of %d channels: Redis has not confirmed the message on %q, which may have been delivered; "+
					"the relay's log says why", i, len(channels), channel)}
		}
	}
	return nil
}

func (h *publishHandler) reject(w http.ResponseWriter, r *http.Request, failed *publishError) {
	h.Stats.HTTPPublishes[failed.result].Add(1)
	h.log.Do(func() {
		attrs := []any{"remote", r.RemoteAddr, "status", failed.status, "result", stats.PublishResults[failed.result]}
		if failed.err != nil {
			attrs = append(attrs, "err", failed.err)
		}
		h.Logger.Warn("a request to publish was rejected", attrs...)
	})
	switch failed.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sidecast"`)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, failed.problem, failed.status)
}
