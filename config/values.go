package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A List is written with commas. Items are trimmed, empty ones are left out, and at least one must remain. An item cannot
// hold a comma; in a pattern `?` can stand for it.
type List []string

// Decode reads a list.
func (l *List) Decode(value string) error {
	var items List
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return &syntaxError{"is a list without items", "write them with commas between, or unset it"}
	}
	*l = items
	return nil
}

// String writes the list as it is read.
func (l List) String() string { return strings.Join(l, ",") }

// A Duration is written with its unit: 10s, 1m30s, 250ms.
type Duration time.Duration

const writeDuration = "write a number and ms, s, m or h, like 10s"

// Decode reads a duration.
func (d *Duration) Decode(value string) error {
	value = strings.TrimSpace(value)
	parsed, err := time.ParseDuration(value)
	if err == nil {
		*d = Duration(parsed)
		return nil
	}
	if _, err := strconv.ParseUint(value, 10, 63); err == nil {
		return &syntaxError{echo(value) + " has no unit", "write " + value + "s"}
	}
	return &syntaxError{echo(value) + " is not a duration", writeDuration}
}

// String writes the duration as it is read, without units that are zero.
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

// A Size is a number of bytes, written plain or with KiB, MiB, GiB or TiB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// Decode reads a size.
func (s *Size) Decode(value string) error {
	value = strings.TrimSpace(value)
	end := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(value)
	}
	number, unit := value[:end], strings.TrimSpace(value[end:])
	factor, written := sizeUnit(unit)
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case number == "" || factor == 0:
		return &syntaxError{echo(value) + " is not a size", "write bytes, or a whole number and KiB, MiB or GiB, like 64MiB"}
	case err != nil || n > math.MaxInt64/factor:
		return &syntaxError{echo(value) + " is too much", "write a smaller size"}
	case unit != written:
		return &syntaxError{echo(value) + " has a unit that it does not take", "write " + number + written}
	}
	*s = Size(n * factor)
	return nil
}

// sizeUnit returns the bytes of a unit and how it is written; for one that is written in another way too, and 0 for none.
func sizeUnit(unit string) (factor int64, written string) {
	if unit == "" {
		return 1, ""
	}
	for _, u := range sizeUnits {
		letter := u.name[:1]
		for _, form := range []string{u.name, letter, letter + "B", letter + "i"} {
			if strings.EqualFold(unit, form) {
				return u.bytes, u.name
			}
		}
	}
	if strings.EqualFold(unit, "B") {
		return 1, ""
	}
	return 0, ""
}

// String writes the size in the largest unit that leaves it whole.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText returns what String returns.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Int returns the size as an int, or the largest int where it does not fit (on 32-bit machines).
func (s Size) Int() int { return int(min(int64(s), math.MaxInt)) }

// A Count is a whole number, decimal digits alone.
type Count int

// Decode reads a count.
func (c *Count) Decode(value string) error {
	n, err := parseCount(value)
	*c = Count(n)
	return err
}

// An AutoCount is a [Count], or `auto`, which is 0.
type AutoCount int

// Decode reads a count or `auto`.
func (c *AutoCount) Decode(value string) error {
	if strings.EqualFold(strings.TrimSpace(value), "auto") {
		*c = 0
		return nil
	}
	n, err := parseCount(value)
	if err == nil && n == 0 {
		return &syntaxError{"0 is too little", "write 1 or more, or auto"}
	}
	*c = AutoCount(n)
	return err
}

// Or returns the count, and n for `auto`.
func (c AutoCount) Or(n int) int {
	if c == 0 {
		return n
	}
	return int(c)
}

// String writes the count as it is read.
func (c AutoCount) String() string {
	if c == 0 {
		return "auto"
	}
	return strconv.Itoa(int(c))
}

// MarshalText returns what String returns.
func (c AutoCount) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// A Rate is a number of events a second, written as a [Count].
type Rate int

// Decode reads a rate.
func (r *Rate) Decode(value string) error {
	if number, ok := strings.CutSuffix(strings.TrimSpace(value), "/s"); ok {
		return &syntaxError{echo(value) + " has a unit", "write " + strings.TrimSpace(number) + ", which is a second"}
	}
	n, err := parseCount(value)
	*r = Rate(n)
	return err
}

// Burst returns how many may come at once: 2.5 times the rate, rounded up.
func (r Rate) Burst() int { return (int(r)*5 + 1) / 2 }

// parseCount reads digits alone. strconv and envconfig also take 0x10, and 010 as eight.
func parseCount(value string) (int, error) {
	value = strings.TrimSpace(value)
	digits := value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if !digits {
		return 0, &syntaxError{echo(value) + " is not a whole number", "write digits alone, like 1000"}
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0, &syntaxError{echo(value) + " is too much", "write a smaller number"}
	}
	return int(n), nil
}

// A Decision is `true`, `false`, or `auto`, which leaves it to Sidecast.
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
		return &syntaxError{echo(value) + " is not a decision", "write auto, true or false"}
	}
	*d = False
	if s {
		*d = True
	}
	return nil
}

// String writes the decision as it is read.
func (d Decision) String() string {
	switch d {
	case True:
		return "true"
	case False:
		return "false"
	}
	return "auto"
}

// MarshalText returns what String returns.
func (d Decision) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// A Switch is `true` or `false`; 1, 0 and what else [strconv.ParseBool] takes will do.
type Switch bool

// Decode reads a switch.
func (s *Switch) Decode(value string) error {
	b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(value)))
	if err != nil {
		return &syntaxError{echo(strings.TrimSpace(value)) + " is neither true nor false", "write true or false"}
	}
	*s = Switch(b)
	return nil
}
