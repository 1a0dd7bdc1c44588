package stats

import (
	"sync/atomic"

	"sidecast/relay/protocol"
)

// Stats holds the metrics of one relay. The zero value is ready for use. It
// must not be copied.
type Stats struct {
	// Messages from Redis.
	RedisUp       atomic.Bool
	RedisMessages Counter
	RedisEpochs   [numCauses]Counter
	Dropped       [numDrops]Counter
	MarkersUp     atomic.Bool // this relay receives its own markers through Redis
	MarkersLost   Counter
	MarkerTrip    Histogram

	// Clients.
	Opened        Counter
	Closed        [protocol.NumCloseSlots]Counter // by protocol.CloseCode.Slot
	Rejected      [numRejections]Counter
	Connections   [protocol.NumTransports][protocol.NumProtocols]Gauge
	Subscriptions Gauge
	Resuming      Gauge // subscriptions whose resume has not ended
	Channels      Gauge
	Commands      [protocol.NumCommands][protocol.NumResults]Counter

	// Events for the application.
	EventsWritten   [protocol.NumReportKinds]Counter
	EventsDropped   Counter
	WebhookRequests [numWebhookResults]Counter
	WebhookEvents   Counter // that the application has accepted
	WebhookLost     Counter // that left the stream before the application accepted them

	// Requests to the application.
	AuthRequests [numAuthResults]Counter
	AuthSeconds  Histogram

	// Messages that the application publishes over HTTP.
	HTTPPublishes [numPublishResults]Counter
	APIRequests   [numAPIResults]Counter // to the HTTP API of the Pusher protocol

	// Presence.
	PresenceMembers  Gauge     // users that this relay makes members, once for each channel
	PresenceWatchers Gauge     // subscriptions that are sent the members of their channel
	PresenceExpired  Counter   // members that this relay removed because theirs had ended
	PresenceErrors   Counter   // attempts that failed
	PresenceRefresh  Histogram // time to extend all members of this relay

	// Numbers of subscriptions over all relays.
	CountsWrites Counter // numbers that this relay wrote to Redis
	CountsErrors Counter // attempts that failed

	// Control messages of the application.
	Control [numControlActions]Counter

	// Delivery.
	Deliveries [protocol.NumProtocols]Counter
	Evictions  [numEvictions]Counter
	Gaps       [protocol.NumGapReasons]Counter
	Resumes    [numResumeResults]Counter
	Fanout     Histogram
	Lag        Histogram // of the oldest message of each batch that a shard delivers
	Draining   atomic.Bool
}

// Evicted counts an eviction. It does nothing if s is nil.
func (s *Stats) Evicted(why EvictionReason) {
	if s != nil {
		s.Evictions[why].Add(1)
	}
}
