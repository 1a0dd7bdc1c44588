package config

import (
	"strconv"
	"strings"

	"sidecast/relay/syntax"
)

// A Switch is `true` or `false`. It also accepts 1, 0 and the other forms of
// [strconv.ParseBool].
type Switch bool

// Decode reads a switch.
func (s *Switch) Decode(value string) error {
	value = strings.TrimSpace(value)
	b, err := strconv.ParseBool(strings.ToLower(value))
	if err != nil {
		return syntax.New(syntax.Quote(value)+" is neither true nor false", "write true or false")
	}
	*s = Switch(b)
	return nil
}

// A Decision is `true`, `false`, or `auto`, which lets Sidecast decide.
type Decision uint8

// The decisions.
const (
	Auto Decision = iota
	True
	False
)

// Decode reads a decision.
func (d *Decision) Decode(value string) error {
	if strings.EqualFold(strings.TrimSpace(value), "auto") {
		*d = Auto
		return nil
	}
	var s Switch
	if s.Decode(value) != nil {
		return syntax.New(syntax.Quote(value)+" is neither auto nor true nor false", "write auto, true or false")
	}
	*d = False
	if s {
		*d = True
	}
	return nil
}

// String returns the decision in the form that Decode reads.
func (d Decision) String() string { return [...]string{"auto", "true", "false"}[d] }

// MarshalText returns what String returns.
func (d Decision) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
