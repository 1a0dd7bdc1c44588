package source

import (
	"bytes"
	"errors"
	"slices"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// errPattern reports that Redis sent a message for a pattern to which the link
// never subscribed.
var errPattern = errors.New("message for an unknown pattern")

// A filter decides which messages are relayed, and counts the others. It
// belongs to the link's goroutine.
type filter struct {
	names         access.Names
	patterns      access.Patterns
	redisPatterns []string // patterns with the prefix, by index in patterns
	durable       access.Patterns
	marker        string   // the marker channel, or empty
	services      []string // the channels of the services
	stats         *stats.Stats
	dropped       func(name []byte, reason stats.DropReason)
	singleCopy    bool // the server sends one copy of a message, for any pattern that matches

	longestPattern int // bytes
	longestName    int // bytes of the longest Redis name that can be valid
}

func newFilter(names access.Names, patterns access.Patterns, stats *stats.Stats, markers bool) *filter {
	f := &filter{names: names, patterns: patterns, stats: stats}
	for _, p := range patterns {
		name := names.RedisPattern(p)
		f.redisPatterns = append(f.redisPatterns, name)
		f.longestPattern = max(f.longestPattern, len(name))
	}
	f.longestName = len(names.Redis("")) + access.MaxChannelName
	if markers {
		f.marker = names.Marker()
		f.longestName = max(f.longestName, len(f.marker))
	}
	return f
}

// subscriptions returns the patterns with the prefix, each once.
func subscriptions(names access.Names, patterns access.Patterns) []string {
	var list []string
	for _, p := range patterns {
		if name := names.RedisPattern(p); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// admit returns the channel of a message. It returns false for messages that
// are not relayed: copies that a later pattern matched, reserved names and
// invalid names.
func (f *filter) admit(pattern, name []byte) (channel []byte, ok bool, err error) {
	f.stats.RedisMessages.Add(1)
	if string(pattern) != f.redisPatterns[0] {
		if ok, err := f.isFirstMatch(pattern, name); !ok {
			return nil, false, err
		}
	}
	channel, ok = f.names.Channel(name)
	switch {
	case !ok:
		f.drop(name, stats.DropName)
		return nil, false, nil
	case f.names.ReservedBytes(name, channel):
		// A pattern like `*` also matches markers and messages for services. They
		// are not lost, because the exact subscriptions deliver them.
		if (f.marker == "" || string(name) != f.marker) && !slices.Contains(f.services, string(name)) {
			f.drop(channel, stats.DropReserved)
		}
		return nil, false, nil
	case !access.ValidChannel(channel):
		f.drop(channel, stats.DropName)
		return nil, false, nil
	}
	return channel, true, nil
}

// drop counts and reports a message that is dropped because of its name. What
// Redis itself publishes is not reported: it may be as much as all writes.
func (f *filter) drop(name []byte, reason stats.DropReason) {
	f.stats.Dropped[reason].Add(1)
	if f.dropped != nil && !bytes.HasPrefix(name, []byte("__")) {
		f.dropped(name, reason)
	}
}

// firstMatch is OwnerBytes, called through a variable so that the compiler
// cannot inline it: if it were inlined here, each pattern that is tried would
// be copied to the heap, because the escape of a generic function's arguments
// is not known across packages.
var firstMatch = access.Patterns.OwnerBytes

// isDurable reports whether a message on the channel is a nudge, because the
// first pattern that matches is one of streams.
func (f *filter) isDurable(channel []byte) bool {
	return len(f.durable) > 0 && firstMatch(f.durable, channel) >= 0
}

// isFirstMatch reports whether the pattern, which is not the first one, is the
// first that matches the name. It tries only the earlier ones, because Redis
// has reported that this one matches.
func (f *filter) isFirstMatch(pattern, name []byte) (bool, error) {
	i := slices.Index(f.redisPatterns, string(pattern))
	if i < 0 {
		return false, errPattern
	}
	if f.singleCopy {
		return true, nil
	}
	channel, ok := f.names.Channel(name)
	if ok && firstMatch(f.patterns[:i], channel) >= 0 {
		f.stats.Dropped[stats.DropOverlap].Add(1)
		return false, nil
	}
	return true, nil
}

// countLongName counts a message whose name is too long for any channel.
func (f *filter) countLongName() {
	f.stats.RedisMessages.Add(1)
	f.stats.Dropped[stats.DropName].Add(1)
}

// countOversize counts a message larger than the payload limit.
func (f *filter) countOversize() { f.stats.Dropped[stats.DropOversize].Add(1) }
