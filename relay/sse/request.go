package sse

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/syntax"
)

// parameters are those of the URL.
var parameters = []string{"channel", "format", "after", "at", "since", "last", "token", "sig", "user"}

// A query is what a client requests.
type query struct {
	channels  []string
	after, at []string // the n-th belongs to the n-th channel
	signed    map[string]access.Signature
	since     string
	last      int // or relay.LastBySetting
	format    string
	token     *string // nil without a token
	lastID    string  // of the header Last-Event-ID
}

// parseQuery reads the URL and the header Last-Event-ID, or returns the mistake
// in them.
func parseQuery(r *http.Request) (q query, mistake *refusal) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, wrongQuery
	}
	for name := range values {
		if misspelt(name) {
			return q, wrongParameter
		}
	}
	q = query{
		channels: values["channel"], after: values["after"], at: values["at"], format: values.Get("format"),
		since: values.Get("since"), last: relay.LastBySetting, lastID: r.Header.Get("Last-Event-ID"),
	}
	if values.Has("last") {
		last, ok := protocol.ParseLast(values.Get("last"))
		if !ok {
			return q, wrongLast
		}
		q.last = last
	}
	if q.lastID == "" && len(q.after) == 1 && isID(q.after[0]) {
		q.lastID = q.after[0]
	}
	switch tokens := values["token"]; {
	case len(tokens) > 1:
		return q, severalTokens
	case len(tokens) == 1:
		q.token = &tokens[0]
	}
	switch {
	case q.format != "" && q.format != "raw" && q.format != "json":
		return q, wrongFormat
	case max(len(q.after), len(q.at)) > max(len(q.channels), 1):
		return q, tooManyPositions
	}
	var ok bool
	if q.signed, ok = access.SignaturesInURL(q.channels, values["sig"], values["user"]); !ok {
		return q, tooManySignatures
	}
	return q, nil
}

// misspelt reports whether name is probably intended to be a parameter. A page
// that writes chanel would otherwise receive the default channels. Other
// unknown parameters are ignored.
func misspelt(name string) bool {
	if slices.Contains(parameters, name) {
		return false
	}
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), "[]") // as PHP writes lists
	return slices.ContainsFunc(parameters, func(parameter string) bool {
		isLong := len(parameter) >= 5 // "at" and "last" resemble too many other words
		return name == parameter || name == parameter+"s" || isLong && len(name) < 20 && syntax.Distance(name, parameter) <= 1
	})
}

// chooseChannels selects the channels of the stream and their protocol, or
// returns why it cannot.
func (s *stream) chooseChannels() *refusal {
	s.channels = s.query.channels
	if len(s.channels) == 0 {
		s.channels = slices.Concat(s.handler.cfg.DefaultChannels, s.ownChannels())
	}
	s.channels = unique(s.channels)
	durable := slices.DeleteFunc(slices.Clone(s.channels), func(name string) bool { return !s.handler.cfg.Access.Durable.Match(name) })
	switch n := len(s.channels); {
	case n == 0:
		return noChannel
	case n > s.handler.cfg.MaxChannels:
		return tooManyChannels
	case n > 1 && len(durable) > 0:
		return durableWithOthers(durable)
	case s.query.since != "" && len(durable) == 0:
		return sinceOnLive
	case s.handler.cfg.Hub.SinceProblem(protocol.ChannelRequest{Channel: s.channels[0], Since: s.query.since}) != "":
		return wrongSince
	case n > 1 && s.query.format == "raw":
		return severalRaw
	case n > 1 || s.query.format == "json":
		s.client.Protocol = protocol.SSEJSON{}
	default:
		s.client.Protocol = protocol.SSE{}
	}
	return nil
}

// ownChannels returns the channels of the client's identity: the user's own ones
// as far as they are relayed, and those that the token asks for.
func (s *stream) ownChannels() []string {
	id := s.client.Identity
	if id == nil {
		return nil
	}
	own := slices.DeleteFunc(slices.Clone(id.Own), func(channel string) bool {
		return s.handler.cfg.Access.Subscribe(id, channel) != protocol.CodeOK
	})
	return slices.Concat(own, id.Join)
}

// unique returns list without repetitions.
func unique(list []string) []string {
	seen := make(map[string]bool, len(list))
	all := make([]string, 0, len(list))
	for _, name := range list {
		if !seen[name] {
			all = append(all, name)
		}
		seen[name] = true
	}
	return all
}
