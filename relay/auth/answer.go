package auth

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"sidecast/relay/access"
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
	asked    time.Time        // when the question was sent
	data     string           // channel_data of a granted presence channel: a JSON object
	mistake  *problem         // why an answer that looks like a mistake allows nothing; nil for a plain refusal
}

// What the application has to answer.
const (
	doLogin = `answer 200 with JSON like {"user":"42","channels":["chat:*"]}, ` +
		"or 401 if the application does not know the user"
	doChannel = "answer 204 if the client may receive the channel, and 403 if not"
)

// parseLogin parses the answer to a question about a user. An error means that
// the answer is unusable: it neither grants nor denies anything.
func parseLogin(grants Grants, r reply) (answer, error) {
	switch status := r.status; {
	case r.misdirected != nil:
		return answer{}, r.misdirected
	case status == http.StatusUnauthorized, status >= 300 && status < 400:
		return answer{outcome: anonymous}, nil
	case status == http.StatusForbidden:
		return answer{outcome: forbidden}, nil
	case status < 200 || status > 299:
		return answer{}, statusProblem(status, doLogin)
	}
	o, err := parseObject(r.body)
	if err != nil {
		return answer{}, withAdvice(err, doLogin)
	}
	user, lists := o.user("user"), grantLists{channels: o.strings("channels"), publish: o.strings("publish")}
	info := o.info("info")
	expiry, limited := o.expiry()
	if !limited {
		expiry = defaultExpiry
	}
	if o.err != nil {
		return answer{}, withAdvice(o.err, doLogin)
	}
	id, err := grants.identity(user, lists, time.Now().Add(expiry))
	if err != nil {
		return answer{}, withAdvice(err, doLogin)
	}
	id.Established, id.Info = r.asked, info
	return answer{outcome: granted, identity: id, maxAge: expiry / 2}, nil
}

// parseChannel parses the answer to a question about a channel. A channel opens
// only if the application clearly says so: a web page such as a login form opens
// nothing, and neither does an object that may mean no, such as
// {"allowed":false}.
func parseChannel(r reply) (answer, error) {
	body := bytes.Trim(r.body, " \t\r\n")
	switch status := r.status; {
	case r.misdirected != nil:
		return answer{}, r.misdirected
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return answer{outcome: forbidden}, nil
	case status == http.StatusNoContent, status == http.StatusOK && len(body) == 0:
		return answer{outcome: granted, maxAge: maxExpiry}, nil
	case status != http.StatusOK:
		return answer{}, statusProblem(status, doChannel)
	}
	o, err := parseObject(body)
	if err != nil {
		return answer{}, withAdvice(err, doChannel)
	}
	o.onlyKnown("expires_in")
	expiry, limited := o.expiry()
	switch {
	case o.err != nil:
		return answer{}, withAdvice(o.err, doChannel)
	case !limited:
		return answer{outcome: granted, maxAge: maxExpiry}, nil
	}
	return answer{outcome: granted, until: time.Now().Add(expiry), maxAge: expiry / 2}, nil
}

// statusProblem is the problem of an answer with a status that decides nothing.
func statusProblem(status int, do string) *problem {
	return &problem{text: "HTTP status " + strconv.Itoa(status), do: do}
}

// expiry reads expires_in, and limits it to the range from minExpiry to
// maxExpiry. A grant that has ended already is a mistake.
func (o *object) expiry() (expiry time.Duration, limited bool) {
	seconds, limited := o.number("expires_in")
	if limited && seconds <= 0 {
		o.fail("expires_in", "is 0 or less", "send the number of seconds from now, or 401 or 403")
	}
	return time.Duration(min(max(seconds, minExpiry.Seconds()), maxExpiry.Seconds()) * float64(time.Second)), limited
}
