package admin

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// catalog lists the metrics of the relay.
func catalog(stats *stats.Stats, gauges Gauges, version, commit string) []metric {
	return slices.Concat(redisMetrics(stats), clientMetrics(stats), authMetrics(stats), fanoutMetrics(stats), relayMetrics(stats, gauges, version, commit))
}

// redisMetrics are about what comes in.
func redisMetrics(s *stats.Stats) []metric {
	return []metric{
		truth("sidecast_redis_up",
			"Whether the link to Redis is up and every pattern confirmed on it: 1 or 0.", s.RedisUp.Load),
		counters("sidecast_redis_epochs_total",
			"Links to Redis that ended, by what ended them. Sessions that lived through it were told of a gap.",
			"cause", stats.Causes[:], s.RedisEpochs[:]),
		counter("sidecast_redis_messages_total",
			"Messages that Redis sent, with those that were then dropped.", &s.RedisMessages),
		counters("sidecast_messages_dropped_total",
			"Messages that Redis sent and the relay handed to nobody, by reason.",
			"reason", stats.DropReasons[:], s.Dropped[:]),
		truth("sidecast_markers_up",
			"Whether markers of this relay come back to it: 1 or 0. Without, clients resume at this relay only.", s.MarkersUp.Load),
		counter("sidecast_markers_lost_total",
			"Markers that the relay published and did not get back in time.", &s.MarkersLost),
		histogram("sidecast_marker_round_trip_seconds",
			"Time from publishing a marker until it came back through the subscription.", &s.MarkerTrip),
	}
}

// clientMetrics are about those who connect, and what they ask for.
func clientMetrics(s *stats.Stats) []metric {
	var codes []string
	for _, code := range protocol.CloseSlots() {
		codes = append(codes, codeLabel(code))
	}
	return []metric{
		newMetric(prometheus.GaugeValue, "sidecast_connections", "Clients that are connected now.", func(o observe) {
			for _, transport := range protocol.Transports() {
				for _, protocol := range protocol.IDs() {
					o(float64(s.Connections[transport][protocol].Load()), transport.String(), protocol.String())
				}
			}
		}, "transport", "protocol"),
		counter("sidecast_connections_opened_total", "Clients that connected and were accepted.", &s.Opened),
		counters("sidecast_connections_closed_total",
			"Accepted clients that are gone, by close code; 1006 broke off without one, other is a code of the client's own.",
			"code", codes, s.Closed[:]),
		counters("sidecast_connections_rejected_total",
			"Connections that were refused before they became sessions, by reason.",
			"reason", stats.Rejections[:], s.Rejected[:]),
		gauge("sidecast_subscriptions", "Subscriptions of all clients now: one client on two channels has two.",
			func() float64 { return float64(s.Subscriptions.Load()) }),
		gauge("sidecast_channels", "Channels that somebody listens to now.",
			func() float64 { return float64(s.Channels.Load()) }),
		newMetric(prometheus.CounterValue, "sidecast_commands_total",
			"Commands that clients sent, by type and by what they were answered.", func(o observe) {
				for _, command := range protocol.Commands() {
					for _, result := range protocol.Codes() {
						o(float64(s.Commands[command][result].Load()), command.String(), result.String())
					}
				}
			}, "type", "result"),
	}
}

// authMetrics are about what the application says of those who connect.
func authMetrics(s *stats.Stats) []metric {
	return []metric{
		counters("sidecast_auth_requests_total",
			"Questions to the application about users and channels, by what came of them; busy was not asked.",
			"result", stats.AuthResults[:], s.AuthRequests[:]),
		histogram("sidecast_auth_seconds", "Time that the application took to answer one.", &s.AuthSeconds),
	}
}

// codeLabel names a close code; 0 stands for all that the relay never sends.
func codeLabel(code protocol.CloseCode) string {
	if code == 0 {
		return "other"
	}
	return strconv.Itoa(int(code))
}

// fanoutMetrics are about handing messages out.
func fanoutMetrics(s *stats.Stats) []metric {
	protocols, gaps := protocol.IDs(), protocol.GapReasons()
	return []metric{
		counters("sidecast_deliveries_total",
			"Messages written or queued for a client: one message to two clients counts twice.",
			"protocol", names(protocols[:]), s.Deliveries[:]),
		counters("sidecast_evictions_total",
			"Clients that were closed with 4408 because they did not read, by the bound that they crossed.",
			"reason", stats.EvictionReasons[:], s.Evictions[:]),
		counters("sidecast_gaps_total",
			"Gaps that clients had, by reason: messages may be missing. On raw only those with gap=close are told.",
			"reason", names(gaps[:]), s.Gaps[:]),
		counters("sidecast_resumes_total",
			"Clients that came back to a channel and named the place where they were, by whether all that they missed was held.",
			"result", stats.ResumeResults[:], s.Resumes[:]),
		histogram("sidecast_fanout_seconds",
			"Time that one shard took to hand a batch of messages to its clients.", &s.Fanout),
	}
}

func names[T fmt.Stringer](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, value.String())
	}
	return all
}

// relayMetrics are about the relay as a whole.
func relayMetrics(s *stats.Stats, gauges Gauges, version, commit string) []metric {
	list := []metric{
		truth("sidecast_draining", "Whether the relay takes leave of its clients: 1 or 0.", s.Draining.Load),
		newMetric(prometheus.GaugeValue, "sidecast_build_info", "Always 1; the labels say what was built.",
			func(o observe) { o(1, version, commit) }, "version", "commit"),
	}
	if read := gauges.OutboxBytes; read != nil {
		list = append(list, gauge("sidecast_outbox_bytes", "Bytes that wait in outboxes for clients to read.",
			func() float64 { return float64(read()) }))
	}
	if read := gauges.HistoryBytes; read != nil {
		list = append(list, gauge("sidecast_history_bytes", "Bytes of messages that are kept for clients that come back.",
			func() float64 { return float64(read()) }))
	}
	return list
}
