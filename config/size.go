package config

import (
	"math"
	"strconv"
	"strings"

	"sidecast/relay/syntax"
)

// A Size is a number of bytes, written as digits only or with KiB, MiB, GiB or
// TiB.
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
		return syntax.New(syntax.Quote(value)+" is not a size", "write bytes, or a whole number and KiB, MiB or GiB, like 64MiB")
	case err != nil || n > math.MaxInt64/factor:
		return syntax.New(syntax.Quote(value)+" is too large", "write a smaller size")
	case unit != written:
		return syntax.New(syntax.Quote(value)+" has a unit that is not supported", "write "+number+written)
	}
	*s = Size(n * factor)
	return nil
}

// sizeUnit returns the number of bytes of a unit and its correct spelling. It
// also recognizes other spellings, so that an error can suggest the correct
// one. For an unknown unit it returns 0.
func sizeUnit(unit string) (factor int64, written string) {
	if unit == "" || strings.EqualFold(unit, "B") {
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
	return 0, ""
}

// String returns the size as a whole number of the largest possible unit.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// roundUp returns a size that can be written in KiB or a larger unit and is not
// less than s.
func (s Size) roundUp() Size { return (s + 1<<10 - 1) &^ (1<<10 - 1) }

// MarshalText returns what String returns.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Int returns the size as an int, or the largest int if the size does not fit
// (on 32-bit machines).
func (s Size) Int() int { return int(min(int64(s), math.MaxInt)) }
