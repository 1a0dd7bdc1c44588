package app

import (
	"time"

	"sidecast/config"
	"sidecast/relay/admin"
	"sidecast/relay/server"
)

// LimitGauges returns the limits in force, for the metrics.
func LimitGauges(cfg *config.Config) []admin.Limit {
	connections, _ := Connections(cfg)
	seconds := func(d config.Duration) float64 { return time.Duration(d).Seconds() }
	return []admin.Limit{
		{Setting: "auth_concurrency", Value: float64(cfg.AuthConcurrency)},
		{Setting: "max_connections", Value: float64(connections)},
		{Setting: "max_connections_per_ip", Value: float64(cfg.MaxConnectionsPerIP)},
		{Setting: "max_connect_rate_per_ip", Value: float64(cfg.MaxConnectRatePerIP)},
		{Setting: "max_channels_per_session", Value: float64(cfg.MaxChannelsPerSession)},
		{Setting: "max_inbound_bytes", Value: float64(cfg.MaxInboundBytes)},
		{Setting: "max_payload_bytes", Value: float64(cfg.MaxPayloadBytes)},
		{Setting: "outbox_bytes", Value: float64(cfg.OutboxBytes)},
		{Setting: "outbox_total_bytes", Value: float64(cfg.OutboxTotalBytes)},
		{Setting: "history_bytes", Value: float64(cfg.HistoryBytes)},
		{Setting: "history_age", Value: seconds(cfg.HistoryAge)},
		{Setting: "page_cache_bytes", Value: float64(cfg.PageCacheBytes)},
		{Setting: "blackbox_bytes", Value: float64(cfg.BlackboxBytes)},
		{Setting: "write_timeout", Value: seconds(cfg.WriteTimeout)},
		{Setting: "ping_interval", Value: seconds(cfg.PingInterval)},
		{Setting: "pong_timeout", Value: seconds(cfg.PongTimeout)},
		{Setting: "command_rate", Value: float64(cfg.CommandRate)},
	}
}

// Connections returns how many connections a relay with these settings serves,
// and the limit on file descriptors of this process, or 0.
func Connections(cfg *config.Config) (connections, files int) {
	return server.Connections(cfg.MaxConnections.Or(0), int(cfg.AuthConcurrency))
}
