package config

// The types of this file have a few allowed values each, which the tag `oneof`
// of the setting lists. They are accepted in any case.

// A RedisMode is the kind of servers to which a RedisURL leads.
type RedisMode string

// The modes.
const (
	ModeStandalone RedisMode = "standalone"
	ModeSentinel   RedisMode = "sentinel"
	ModeCluster    RedisMode = "cluster"
)

// A Format is the form in which Redis receives a client's message.
type Format string

// The formats.
const (
	FormatRaw  Format = "raw"
	FormatJSON Format = "json"
)

// A Payload is the form of the messages in Redis.
type Payload string

// The forms of messages.
const (
	PayloadAuto    Payload = "auto" // PayloadLaravel if there are clients of the Pusher protocol, or else PayloadRaw
	PayloadRaw     Payload = "raw"
	PayloadLaravel Payload = "laravel"
)

// An EventFormat is the format of the webhooks.
type EventFormat string

// The formats.
const (
	EventsJSON   EventFormat = "json"
	EventsPusher EventFormat = "pusher"
)

// A LogFormat is the format of a log line.
type LogFormat string

// The formats. AutoFormat is text on a terminal, and otherwise JSON.
const (
	AutoFormat LogFormat = "auto"
	TextFormat LogFormat = "text"
	JSONFormat LogFormat = "json"
)

// A ReaderKind says how the relay reads from its clients.
type ReaderKind string

// The kinds. ReaderAuto reads plain TCP connections with event loops, on
// systems where that is implemented.
const (
	ReaderAuto      ReaderKind = "auto"
	ReaderGoroutine ReaderKind = "goroutine"
)
