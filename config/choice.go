package config

import "strings"

// The types of this file have a few allowed values each. Decode accepts every
// text; the tag `oneof` of the setting lists the allowed values.

// A RedisMode is the kind of servers to which a RedisURL leads.
type RedisMode string

// The modes.
const (
	ModeStandalone RedisMode = "standalone"
	ModeSentinel   RedisMode = "sentinel"
	ModeCluster    RedisMode = "cluster"
)

// Decode reads a mode in any case.
func (m *RedisMode) Decode(value string) error {
	*m = RedisMode(lower(value))
	return nil
}

// A Format is the form in which Redis receives a client's message.
type Format string

// The formats.
const (
	FormatRaw  Format = "raw"
	FormatJSON Format = "json"
)

// Decode reads a format in any case.
func (f *Format) Decode(value string) error {
	*f = Format(lower(value))
	return nil
}

// A LogFormat is the format of a log line.
type LogFormat string

// The formats. AutoFormat is text on a terminal, and otherwise JSON.
const (
	AutoFormat LogFormat = "auto"
	TextFormat LogFormat = "text"
	JSONFormat LogFormat = "json"
)

// Decode reads a format in any case.
func (l *LogFormat) Decode(value string) error {
	*l = LogFormat(lower(value))
	return nil
}

func lower(value string) string { return strings.ToLower(strings.TrimSpace(value)) }
