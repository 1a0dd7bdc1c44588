package config

import (
	"strconv"
	"strings"
	"time"

	"sidecast/relay/syntax"
)

// A Duration is written with its unit: 10s, 1m30s, 250ms.
type Duration time.Duration

// Decode reads a duration.
func (d *Duration) Decode(value string) error {
	value = strings.TrimSpace(value)
	parsed, err := time.ParseDuration(value)
	if err == nil {
		*d = Duration(parsed)
		return nil
	}
	if _, err := strconv.ParseUint(value, 10, 63); err == nil {
		return syntax.New(syntax.Quote(value)+" has no unit", "write "+value+"s")
	}
	return syntax.New(syntax.Quote(value)+" is not a duration", "write a number and ms, s, m or h, like 10s")
}

// String returns the duration in the form that Decode reads, without units that
// are zero.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText returns what String returns.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
