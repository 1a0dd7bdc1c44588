package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// maxChannelData bounds the channel_data that is signed, in bytes: room for
// user_id and user_info.
const maxChannelData = 2 << 10

// What the application has to answer, and common reasons why it does not.
const (
	doPrivate  = "answer 200 with JSON, true, if the client may subscribe, and 403 if not"
	doPresence = `answer 200 with JSON like {"channel_data":{"user_id":"42","user_info":{"name":"Ann"}}}, ` +
		"and 403 if the client may not subscribe; in Laravel, the channel's callback returns the array that becomes user_info"
	doRoute = "correct the URL: Laravel has the route /broadcasting/auth after `php artisan install:broadcasting`, " +
		"or if a service provider calls Broadcast::routes()"
	doDriver = "set BROADCAST_CONNECTION=redis in Laravel: the driver that answers so does not work with SIDECAST_BROADCAST_AUTH_URL"
)

var (
	errLoop = &problem{
		text: "the URL leads back to Sidecast",
		do: "write a URL that reaches the application itself: the proxy in front of it sends the public one to Sidecast; " +
			"if the URL needs another path, let the proxy rewrite it",
	}
	errNoAnswer = &problem{text: "an answer without content", do: doDriver}
	errDriver   = &problem{text: "the application signs by itself", do: doDriver +
		", and is not needed with the drivers reverb and pusher: unset it with them"}
)

func parsePrivate(r reply) (answer, error)  { return parseBroadcast(r, false) }
func parsePresence(r reply) (answer, error) { return parseBroadcast(r, true) }

// parseBroadcast parses the answer to a question about a private or presence
// channel. The channel opens only if the application clearly says so: a web page
// such as a login form opens nothing, and neither do false, null and {}. These
// refuse the client, because the application has answered.
func parseBroadcast(r reply, presence bool) (answer, error) {
	do := doPrivate
	if presence {
		do = doPresence
	}
	switch status := r.status; {
	case r.misdirected != nil:
		return answer{}, r.misdirected
	case status == http.StatusLoopDetected:
		return answer{}, errLoop
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == statusPageExpired,
		status >= 300 && status < 400:
		return answer{outcome: forbidden}, nil
	case status == http.StatusOK:
		data, allowed, err := parseAllowed(bytes.Trim(r.body, " \t\r\n"), presence)
		if p, ok := withAdvice(err, do).(*problem); ok {
			return answer{outcome: forbidden, mistake: p}, nil
		}
		if !allowed {
			return answer{outcome: forbidden}, nil
		}
		return answer{outcome: granted, data: data}, nil
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return answer{}, statusProblem(status, doRoute)
	case status > 200 && status < 300:
		return answer{outcome: forbidden, mistake: statusProblem(status, do)}, nil
	}
	return answer{}, statusProblem(r.status, do)
}

// statusPageExpired is Laravel's status for a missing or wrong CSRF token.
const statusPageExpired = 419

// parseAllowed parses the body of an answer with status 200. An error, a
// [problem], means that the body is not what an application would send on
// purpose.
func parseAllowed(body []byte, presence bool) (data string, allowed bool, err error) {
	switch text := string(body); {
	case text == "false":
		return "", false, nil
	case text == "true" && !presence:
		return "", true, nil
	case text == "true":
		return "", false, &problem{text: "true for a presence channel, without its user"}
	case text == "null":
		return "", false, &problem{text: "null"}
	case text == "":
		return "", false, errNoAnswer
	}
	o, err := parseObject(body)
	switch {
	case err != nil:
		return "", false, err
	case o.has("auth"):
		return "", false, errDriver
	case !o.has("channel_data"):
		return "", false, &problem{text: "channel_data is missing"}
	case o.kind("channel_data") != "an object":
		return "", false, &problem{text: "channel_data is " + o.kind("channel_data") + " and not an object"}
	case !presence:
		return "", true, nil
	}
	data, err = parseMember(o.members["channel_data"])
	return data, err == nil, err
}

// parseMember returns the channel_data of a presence channel without white space
// between its parts, if it describes a user.
func parseMember(text json.RawMessage) (string, error) {
	member, err := parseObject(text)
	if err != nil {
		return "", err
	}
	member.user("user_id")
	member.info("user_info")
	for name := range member.members { // who reads what is signed may not distinguish them
		for _, known := range []string{"user_id", "user_info"} {
			if name != known && strings.EqualFold(name, known) {
				member.fail(quoteName(name), "is "+known+" in other letters", "write "+known+" once, in lower case")
			}
		}
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, text) // parseObject has found it valid
	if compact.Len() > maxChannelData {
		member.fail("channel_data", fmt.Sprintf("is larger than %d bytes of JSON", maxChannelData), "send user_id and user_info only")
	}
	if member.err != nil {
		return "", member.err
	}
	return compact.String(), nil
}
