package stats

import (
	"sync/atomic"
	"time"

	"sidecast/relay/protocol"
)

// Stats counts what the relay does. Every part adds to the same one; relay/admin exports it. All methods and fields may
// be used concurrently, and a nil *Stats counts nothing.
type Stats struct {
	// Redis in.
	RedisUp       atomic.Bool
	RedisMessages Counter
	RedisEpochs   [numCauses]Counter
	Dropped       [numDrops]Counter
	MarkersUp     atomic.Bool // markers of this relay come back through its link
	MarkersLost   Counter
	MarkerTrip    Histogram

	// Clients.
	Opened        Counter
	Closed        [protocol.NumCloseSlots]Counter
	Rejected      [numRejections]Counter
	Connections   [protocol.NumTransports][protocol.NumProtocols]Gauge
	Subscriptions Gauge
	Channels      Gauge
	Commands      [protocol.NumCommands][protocol.NumResults]Counter

	// The application's word.
	AuthRequests [numAuthResults]Counter
	AuthSeconds  Histogram

	// Fan-out.
	Deliveries [protocol.NumProtocols]Counter
	Evictions  [numEvictions]Counter
	Gaps       [protocol.NumGapReasons]Counter
	Resumes    [numResumeResults]Counter
	Fanout     Histogram
	Draining   atomic.Bool
}

// A Counter only rises.
type Counter struct{ n atomic.Uint64 }

// Add counts n more.
func (c *Counter) Add(n int) { c.n.Add(uint64(n)) }

// Load returns the count.
func (c *Counter) Load() uint64 { return c.n.Load() }

// A Gauge rises and falls.
type Gauge struct{ n atomic.Int64 }

// Add changes the gauge by n.
func (g *Gauge) Add(n int) { g.n.Add(int64(n)) }

// Load returns the value.
func (g *Gauge) Load() int64 { return g.n.Load() }

// DropReason says why a message from Redis was not relayed.
type DropReason uint8

// The reasons of messages_dropped_total.
const (
	DropOversize DropReason = iota // larger than MAX_PAYLOAD_BYTES; its channel gets a gap
	DropOverlap                    // the copy that a later matching pattern brought
	DropName                       // not a valid channel name
	DropReserved                   // Sidecast's own or Redis's own name
	DropNudge                      // published on a durable channel, and not added to its stream
	numDrops
)

// DropReasons are the label values, by [DropReason].
var DropReasons = [numDrops]string{"oversize", "overlap", "name", "reserved", "nudge"}

// Cause says why an epoch of the Redis link ended.
type Cause uint8

// The causes of redis_epochs_total.
const (
	CauseError    Cause = iota // reading or writing failed, or Redis closed the link
	CauseSilence               // nothing came for 8 s
	CauseMarker                // our own marker was published and did not come back
	CauseDenied                // Redis refused a subscription
	CauseReplica               // the server is, or became, a replica, or is no longer the master that Sentinel names
	CauseCluster               // a node of the cluster was lost, or its bus to the link's node broke
	CauseShutdown              // the relay stops
	numCauses
)

// Causes are the label values, by [Cause].
var Causes = [numCauses]string{"error", "silence", "marker", "denied", "replica", "cluster", "shutdown"}

// Rejection says why a connection was refused before it became a session.
type Rejection uint8

// The reasons of connections_rejected_total.
const (
	RejectHandshake    Rejection = iota // not a WebSocket handshake, or no known subprotocol
	RejectOrigin                        // Origin or Host
	RejectCapacity                      // MAX_CONNECTIONS
	RejectForbidden                     // a channel that is not open to this client
	RejectBadRequest                    // a query that asks for something impossible
	RejectUnavailable                   // Redis, or what answers for it, is away
	RejectDraining                      // the relay stops
	RejectAddress                       // per-address limits
	RejectUnauthorized                  // credentials
	numRejections
)

// Rejections are the label values, by [Rejection].
var Rejections = [numRejections]string{
	"handshake", "origin", "capacity", "forbidden", "bad_request", "unavailable", "draining", "address", "unauthorized",
}

// AuthResult says what came of a question to the application.
type AuthResult uint8

// The results of auth_requests_total.
const (
	AuthGranted   AuthResult = iota // yes
	AuthAnonymous                   // it does not know the user
	AuthForbidden                   // no
	AuthFailed                      // an answer that is none, or no connection
	AuthTimeout                     // no answer within AUTH_TIMEOUT
	AuthBusy                        // not asked: as many questions wait as may
	numAuthResults
)

// AuthResults are the label values, by [AuthResult].
var AuthResults = [numAuthResults]string{"granted", "anonymous", "forbidden", "failed", "timeout", "busy"}

// EvictionReason says why a slow client was thrown out.
type EvictionReason uint8

// The reasons of evictions_total.
const (
	EvictBytes EvictionReason = iota // its outbox was full
	EvictAge                         // its oldest byte waited too long
	EvictTotal                       // all outboxes together were full and its was the largest
	numEvictions
)

// EvictionReasons are the label values, by [EvictionReason].
var EvictionReasons = [numEvictions]string{"bytes", "age", "total"}

// ResumeResult says what came of a client's wish to hear what it missed.
type ResumeResult uint8

// The results of resumes_total.
const (
	ResumeRecovered ResumeResult = iota // it hears all of it
	ResumeGap                           // it is told that messages may be missing
	numResumeResults
)

// ResumeResults are the label values, by [ResumeResult].
var ResumeResults = [numResumeResults]string{"recovered", "gap"}

// Histogram counts durations in fixed buckets from 50 us to 10 s. The zero value is ready.
type Histogram struct {
	buckets [len(histogramBounds) + 1]atomic.Uint64
	nanos   atomic.Int64
}

var histogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(int64(d))
}

// Snapshot returns the number of observations, their sum in seconds, and the cumulative count by upper bound in seconds.
func (h *Histogram) Snapshot() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(histogramBounds))
	for i, bound := range histogramBounds {
		count += h.buckets[i].Load()
		buckets[bound.Seconds()] = count
	}
	count += h.buckets[len(histogramBounds)].Load()
	return count, time.Duration(h.nanos.Load()).Seconds(), buckets
}

// The methods below are what parts of this package call where stats may be nil.

func (s *Stats) Evicted(why EvictionReason) {
	if s != nil {
		s.Evictions[why].Add(1)
	}
}
