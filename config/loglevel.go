package config

import (
	"log/slog"
	"strings"
)

// A Level is the minimum level of the lines to log. It is a [slog.Leveler].
type Level slog.Level

// Decode reads a level as slog does.
func (l *Level) Decode(value string) error {
	return (*slog.Level)(l).UnmarshalText([]byte(strings.TrimSpace(value)))
}

// Level implements [slog.Leveler].
func (l Level) Level() slog.Level { return slog.Level(l) }

// String returns the level in the form that Decode reads, in lower case.
func (l Level) String() string { return strings.ToLower(slog.Level(l).String()) }

// MarshalText returns what String returns.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
