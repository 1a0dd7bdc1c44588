package ws

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sidecast/relay/protocol"
	"sidecast/relay/syntax"
)

// notEvents is in place of notUpgrade for a client that expects a stream of
// events, such as EventSource.
var notEvents = &httpError{
	status:  http.StatusUpgradeRequired,
	text:    "this URL speaks WebSocket and not server-sent events: use new WebSocket(url), or the path /sse with new EventSource(url)",
	headers: [][2]string{{"Upgrade", "websocket"}},
	problem: invalidHandshake("a request for server-sent events", "let the page use new WebSocket(url), or the path /sse with new EventSource(url)"),
}

// noUpgrade returns the response to a request that is no handshake.
func noUpgrade(r *http.Request) *httpError {
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		return notEvents
	}
	return notUpgrade
}

// explain gives a refusal the reason that a mistake in the URL suggests, unless
// it already has a better one.
func explain(r *http.Request, code protocol.CloseCode) protocol.CloseCode {
	switch code {
	case protocol.CloseUnauthorized, protocol.CloseUnauthorized.Because(protocol.ReasonLogin),
		protocol.CloseForbidden, protocol.CloseForbidden.Because(protocol.ReasonChannel),
		protocol.ClosePolicy.Because(protocol.ReasonNoChannel):
		if why := urlMistake(r.URL.RawQuery); why != protocol.ReasonUsual {
			return code.Because(why)
		}
	}
	return code
}

// logMistake logs a mistake in the URL of a client that was admitted: no answer
// can say it.
func (h *Handler) logMistake(r *http.Request, id protocol.ID) {
	query := r.URL.RawQuery
	if query == "" {
		return
	}
	hint := urlMistake(query).String()
	if hint == "" && id != protocol.RawID && strings.HasPrefix(query, "channel=") {
		hint = "channel counts only without a subprotocol, or with sidecast.raw: send subscribe instead"
	}
	if hint != "" {
		h.mistakes.Do(func() {
			h.cfg.Logger.Warn("a client's URL looks like a mistake", "hint", hint, "remote", h.remote(r))
		})
	}
}

// urlMistake returns the probable mistake of a query's author, or
// [protocol.ReasonUsual].
func urlMistake(query string) protocol.CloseReason {
	for query != "" {
		var parameter string
		parameter, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(parameter, "=")
		if why := parameterMistake(name); why != protocol.ReasonUsual {
			return why
		}
	}
	return protocol.ReasonUsual
}

func parameterMistake(name string) protocol.CloseReason {
	if slices.Contains(parameters, name) {
		return protocol.ReasonUsual
	}
	if text, err := url.QueryUnescape(name); err == nil {
		name = text
	}
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), "[]")
	switch {
	case slices.Contains(tokenParameters, name):
		return protocol.ReasonToken
	case slices.Contains(parameters, strings.TrimSuffix(name, "s")), slices.Contains(channelParameters, name),
		misspelt(name, "channel"), misspelt(name, "publish"):
		return protocol.ReasonParameter
	}
	return protocol.ReasonUsual
}

// misspelt reports whether name is probably intended to be parameter.
func misspelt(name, parameter string) bool {
	return len(name) >= 5 && len(name) < 20 && syntax.Distance(name, parameter) <= 2
}

var (
	// parameters are those of a raw client's URL.
	parameters = []string{"channel", "publish", "echo", "gap", "last", "sig", "user"}
	// tokenParameters are names under which other systems take a token.
	tokenParameters = []string{
		"token", "access_token", "accesstoken", "auth_token", "authtoken", "id_token", "jwt", "bearer", "authorization",
	}
	// channelParameters are names under which other systems take a channel.
	channelParameters = []string{"chan", "channel_name", "channelname", "room", "topic", "subscribe"}
)
