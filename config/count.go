package config

import (
	"strconv"
	"strings"

	"sidecast/relay/syntax"
)

// A Count is a whole number, written as decimal digits only.
type Count int

// Decode reads a count.
func (c *Count) Decode(value string) error {
	n, err := parseCount(value)
	*c = Count(n)
	return err
}

// An AutoCount is a [Count], or 0 for `auto`.
type AutoCount int

// Decode reads a count or `auto`.
func (c *AutoCount) Decode(value string) error {
	if strings.EqualFold(strings.TrimSpace(value), "auto") {
		*c = 0
		return nil
	}
	n, err := parseCount(value)
	if err == nil && n == 0 {
		return syntax.New("0 is below the minimum", "write 1 or more, or auto")
	}
	*c = AutoCount(n)
	return err
}

// Or returns the count, or n for `auto`.
func (c AutoCount) Or(n int) int {
	if c == 0 {
		return n
	}
	return int(c)
}

// String returns the count in the form that Decode reads.
func (c AutoCount) String() string {
	if c == 0 {
		return "auto"
	}
	return strconv.Itoa(int(c))
}

// MarshalText returns what String returns.
func (c AutoCount) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// A Rate is a number of events per second, written as a [Count].
type Rate int

// Decode reads a rate.
func (r *Rate) Decode(value string) error {
	value = strings.TrimSpace(value)
	if text, ok := strings.CutSuffix(value, "/s"); ok {
		if n, err := parseCount(text); err == nil {
			number := strconv.Itoa(n)
			return syntax.New(syntax.Quote(value)+" has a unit", "write "+number+", which means "+number+" per second")
		}
	}
	n, err := parseCount(value)
	*r = Rate(n)
	return err
}

// Burst returns how many events may happen at the same time: 2.5 times the
// rate, rounded up.
func (r Rate) Burst() int { return (int(r)*5 + 1) / 2 }

// parseCount accepts only digits. strconv and envconfig also accept 0x10, and
// read 010 as eight.
func parseCount(value string) (int, error) {
	value = strings.TrimSpace(value)
	digits := value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if !digits {
		return 0, syntax.New(syntax.Quote(value)+" is not a whole number", "write only digits, like 1000")
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0, syntax.New(syntax.Quote(value)+" is too large", "write a smaller number")
	}
	return int(n), nil
}
