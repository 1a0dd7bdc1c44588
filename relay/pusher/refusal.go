package pusher

import (
	"errors"
	"fmt"
	"net/http"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A refusal is an answer with an error.
type refusal struct {
	status  int
	result  stats.APIResult
	problem string // the text of the answer
	allow   string // the method that is allowed, if it is another one
	err     error  // logged in addition; may be nil
}

// Refusals of requests without looking at their contents. The application's
// library shows the texts to its programmer.
var (
	errOrigin = &refusal{status: http.StatusForbidden, result: stats.APIOrigin,
		problem: "web pages may not use this API, because they must not have the secret: send the request from your application, " +
			"without an Origin header"}
	errOff = &refusal{status: http.StatusNotFound, result: stats.APIUnknownApp,
		problem: "the HTTP API is off: set SIDECAST_PUSHER_APP_ID to the id of your application " +
			"(PUSHER_APP_ID or REVERB_APP_ID in Laravel), and restart the relay"}
	errApp = &refusal{status: http.StatusNotFound, result: stats.APIUnknownApp,
		problem: "unknown application: the id in the path is not the one in SIDECAST_PUSHER_APP_ID"}
	errPath = &refusal{status: http.StatusNotFound, result: stats.APIInvalid,
		problem: "unknown path; there are events, batch_events, channels, channels/NAME, channels/NAME/users, connections " +
			"and users/ID/terminate_connections"}
	errBusy = &refusal{status: http.StatusServiceUnavailable, result: stats.APIUnavailable,
		problem: "the relay serves as many requests as it can: send fewer at a time"}

	errQuery = &refusal{status: http.StatusUnauthorized, result: stats.APISignature,
		problem: "the query cannot be read: percent-encode its values, write each parameter once, and use no & in a name or value"}
	errUnsigned = &refusal{status: http.StatusUnauthorized, result: stats.APISignature,
		problem: "the request is not signed: auth_key, auth_timestamp, auth_version=1.0 and auth_signature belong into its query"}
	errKey = &refusal{status: http.StatusUnauthorized, result: stats.APIKey,
		problem: "unknown key: auth_key is not the one in SIDECAST_PUSHER_KEY (PUSHER_APP_KEY or REVERB_APP_KEY in Laravel)"}
	errClock = &refusal{status: http.StatusUnauthorized, result: stats.APIClock,
		problem: "auth_timestamp must be the present time in seconds: it is more than 600 s away from the relay's clock; " +
			"correct the clock of the application's machine or that of the relay's"}
	errSignature = &refusal{status: http.StatusUnauthorized, result: stats.APISignature,
		problem: "wrong signature: SIDECAST_PUSHER_SECRET is not the secret of your application " +
			"(PUSHER_APP_SECRET or REVERB_APP_SECRET in Laravel), or the method, the path or the query was changed on the way"}
	errNoDigest = &refusal{status: http.StatusUnauthorized, result: stats.APIBody,
		problem: "body_md5 is missing: a request with a body must have it in its query"}
	errDigest = &refusal{status: http.StatusUnauthorized, result: stats.APIBody,
		problem: "the body is not the one that was signed: it differs from body_md5, so something changed it on the way"}
)

// advice is logged with refused requests, for the operator.
var advice = [len(stats.APIResults)]string{
	stats.APIOrigin:      "if a page of yours sends this, it has the secret: remove it there, and change SIDECAST_PUSHER_SECRET",
	stats.APIUnknownApp:  "set SIDECAST_PUSHER_APP_ID to the application's PUSHER_APP_ID or REVERB_APP_ID",
	stats.APIKey:         "set SIDECAST_PUSHER_KEY to the application's PUSHER_APP_KEY or REVERB_APP_KEY",
	stats.APIClock:       "correct the clock of the application's machine or that of this one",
	stats.APISignature:   "set SIDECAST_PUSHER_SECRET to the application's PUSHER_APP_SECRET or REVERB_APP_SECRET; if it is right, check what a proxy changes",
	stats.APIBody:        "check what a proxy changes in the bodies of requests",
	stats.APIInvalid:     "see the text of the answer, which the application's log may contain",
	stats.APITooLarge:    "raise SIDECAST_MAX_PAYLOAD_BYTES, or publish less at a time",
	stats.APIUnavailable: "see the entries about Redis in this log, or run `sidecast check`",
	stats.APIUnsupported: "this relay cannot answer such a request: do not send it",
}

// invalid returns the refusal of a request whose contents are wrong.
func invalid(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, result: stats.APIInvalid, problem: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, result: stats.APITooLarge, problem: fmt.Sprintf(format, args...)}
}

// unavailable returns the refusal of a request for which Redis is needed.
func unavailable(err error, format string, args ...any) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, result: stats.APIUnavailable, err: err, problem: fmt.Sprintf(format, args...)}
}

// unsupported returns the refusal of a request that this relay cannot answer.
func unsupported(what string) *refusal {
	return &refusal{status: http.StatusNotImplemented, result: stats.APIUnsupported, problem: "this relay does not know " + what}
}

// checkChannel returns why a channel cannot be used, or nil.
func (a *api) checkChannel(channel string) *refusal {
	switch a.Relayed(channel) {
	case protocol.CodeOK:
		return nil
	case protocol.CodeBadChannel:
		return invalid("%.200q is not a name that a channel can have, or it is reserved", channel)
	}
	problem := fmt.Sprintf("%.200q matches no pattern in SIDECAST_CHANNELS or SIDECAST_DURABLE_CHANNELS: no client could receive its events", channel)
	return &refusal{status: http.StatusUnprocessableEntity, result: stats.APIInvalid, problem: problem, err: errors.New(problem)}
}
