package auth

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/syntax"
)

// Bounds on how long a grant of the application lasts.
const (
	minExpiry     = 10 * time.Second
	maxExpiry     = 24 * time.Hour
	defaultExpiry = time.Hour // of a login, if the application does not send expires_in
)

// An outcome is the meaning of an answer of the application.
type outcome uint8

const (
	unavailable outcome = iota // the relay cannot find out now; the zero value, so that a mistake grants nothing
	granted
	anonymous // the application does not know the user
	forbidden // the application rejects the user, or the channel for this user
)

// An answer is the parsed answer of the application to one question.
type answer struct {
	outcome  outcome
	identity *access.Identity // of a granted login
	until    time.Time        // end of a granted channel; zero: no end
	maxAge   time.Duration    // how long the answer may be cached
}

var (
	errLoginStatus   = errors.New("the HTTP status must be 2xx, 401, 403 or a redirect")
	errChannelStatus = errors.New("the HTTP status must be 2xx, 401 or 403")

	errAnswerBOM = errors.New("the answer begins with a byte order mark (BOM): save the application's file as UTF-8 without BOM")

	errLoginAnswer = errors.New(`the answer is not JSON like {"user":"42","channels":["chat:*"]}; ` +
		"the application must answer 401 if it does not know the user")
	errChannelAnswer = errors.New("only an empty answer or a JSON object opens a channel")
)

// parseLogin parses the answer to a question about a user. An error means that
// the answer is unusable: it neither grants nor denies anything.
func parseLogin(grants Grants, status int, body []byte) (answer, error) {
	switch {
	case status == http.StatusUnauthorized, status >= 300 && status < 400:
		return answer{outcome: anonymous}, nil
	case status == http.StatusForbidden:
		return answer{outcome: forbidden}, nil
	case status < 200 || status > 299:
		return answer{}, errLoginStatus
	case syntax.HasBOM(string(body)):
		return answer{}, errAnswerBOM
	}
	o, err := parseObject(body)
	if err != nil {
		return answer{}, errLoginAnswer
	}
	user, lists := o.user("user"), grantLists{channels: o.strings("channels"), publish: o.strings("publish")}
	expiry := defaultExpiry
	if seconds, ok := o.number("expires_in"); ok {
		expiry = boundExpiry(seconds)
	}
	if o.err != nil {
		return answer{}, errLoginAnswer
	}
	id, err := grants.identity(user, lists, time.Now().Add(expiry))
	if err != nil {
		return answer{}, errLoginAnswer
	}
	return answer{outcome: granted, identity: id, maxAge: expiry / 2}, nil
}

// parseChannel parses the answer to a question about a channel. A web page,
// such as a login form, opens nothing.
func parseChannel(status int, body []byte) (answer, error) {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return answer{outcome: forbidden}, nil
	case status < 200 || status > 299:
		return answer{}, errChannelStatus
	case syntax.HasBOM(string(body)):
		return answer{}, errAnswerBOM
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 || string(body) == "[]" { // PHP encodes an empty array as [], also if {} is meant
		return answer{outcome: granted, maxAge: maxExpiry}, nil
	}
	o, err := parseObject(body)
	if err != nil {
		return answer{}, errChannelAnswer
	}
	seconds, limited := o.number("expires_in")
	switch {
	case o.err != nil:
		return answer{}, errChannelAnswer
	case !limited:
		return answer{outcome: granted, maxAge: maxExpiry}, nil
	}
	expiry := boundExpiry(seconds)
	return answer{outcome: granted, until: time.Now().Add(expiry), maxAge: expiry / 2}, nil
}

// boundExpiry converts expires_in to a duration and limits it to the range from
// minExpiry to maxExpiry.
func boundExpiry(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, minExpiry.Seconds()), maxExpiry.Seconds()) * float64(time.Second))
}
