package sse

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"sidecast/relay/accept"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// answerTime is how long a client may take to accept a refusal.
const answerTime = 10 * time.Second

// A refusal is the answer to a request that gets no stream.
type refusal struct {
	status  int // 200: the client should try again
	text    string
	reason  stats.Rejection
	problem *accept.Problem // nil: it is not logged
}

// badRequest returns a refusal that is logged. do says what the author of the
// page can do.
func badRequest(text, do string) *refusal {
	return &refusal{
		status: http.StatusBadRequest, text: text + ": " + do, reason: stats.RejectBadRequest,
		problem: &accept.Problem{Reason: stats.RejectBadRequest, Text: "a request for an event stream: " + text, Do: do},
	}
}

var (
	wrongMethod = &refusal{
		status: http.StatusMethodNotAllowed, text: "an event stream is read with GET", reason: stats.RejectBadRequest,
	}
	hasBody    = badRequest("it has a body", "send none with GET")
	wrongQuery = badRequest("the query of the URL is invalid",
		"escape each value with encodeURIComponent, and separate parameters with &")
	wrongParameter = badRequest("a parameter of the URL is misspelt", "the parameters are "+strings.Join(parameters, ", "))
	wrongFormat    = badRequest("unknown format", "write format=raw or format=json")
	severalTokens  = badRequest("more than one token", "name one token")
	severalRaw     = badRequest("format=raw has no place for the name of the channel",
		"name one channel, or leave out format=raw")
	severalDurable = badRequest("a durable channel needs an EventSource of its own, because a browser remembers only one position",
		"open one for each durable channel, and another one for the live channels")
	tooManyPositions  = badRequest("more positions than channels", "the n-th after and at belong to the n-th channel")
	tooManySignatures = badRequest("more signatures or users than channels", "the n-th sig and user belong to the n-th channel")
	tooManyChannels   = badRequest("more channels than an event stream may have",
		"name fewer channels, or raise SIDECAST_MAX_CHANNELS_PER_SESSION")
	wrongLast   = badRequest("last is not a number of messages", "write a whole number from 0 to 100")
	wrongSince  = badRequest("since is not the id of an entry", "write an id of the stream, like 1526919030474-55, or 0-0")
	sinceOnLive = badRequest("since is for durable channels only", "use last, or add the channel to SIDECAST_DURABLE_CHANNELS")
	noChannel   = badRequest("no channel", "add ?channel=NAME to the URL, or set SIDECAST_DEFAULT_CHANNELS")
)

// durableWithOthers refuses durable channels beside others. The answer names
// them, each in a line, so that a client that does not know which channels are
// durable can open a stream for each.
func durableWithOthers(durable []string) *refusal {
	r := *severalDurable
	r.text += "\n" + strings.Join(durable, "\n")
	return &r
}

// refuseCode returns the answer in place of a close code. A browser stops for
// ever at any status but 200, so only refusals that are final have another one.
func refuseCode(code protocol.CloseCode) *refusal {
	r := &refusal{text: code.Reason()}
	switch code.Plain() {
	case protocol.CloseUnauthorized:
		r.status, r.reason = http.StatusUnauthorized, stats.RejectUnauthorized
	case protocol.CloseForbidden:
		r.status, r.reason = http.StatusForbidden, stats.RejectForbidden
	case protocol.ClosePolicy:
		return tooManyChannels
	case protocol.CloseRestart:
		r.status, r.reason = http.StatusOK, stats.RejectDraining
	default:
		r.status, r.reason = http.StatusOK, stats.RejectUnavailable
	}
	return r
}

// refuse answers a request that gets no stream.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	if why.problem != nil {
		h.cfg.Refusals.Add(why.problem, h.remote(r))
	} else {
		h.cfg.Refusals.Count(why.reason)
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime)) // the application may have needed time
	w.Header().Set("Cache-Control", "no-store")
	switch why.status {
	case http.StatusOK:
		endAtOnce(w)
		return
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, OPTIONS")
	}
	http.Error(w, why.text, why.status)
}

// refuseLimit answers a request that exceeds a limit.
func (h *Handler) refuseLimit(w http.ResponseWriter, r *http.Request, limit *accept.Problem) {
	if !accept.FromContext(r.Context()).OverLimit() { // otherwise counted when the connection was accepted
		h.cfg.Refusals.Add(limit, h.remote(r))
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	endAtOnce(w)
}

// endAtOnce answers with a stream that ends, and makes the browser try again
// after 2 to 10 seconds.
func endAtOnce(w http.ResponseWriter) {
	setHeaders(w.Header())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(retryLine(2000, 10_000), '\n'))
}

// retryLine returns the line that makes a browser reconnect after a random time
// between two numbers of milliseconds.
func retryLine(least, most int) []byte {
	return protocol.AppendRetry(nil, least+rand.IntN(most-least+1))
}

// setHeaders sets the headers of each stream. The last one keeps nginx from
// buffering it.
func setHeaders(header http.Header) {
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
}
