package main

import "time"

// resultVersion grows when a field of the JSON changes its meaning or goes; new ones do not count.
const resultVersion = 1

// A result is what a run found, as printed with -json. Durations are named by their unit; "measured" means what was sent
// after the warm-up and within the time to measure.
type result struct {
	Version     int        `json:"version"`
	Started     time.Time  `json:"started"`
	Parameters  parameters `json:"parameters"`
	Passed      bool       `json:"passed"`
	Failures    []string   `json:"failures"` // why not passed
	Warnings    []string   `json:"warnings"` // what makes figures doubtful
	Interrupted bool       `json:"interrupted"`
	Seconds     float64    `json:"seconds"` // measured

	Connect   connectResult   `json:"connect"`
	Published publishResult   `json:"published"`
	Delivered deliverResult   `json:"delivered"`
	Latency   latencyResult   `json:"latency"` // of measured messages, from PUBLISH to the client, slow clients left out
	Checks    checkResult     `json:"checks"`  // of the whole run, warm-up included
	Notices   noticeResult    `json:"notices"`
	Storms    []stormResult   `json:"storms"`
	Server    *serverResult   `json:"server"` // null without -pid
	Generator generatorResult `json:"generator"`
	Series    []point         `json:"series"`
}

// Parameters are the options that shaped the run.
type parameters struct {
	URL           string  `json:"url"`
	Redis         string  `json:"redis"` // host and port: the URL may hold a password
	Protocol      string  `json:"protocol"`
	Clients       int     `json:"clients"`
	Channels      int     `json:"channels"`
	Prefix        string  `json:"prefix"`
	Rate          float64 `json:"rate"`
	Burst         int     `json:"burst"`
	EverySeconds  float64 `json:"every_seconds"`
	Size          int     `json:"size"`
	SlowClients   int     `json:"slow_clients"`
	SlowRate      int     `json:"slow_rate"`
	StormSeconds  float64 `json:"storm_seconds"`
	WarmUpSeconds float64 `json:"warm_up_seconds"`
	ForSeconds    float64 `json:"for_seconds"`
	ConnectRate   float64 `json:"connect_rate"`
	Handshakes    int     `json:"handshakes"`
	Reader        string  `json:"reader"`
	PollMS        float64 `json:"poll_ms"`
	Strict        bool    `json:"strict"`
}

type connectResult struct {
	Served    int               `json:"served"`
	Seconds   float64           `json:"seconds"`
	PerSecond float64           `json:"per_second"`
	Refused   map[string]uint64 `json:"refused"` // attempts, by reason, storms left out
}

type publishResult struct {
	Messages  uint64  `json:"messages"`   // in the whole run
	PerSecond float64 `json:"per_second"` // measured
	Wanted    float64 `json:"wanted_per_second"`
	Unheard   uint64  `json:"unheard"` // no subscriber had them, not even the relay
	Failed    uint64  `json:"failed"`  // Redis gave no answer or an error: not checked
	LateMS    float64 `json:"late_ms"` // the most that the publisher was behind
}

type deliverResult struct {
	Messages  uint64  `json:"messages"` // in the whole run, slow clients included
	Measured  uint64  `json:"measured"`
	PerSecond float64 `json:"per_second"` // measured
	Slow      uint64  `json:"slow"`       // to slow clients
	Bytes     uint64  `json:"bytes"`      // payload
}

type latencyResult struct {
	MeanMS float64 `json:"mean_ms"`
	P50MS  float64 `json:"p50_ms"`
	P90MS  float64 `json:"p90_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p999_ms"`
	MaxMS  float64 `json:"max_ms"`
}

type checkResult struct {
	Lost          uint64 `json:"lost"` // with nobody being told
	Doubled       uint64 `json:"doubled"`
	Reordered     uint64 `json:"reordered"`
	Corrupted     uint64 `json:"corrupted"`
	Leaked        uint64 `json:"leaked"` // heard on another channel
	Faults        uint64 `json:"faults"` // frames that no relay may send
	Broken        uint64 `json:"broken"` // connections that the relay ended without a word, or with an accusation
	Excused       uint64 `json:"missed_in_gaps"`
	MissedEvicted uint64 `json:"missed_by_evicted"` // slow clients
	MissedClosed  uint64 `json:"missed_by_closed"`  // other clients, in flight when the relay closed them
	Foreign       uint64 `json:"foreign"`           // messages of another run
}

type noticeResult struct {
	Gaps    map[string]uint64 `json:"gaps"` // by reason
	Offline uint64            `json:"offline"`
	Closes  map[int]uint64    `json:"closes"`  // by code; 1006 is none
	Evicted uint64            `json:"evicted"` // slow clients
	Overrun uint64            `json:"overrun"` // clients that read, and were closed as slow
}

type stormResult struct {
	AtSeconds float64           `json:"at_seconds"`
	Clients   int               `json:"clients"`
	Served    int               `json:"served"`
	P50MS     float64           `json:"p50_ms"` // until a client was served again
	P99MS     float64           `json:"p99_ms"`
	AllMS     float64           `json:"all_ms"`
	Refused   map[string]uint64 `json:"refused"` // attempts, by reason
}

type serverResult struct {
	PID                int     `json:"pid"`
	CPUMicros          float64 `json:"cpu_us_per_delivery"` // user and system
	CPUSeconds         float64 `json:"cpu_seconds"`
	CPUPercent         float64 `json:"cpu_percent"` // of one core
	RSSBytes           int64   `json:"rss_bytes"`   // at the end
	RSSBefore          int64   `json:"rss_before_bytes"`
	RSSConnected       int64   `json:"rss_connected_bytes"`
	BytesPerConnection float64 `json:"bytes_per_connection"`
}

type generatorResult struct {
	CPUPercent float64 `json:"cpu_percent"` // of one core; 0 where it cannot be told
	RSSBytes   int64   `json:"rss_bytes"`
	Cores      int     `json:"cores"`
}

// A point is one sample; rates and latencies are those since the one before.
type point struct {
	Seconds    float64 `json:"t"`
	Deliveries float64 `json:"deliveries_per_second"`
	Published  float64 `json:"published_per_second"`
	P50MS      float64 `json:"p50_ms"` // 0: nothing came
	P90MS      float64 `json:"p90_ms"`
	P99MS      float64 `json:"p99_ms"`
	MaxMS      float64 `json:"max_ms"`
	Connected  int64   `json:"connected"`
	CPUPercent float64 `json:"server_cpu_percent"`
	RSSBytes   int64   `json:"server_rss_bytes"`
}

func milliseconds[T int64 | float64](ns T) float64 { return float64(ns) / float64(time.Millisecond) }

func newLatency(h *histogram) latencyResult {
	return latencyResult{
		MeanMS: h.mean() / float64(time.Millisecond),
		P50MS:  milliseconds(h.quantile(0.50)), P90MS: milliseconds(h.quantile(0.90)),
		P99MS: milliseconds(h.quantile(0.99)), P999MS: milliseconds(h.quantile(0.999)),
		MaxMS: milliseconds(h.largest),
	}
}

func newParameters(o *options, redisAddr string) parameters {
	return parameters{
		URL: o.url, Redis: redisAddr, Protocol: o.protocol, Clients: o.clients, Channels: o.channels, Prefix: o.prefix,
		Rate: o.rate, Burst: o.burst, EverySeconds: o.every.Seconds(), Size: int(o.size),
		SlowClients: o.slow.of(o.clients), SlowRate: int(o.slowRate), StormSeconds: o.storm.Seconds(),
		WarmUpSeconds: o.warmUp.Seconds(), ForSeconds: o.length.Seconds(), ConnectRate: o.connectRate,
		Handshakes: o.handshakes, Reader: o.reader, PollMS: milliseconds(int64(o.poll)), Strict: o.strict,
	}
}
