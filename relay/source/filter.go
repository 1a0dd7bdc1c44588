package source

import (
	"errors"
	"slices"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// errPattern says that Redis sent a message for a pattern that the link never subscribed to.
var errPattern = errors.New("message for an unknown pattern")

// A filter decides which messages are relayed, and counts the others. It belongs to the link's goroutine.
type filter struct {
	names    access.Names
	patterns access.Patterns
	redis    []string // patterns as Redis knows them, by index in patterns
	durable  access.Patterns
	marker   string // the service channel, or empty
	stats    *stats.Stats
	single   bool // the server sends one copy of a message, by any pattern that matches

	longestPattern int
	longestName    int // bytes of a Redis name that can still be valid
}

func newFilter(names access.Names, patterns access.Patterns, stats *stats.Stats, markers bool) *filter {
	f := &filter{names: names, patterns: patterns, stats: stats}
	for _, p := range patterns {
		name := names.RedisPattern(p)
		f.redis = append(f.redis, name)
		f.longestPattern = max(f.longestPattern, len(name))
	}
	f.longestName = len(names.Redis("")) + access.MaxChannelName
	if markers {
		f.marker = names.Marker()
		f.longestName = max(f.longestName, len(f.marker))
	}
	return f
}

// subscriptions returns the patterns as Redis knows them, each once.
func subscriptions(names access.Names, patterns access.Patterns) []string {
	var list []string
	for _, p := range patterns {
		if name := names.RedisPattern(p); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// admit returns the channel of a message, and false for one that is not relayed: the copy that a later pattern brought,
// reserved names, and names that name no channel.
func (f *filter) admit(pattern, name []byte) (channel []byte, ok bool, err error) {
	f.stats.RedisMessages.Add(1)
	if string(pattern) != f.redis[0] {
		if ok, err := f.owns(pattern, name); !ok {
			return nil, false, err
		}
	}
	channel, ok = f.names.Channel(name)
	switch {
	case !ok:
		f.stats.Dropped[stats.DropName].Add(1)
		return nil, false, nil
	case f.names.ReservedBytes(name, channel):
		// Markers come by a pattern like `*` too. They are not lost: the exact subscription brings them.
		if f.marker == "" || string(name) != f.marker {
			f.stats.Dropped[stats.DropReserved].Add(1)
		}
		return nil, false, nil
	case !access.ValidChannel(channel):
		f.stats.Dropped[stats.DropName].Add(1)
		return nil, false, nil
	}
	return channel, true, nil
}

// owner is OwnerBytes, called where the compiler cannot inline it: inlined here, each pattern tried would be copied to
// the heap, because the escape of a generic function's arguments is not known across packages.
var owner = access.Patterns.OwnerBytes

// isDurable reports whether a message on the channel is a nudge: the first of the patterns that match is a stream's.
func (f *filter) isDurable(channel []byte) bool {
	return len(f.durable) > 0 && owner(f.durable, channel) >= 0
}

// owns reports whether the pattern, which is not the first, is the first that matches the name. Only the earlier ones
// are tried: that this one matches is Redis's word.
func (f *filter) owns(pattern, name []byte) (bool, error) {
	i := slices.Index(f.redis, string(pattern))
	if i < 0 {
		return false, errPattern
	}
	if f.single {
		return true, nil
	}
	channel, ok := f.names.Channel(name)
	if ok && owner(f.patterns[:i], channel) >= 0 {
		f.stats.Dropped[stats.DropOverlap].Add(1)
		return false, nil
	}
	return true, nil
}

// longName counts a message whose name is too long for any channel.
func (f *filter) longName() {
	f.stats.RedisMessages.Add(1)
	f.stats.Dropped[stats.DropName].Add(1)
}

// oversize counts a message beyond the payload limit.
func (f *filter) oversize() { f.stats.Dropped[stats.DropOversize].Add(1) }
