package cli

import (
	"fmt"
	"strconv"
	"time"
)

// parseAt reads a time of the past: HH:MM:SS in the time zone of now, RFC 3339,
// or milliseconds since 1970.
func parseAt(text string, now time.Time) (time.Time, error) {
	at, ok := parseMoment(text, now)
	switch {
	case !ok:
		return at, usageError(fmt.Sprintf("--at: %q is not a time: write it like 10:42:13, 2026-03-09T10:42:13+01:00 or 1773049333000", text))
	case at.After(now):
		return at, usageError(fmt.Sprintf("--at: %s is in the future", text))
	}
	return at, nil
}

func parseMoment(text string, now time.Time) (time.Time, bool) {
	if clock, err := time.Parse("15:04:05", text); err == nil {
		return lastAt(clock, now), true
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		const year2001 = 1e12 // a smaller number is one of seconds
		return time.UnixMilli(ms).In(now.Location()), ms >= year2001 && ms < 1e14
	}
	at, err := time.Parse(time.RFC3339, text)
	return at.In(now.Location()), err == nil
}

// lastAt returns when it was last that late.
func lastAt(clock, now time.Time) time.Time {
	year, month, day := now.Date()
	on := func(day int) time.Time {
		return time.Date(year, month, day, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
	}
	if today := on(day); !today.After(now) {
		return today
	}
	return on(day - 1)
}
