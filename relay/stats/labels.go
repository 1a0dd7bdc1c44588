package stats

// A DropReason is the reason why a message from Redis was not relayed.
type DropReason uint8

// The reasons of messages_dropped_total.
const (
	DropOversize DropReason = iota // larger than MAX_PAYLOAD_BYTES; its channel gets a gap
	DropOverlap                    // a copy that Redis sent because another pattern matches too
	DropName                       // not a valid channel name
	DropReserved                   // a name that is reserved for Sidecast or Redis
	DropNudge                      // published to a durable channel but not added to its stream
	numDrops
)

// DropReasons are the label values, by [DropReason].
var DropReasons = [numDrops]string{"oversize", "overlap", "name", "reserved", "nudge"}

// A Cause is the reason why a connection to Redis ended.
type Cause uint8

// The causes of redis_epochs_total.
const (
	CauseError    Cause = iota // reading or writing failed, or Redis closed the connection
	CauseSilence               // Redis sent nothing for 8 s
	CauseMarker                // the relay published a marker and did not receive it
	CauseDenied                // Redis rejected a subscription
	CauseReplica               // the server is, or became, a replica, or Sentinel names another master
	CauseCluster               // a node of the cluster was lost, or the bus between it and the node that the relay uses
	CauseShutdown              // the relay shuts down
	numCauses
)

// Causes are the label values, by [Cause].
var Causes = [numCauses]string{"error", "silence", "marker", "denied", "replica", "cluster", "shutdown"}

// A Rejection is the reason why a connection was rejected before it became a
// session.
type Rejection uint8

// The reasons of connections_rejected_total.
const (
	RejectHandshake    Rejection = iota // not a WebSocket handshake, or no known subprotocol
	RejectOrigin                        // the Origin or Host header
	RejectCapacity                      // MAX_CONNECTIONS is reached
	RejectForbidden                     // the client may not subscribe to a channel
	RejectBadRequest                    // a query that asks for something impossible
	RejectUnavailable                   // Redis, or the application that authorizes clients, is not available
	RejectDraining                      // the relay shuts down
	RejectAddress                       // a limit per client address is reached
	RejectUnauthorized                  // invalid credentials
	RejectIdle                          // a connection without a client, closed because MAX_CONNECTIONS is reached
	RejectMalformed                     // an HTTP request that cannot be read
	RejectNotFound                      // a path that the relay does not serve
	numRejections
)

// Rejections are the label values, by [Rejection].
var Rejections = [numRejections]string{
	"handshake", "origin", "capacity", "forbidden", "bad_request", "unavailable", "draining", "address", "unauthorized", "idle",
	"malformed", "not_found",
}

// An AuthResult is the result of a request to the application.
type AuthResult uint8

// The results of auth_requests_total.
const (
	AuthGranted   AuthResult = iota // the application granted the request
	AuthAnonymous                   // the application does not know the user
	AuthForbidden                   // the application denied the request
	AuthFailed                      // the answer was invalid, or there was no connection
	AuthTimeout                     // there was no answer within AUTH_TIMEOUT
	AuthBusy                        // the request was not sent: too many are waiting
	numAuthResults
)

// AuthResults are the label values, by [AuthResult].
var AuthResults = [numAuthResults]string{"granted", "anonymous", "forbidden", "failed", "timeout", "busy"}

// A ControlAction is the action of a control message of the application, or why
// the message has no effect.
type ControlAction uint8

// The actions of control_messages_total.
const (
	ControlDisconnect ControlAction = iota
	ControlSubscribe
	ControlUnsubscribe
	ControlRefresh
	ControlMalformed // it cannot be understood, or names a channel that is not relayed
	ControlDropped   // too many are waiting
	numControlActions
)

// ControlActions are the label values, by [ControlAction].
var ControlActions = [numControlActions]string{"disconnect", "subscribe", "unsubscribe", "refresh", "malformed", "dropped"}

// A WebhookResult is the result of a request that posts events to the
// application.
type WebhookResult uint8

// The results of webhook_requests_total.
const (
	WebhookAccepted WebhookResult = iota // the application answered with 2xx
	WebhookRefused                       // it answered with another status
	WebhookFailed                        // there was no connection, or no answer
	WebhookTimeout                       // there was no answer in time
	numWebhookResults
)

// WebhookResults are the label values, by [WebhookResult].
var WebhookResults = [numWebhookResults]string{"accepted", "refused", "failed", "timeout"}

// An EvictionReason is the reason why a slow client was evicted.
type EvictionReason uint8

// The reasons of evictions_total.
const (
	EvictBytes EvictionReason = iota // its outbox was full
	EvictAge                         // it accepted no byte of its outbox for too long
	EvictTotal                       // all outboxes together were full, and its outbox was the largest
	numEvictions
)

// EvictionReasons are the label values, by [EvictionReason].
var EvictionReasons = [numEvictions]string{"bytes", "age", "total"}

// A ResumeResult is the result of a client's attempt to resume.
type ResumeResult uint8

// The results of resumes_total.
const (
	ResumeRecovered ResumeResult = iota // the client receives everything that it missed
	ResumeGap                           // the client gets a gap: it may have missed messages
	numResumeResults
)

// ResumeResults are the label values, by [ResumeResult].
var ResumeResults = [numResumeResults]string{"recovered", "gap"}
