package admin

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// catalog returns the metrics of the relay.
func catalog(stats *stats.Stats, gauges Gauges, version, commit string) []metric {
	return slices.Concat(redisMetrics(stats), clientMetrics(stats), authMetrics(stats), eventMetrics(stats), presenceMetrics(stats), countsMetrics(stats), fanoutMetrics(stats),
		relayMetrics(stats, gauges, version, commit))
}

// redisMetrics returns the metrics about the connection to Redis and the
// messages that it delivers.
func redisMetrics(s *stats.Stats) []metric {
	return []metric{
		boolGauge("sidecast_redis_up",
			"Whether the relay is connected to Redis and Redis has confirmed all patterns: 1 or 0.", s.RedisUp.Load),
		counters("sidecast_redis_epochs_total",
			"Connections to Redis that ended, by cause. Sessions that stayed connected received a gap.",
			"cause", stats.Causes[:], s.RedisEpochs[:]),
		counter("sidecast_redis_messages_total",
			"Messages received from Redis, including those that the relay then dropped.", &s.RedisMessages),
		counters("sidecast_messages_dropped_total",
			"Messages received from Redis that the relay delivered to no client, by reason.",
			"reason", stats.DropReasons[:], s.Dropped[:]),
		counters("sidecast_http_publishes_total",
			"Requests to publish a message over HTTP, by result. unavailable: it may have reached some of its channels.",
			"result", stats.PublishResults[:], s.HTTPPublishes[:]),
		counters("sidecast_pusher_api_requests_total",
			"Requests to the HTTP API of the Pusher protocol, by result. unavailable: an event may have reached some of its channels.",
			"result", stats.APIResults[:], s.APIRequests[:]),
		boolGauge("sidecast_markers_up",
			"Whether the relay receives its own markers from Redis: 1 or 0. If 0, clients can resume only at this relay.",
			s.MarkersUp.Load),
		counter("sidecast_markers_lost_total",
			"Markers that the relay published and did not receive in time.", &s.MarkersLost),
		histogram("sidecast_marker_round_trip_seconds",
			"Time from publishing a marker until the relay received it through its subscription.", &s.MarkerTrip),
	}
}

// clientMetrics returns the metrics about clients, their subscriptions and
// commands.
func clientMetrics(s *stats.Stats) []metric {
	var codes []string
	for _, code := range protocol.CloseSlots() {
		codes = append(codes, codeLabel(code))
	}
	return []metric{
		newMetric(prometheus.GaugeValue, "sidecast_connections", "Clients that are connected now.", func(emit emitFunc) {
			for _, transport := range protocol.Transports() {
				for _, protocol := range protocol.IDs() {
					emit(float64(s.Connections[transport][protocol].Load()), transport.String(), protocol.String())
				}
			}
		}, "transport", "protocol"),
		counter("sidecast_connections_opened_total", "Connections from clients that the relay accepted.", &s.Opened),
		counters("sidecast_connections_closed_total",
			"Accepted connections that ended, by close code. 1006: no close code; other: a code that only clients send.",
			"code", codes, s.Closed[:]),
		counters("sidecast_connections_rejected_total",
			"Connections that the relay rejected before they became sessions, by reason.",
			"reason", stats.Rejections[:], s.Rejected[:]),
		gauge("sidecast_subscriptions", "Current subscriptions of all clients: a client with two channels counts twice.",
			func() float64 { return float64(s.Subscriptions.Load()) }),
		gauge("sidecast_channels", "Channels that at least one client is subscribed to now.",
			func() float64 { return float64(s.Channels.Load()) }),
		newMetric(prometheus.CounterValue, "sidecast_commands_total",
			"Commands that clients sent, by type and result.", func(emit emitFunc) {
				for _, command := range protocol.Commands() {
					for _, result := range protocol.Codes() {
						emit(float64(s.Commands[command][result].Load()), command.String(), result.String())
					}
				}
			}, "type", "result"),
	}
}

// eventMetrics returns the metrics about the events for the application.
func eventMetrics(s *stats.Stats) []metric {
	var kinds []string
	for _, kind := range protocol.ReportKinds() {
		kinds = append(kinds, kind.String())
	}
	return []metric{
		counters("sidecast_events_total", "Events that this relay added to the stream of events, by kind.",
			"kind", kinds, s.EventsWritten[:]),
		counter("sidecast_events_dropped_total",
			"Events that this relay could not write, because Redis was unavailable for too long or refused them.", &s.EventsDropped),
		counters("sidecast_webhook_requests_total", "Requests that posted events to the application, by result.",
			"result", stats.WebhookResults[:], s.WebhookRequests[:]),
		counter("sidecast_webhook_events_total", "Events that the application has accepted from this relay.", &s.WebhookEvents),
		counter("sidecast_webhook_events_lost_total",
			"Events that left the stream after a relay had taken them and before the application accepted them.", &s.WebhookLost),
	}
}

// presenceMetrics returns the metrics about the members of channels.
func presenceMetrics(s *stats.Stats) []metric {
	return []metric{
		gauge("sidecast_presence_members", "Users that are members of a channel by this relay: a user on two channels counts twice.",
			func() float64 { return float64(s.PresenceMembers.Load()) }),
		gauge("sidecast_presence_watchers", "Subscriptions of clients that are sent the members of the channel.",
			func() float64 { return float64(s.PresenceWatchers.Load()) }),
		counter("sidecast_presence_expired_total",
			"Members that this relay has removed because their relays have ended or lost Redis.", &s.PresenceExpired),
		counter("sidecast_presence_errors_total",
			"Attempts to write or read members in Redis that failed. The relay repeats them.", &s.PresenceErrors),
		histogram("sidecast_presence_refresh_seconds", "Time to extend all members of this relay in Redis.", &s.PresenceRefresh),
	}
}

// countsMetrics returns the metrics about the numbers of subscriptions over all
// relays.
func countsMetrics(s *stats.Stats) []metric {
	return []metric{
		counter("sidecast_counts_writes_total",
			"Numbers of subscriptions to a channel that this relay has written to Redis, for clients of the Pusher protocol and the HTTP API.",
			&s.CountsWrites),
		counter("sidecast_counts_errors_total",
			"Attempts to write these numbers, or to read those of other relays, that failed. The relay repeats them.", &s.CountsErrors),
	}
}

// authMetrics returns the metrics about authorization requests to the
// application.
func authMetrics(s *stats.Stats) []metric {
	return []metric{
		counters("sidecast_auth_requests_total",
			"Authorization requests about users and channels, by result. busy: the relay did not send the request.",
			"result", stats.AuthResults[:], s.AuthRequests[:]),
		counters("sidecast_control_messages_total",
			"Control messages of the application, by action. malformed and dropped: they had no effect.",
			"action", stats.ControlActions[:], s.Control[:]),
		histogram("sidecast_auth_seconds", "Time that the application needed to answer one authorization request.",
			&s.AuthSeconds),
	}
}

// fanoutMetrics returns the metrics about the delivery of messages to clients.
func fanoutMetrics(s *stats.Stats) []metric {
	protocols, gaps := protocol.IDs(), protocol.GapReasons()
	return []metric{
		counters("sidecast_deliveries_total",
			"Messages written or queued for a client: one message to two clients counts twice.",
			"protocol", names(protocols[:]), s.Deliveries[:]),
		counters("sidecast_evictions_total",
			"Clients that the relay closed with 4408 because they read too slowly, by the limit that they exceeded.",
			"reason", stats.EvictionReasons[:], s.Evictions[:]),
		counters("sidecast_gaps_total",
			"Times that a client may have missed messages, by reason. Raw clients are notified only with gap=close.",
			"reason", names(gaps[:]), s.Gaps[:]),
		counters("sidecast_resumes_total",
			"Client requests to resume a channel, by whether the relay still had all messages that the client missed.",
			"result", stats.ResumeResults[:], s.Resumes[:]),
		gauge("sidecast_resumes_waiting", "Subscriptions that wait for messages that their client missed, or for Redis.",
			func() float64 { return float64(s.Resuming.Load()) }),
		histogram("sidecast_fanout_seconds",
			"Time that one shard needed to deliver a batch of messages to its clients.", &s.Fanout),
		histogram("sidecast_delivery_lag_seconds",
			"Time that the oldest message of a batch waited for its shard, and for the delivery of the batch to its clients.", &s.Lag),
	}
}

// relayMetrics returns the metrics about the relay as a whole.
func relayMetrics(s *stats.Stats, gauges Gauges, version, commit string) []metric {
	list := []metric{
		boolGauge("sidecast_draining", "Whether the relay is closing its clients before it stops: 1 or 0.",
			s.Draining.Load),
		newMetric(prometheus.GaugeValue, "sidecast_build_info", "Always 1. The labels describe the build.",
			func(emit emitFunc) { emit(1, version, commit) }, "version", "commit"),
	}
	if read := gauges.Sockets; read != nil {
		list = append(list, gauge("sidecast_sockets", "Open connections that MAX_CONNECTIONS limits: clients, and connections that serve plain HTTP.",
			func() float64 { return float64(read()) }))
	}
	if len(gauges.Limits) > 0 {
		list = append(list, limitMetric(gauges.Limits))
	}
	if read := gauges.OutboxBytes; read != nil {
		list = append(list, gauge("sidecast_outbox_bytes", "Bytes that wait in outboxes for slow clients. A message that waits for several clients counts once.",
			func() float64 { return float64(read()) }))
	}
	if read := gauges.Revocations; read != nil {
		list = append(list, gauge("sidecast_revocations", "Logins that the application has ended and the relay therefore rejects.",
			func() float64 { return float64(read()) }))
	}
	if read := gauges.HistoryBytes; read != nil {
		list = append(list, gauge("sidecast_history_bytes", "Bytes of messages that the relay keeps for clients that resume.",
			func() float64 { return float64(read()) }))
	}
	if read := gauges.ReplayBytes; read != nil {
		list = append(list, gauge("sidecast_replay_bytes", "Bytes in outboxes of messages that clients missed: a quarter of OUTBOX_TOTAL_BYTES at most.",
			func() float64 { return float64(read()) }))
	}
	if read := gauges.PageCache; read != nil {
		list = append(list, pageCacheMetrics(read)...)
	}
	return list
}

func limitMetric(limits []Limit) metric {
	return newMetric(prometheus.GaugeValue, "sidecast_limit",
		"Limits in force, by setting: a number, or a number of bytes or seconds. 0 means the same as in the setting.", func(emit emitFunc) {
			for _, limit := range limits {
				emit(limit.Value, limit.Setting)
			}
		}, "setting")
}

// pageCacheMetrics returns the metrics about the pages that clients share when
// they resume.
func pageCacheMetrics(read func() (bytes int64, hits, misses uint64)) []metric {
	return []metric{
		gauge("sidecast_page_cache_bytes", "Bytes of encoded messages and stream entries that clients share when they resume.",
			func() float64 { bytes, _, _ := read(); return float64(bytes) }),
		newMetric(prometheus.CounterValue, "sidecast_page_cache_reads_total",
			"Pages that clients needed when they resumed, by whether the page cache had them.", func(emit emitFunc) {
				_, hits, misses := read()
				emit(float64(hits), "hit")
				emit(float64(misses), "miss")
			}, "result"),
	}
}

// codeLabel returns the label of a close code. 0 stands for all codes that the
// relay never sends.
func codeLabel(code protocol.CloseCode) string {
	if code == 0 {
		return "other"
	}
	return strconv.Itoa(int(code))
}

func names[T fmt.Stringer](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, value.String())
	}
	return all
}
