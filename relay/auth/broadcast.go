package auth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// ForwardedHeader marks the requests of the relay to the URL for broadcasts. If
// the relay receives such a request itself, the URL leads back to it.
const ForwardedHeader = "X-Sidecast-Forwarded"

// broadcastHeaders are forwarded in addition to forwardedHeaders: frameworks
// look there for the page and for its protection against forged requests.
var broadcastHeaders = []string{"Referer", "X-Csrf-Token", "X-Xsrf-Token"}

// maxKeptHeaders bounds the headers that an [Application.PrivateAuthorizer]
// keeps for as long as its client is connected, in bytes.
const maxKeptHeaders = 8 << 10

// newBroadcastClient returns a client that caches nothing: an answer is for one
// socket and channel, and is not asked for again.
func newBroadcastClient(p *requestPool, url string, parse func(reply) (answer, error)) *authClient {
	c := newAuthClient(p, url, "SIDECAST_BROADCAST_AUTH_URL", parse)
	c.refusalAge = 0
	return c
}

// AuthorizeBroadcast asks the application whether the client that sent r may
// subscribe to a private or presence channel. For a presence channel,
// [protocol.CodeOK] comes with the channel_data to sign. The other codes are
// [protocol.CodeForbidden], also for channels that the application cannot open
// in this way, and [protocol.CodeUnavailable]. AuthorizeBroadcast may wait for
// ten seconds, or until ctx ends.
func (a *Application) AuthorizeBroadcast(ctx context.Context, r *http.Request, socketID, channel string) (channelData string, code protocol.Code) {
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	answered := a.askBroadcast(ctx, a.requester(r), a.broadcastHeaders(r), socketID, channel)
	return answered.data, answered.code()
}

// PrivateAuthorizer returns a function that asks the application whether the
// client that sent r may subscribe to a private channel, and until when (the
// zero Time: no end). socketID may be empty. The function is nil if there is no
// application or no URL for broadcasts, if the client sent no credentials, or if
// its headers are larger than 8 KiB. It keeps these headers in memory for as
// long as it is referenced.
func (a *Application) PrivateAuthorizer(r *http.Request) func(
	ctx context.Context, socketID, channel string) (time.Time, protocol.Code) {
	if a == nil || a.private == nil || !hasCredentials(r) {
		return nil
	}
	header, ok := keep(a.broadcastHeaders(r))
	if !ok {
		return nil
	}
	who := a.requester(r)
	return func(ctx context.Context, socketID, channel string) (time.Time, protocol.Code) {
		if access.KindOf(channel).Presence {
			return time.Time{}, protocol.CodeForbidden
		}
		answered := a.askBroadcast(ctx, who, header.Clone(), socketID, channel)
		return answered.until, answered.code()
	}
}

// askBroadcast asks about one channel. header is not used afterwards.
func (a *Application) askBroadcast(ctx context.Context, who requester, header http.Header, socketID, channel string) answer {
	client := a.private
	switch kind := access.KindOf(channel); {
	case client == nil, !kind.Private, kind.Encrypted:
		return answer{outcome: forbidden}
	case kind.Presence:
		client = a.presence
	}
	key := a.pool.cacheKey(headerTexts(header), []string{socketID, channel})
	return client.ask(ctx, who, key, broadcastQuestion(header, socketID, channel), func(answer) bool { return false })
}

// broadcastQuestion returns the request that an unmodified client would send,
// in the name of the client with these headers.
func broadcastQuestion(header http.Header, socketID, channel string) question {
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Set(ForwardedHeader, "1")
	header["Idempotency-Key"] = nil // not sent: net/http repeats the request if the server has just closed the connection
	return question{header: header, form: url.Values{"socket_id": {socketID}, "channel_name": {channel}}.Encode()}
}

// broadcastHeaders returns the headers of a request about a broadcast.
func (a *Application) broadcastHeaders(r *http.Request) http.Header {
	h := a.headers(r)
	copyHeaders(h, r, broadcastHeaders)
	return h
}

// keep returns a copy of h that refers to no other part of its request. It
// returns false if that is larger than a client may keep.
func keep(h http.Header) (http.Header, bool) {
	kept, size := make(http.Header, len(h)), 0
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value)
			kept[name] = append(kept[name], strings.Clone(value))
		}
	}
	return kept, size <= maxKeptHeaders
}

// headerTexts returns all names and values, each header after the other.
func headerTexts(h http.Header) (texts []string) {
	for name, values := range h {
		texts = append(texts, name+": "+strings.Join(values, "\n"))
	}
	slices.Sort(texts)
	return texts
}

// code returns the decision about one channel that an answer contains.
func (a answer) code() protocol.Code {
	switch a.outcome {
	case granted:
		return protocol.CodeOK
	case forbidden, anonymous:
		return protocol.CodeForbidden
	}
	return protocol.CodeUnavailable
}
