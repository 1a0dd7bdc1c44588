package pusher

import (
	"net/http"

	"sidecast/relay/accept"
	"sidecast/relay/stats"
)

// A broadcastRefusal is the answer to a request that gets no signature. Its text
// is constant: it repeats nothing of the request, and nothing of the
// application's answer.
type broadcastRefusal struct {
	status  int
	text    string
	problem *accept.Problem // nil: it is not logged
}

// mistake returns a refusal that is logged. do says what the operator or the
// author of the page can do.
func mistake(status int, reason stats.Rejection, text, do string) *broadcastRefusal {
	return &broadcastRefusal{
		status: status, text: text + ": " + do,
		problem: &accept.Problem{Reason: reason, Text: "a request for the signature of a channel: " + text, Do: do},
	}
}

var (
	// forbidden and tryLater are answers of the application, or for want of one;
	// relay/auth logs why.
	forbidden = &broadcastRefusal{status: http.StatusForbidden, text: "the application does not allow this client to subscribe to this channel"}
	tryLater  = &broadcastRefusal{status: http.StatusServiceUnavailable, text: "the application gives no answer now: try again later"}

	wrongMethod = mistake(http.StatusMethodNotAllowed, stats.RejectBadRequest, "wrong method", "use POST, or GET with a query")
	malformed   = mistake(http.StatusBadRequest, stats.RejectBadRequest, "the body cannot be read",
		"send a form or a JSON object of at most 8 KiB, with the header Content-Type")
	incomplete = mistake(http.StatusBadRequest, stats.RejectBadRequest, "socket_id or channel_name is missing",
		"send both, as pusher-js does")
	loop = mistake(http.StatusLoopDetected, stats.RejectBadRequest, "it comes from Sidecast itself",
		"set SIDECAST_BROADCAST_AUTH_URL to a URL that reaches the application without the proxy that sends this path to Sidecast")
	strangeSocket = mistake(http.StatusForbidden, stats.RejectForbidden, "no relay has issued this socket id",
		"connect to Sidecast first, and set SIDECAST_PUSHER_SECRET to the same value on all relays")
	notGuarded = mistake(http.StatusForbidden, stats.RejectForbidden, "the channel is not private",
		"only channels whose names begin with private- or presence- need a signature")
	encrypted = mistake(http.StatusForbidden, stats.RejectForbidden, "the channel is encrypted",
		"BROADCAST_CONNECTION=redis has no key for it in Laravel: use the driver reverb or pusher, or a private- channel")
	invalidName = mistake(http.StatusForbidden, stats.RejectForbidden, "the channel's name is not valid", "use another name")
	notRelayed  = mistake(http.StatusForbidden, stats.RejectForbidden, "the channel is not relayed",
		"add private-* and presence-* to SIDECAST_CHANNELS")
)
