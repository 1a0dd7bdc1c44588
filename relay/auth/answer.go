package auth

import (
	"bytes"
	"encoding/json"
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
	var login struct {
		User      userID   `json:"user"`
		Channels  []string `json:"channels"`
		Publish   []string `json:"publish"`
		ExpiresIn *float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &login); err != nil {
		return answer{}, errLoginAnswer
	}
	expiry := defaultExpiry
	if login.ExpiresIn != nil {
		expiry = boundExpiry(*login.ExpiresIn)
	}
	lists := grantLists{channels: login.Channels, publish: login.Publish}
	id, err := grants.identity(string(login.User), lists, time.Now().Add(expiry))
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
	var grant struct {
		ExpiresIn *float64 `json:"expires_in"`
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && string(body) != "[]" { // PHP encodes an empty array as [], also if {} is meant
		if json.Unmarshal(body, &grant) != nil || body[0] != '{' {
			return answer{}, errChannelAnswer
		}
	}
	if grant.ExpiresIn == nil {
		return answer{outcome: granted, maxAge: maxExpiry}, nil
	}
	expiry := boundExpiry(*grant.ExpiresIn)
	return answer{outcome: granted, until: time.Now().Add(expiry), maxAge: expiry / 2}, nil
}

// boundExpiry converts expires_in to a duration and limits it to the range from
// minExpiry to maxExpiry.
func boundExpiry(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, minExpiry.Seconds()), maxExpiry.Seconds()) * float64(time.Second))
}
