package access

import (
	"strings"
	"unicode/utf8"
)

// Bounds on names, in bytes.
const (
	MaxChannelName = 200
	MaxUserName    = 128
)

// DefaultKeyPrefix begins every Redis name that belongs to Sidecast itself.
const DefaultKeyPrefix = "sidecast:"

// ValidChannel reports whether name can name a channel: 1 to [MaxChannelName] bytes of UTF-8 without control
// characters, line or paragraph separators, bidirectional controls or U+FEFF. Names are compared byte for byte, and a
// `*` in one is a letter. The rule is the same for URLs, commands, tokens and Redis.
func ValidChannel[T string | []byte](name T) bool { return validName(name, MaxChannelName) }

// ValidUser reports whether id can be a user's id: the rule of [ValidChannel] with at most [MaxUserName] bytes.
func ValidUser[T string | []byte](id T) bool { return validName(id, MaxUserName) }

func validName[T string | []byte](name T, limit int) bool {
	if len(name) == 0 || len(name) > limit {
		return false
	}
	for i := 0; i < len(name); {
		if c := name[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(string(name[i:min(i+utf8.UTFMax, len(name))]))
		if r == utf8.RuneError && n == 1 || forbiddenRune(r) {
			return false
		}
		i += n
	}
	return true
}

// forbiddenRune lists what makes two names look alike, or one line look like two, in a log or on a page.
func forbiddenRune(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0x9f: // C1 controls
		return true
	case r == 0x2028, r == 0x2029: // line and paragraph separator
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // bidirectional controls
		return true
	}
	return r == 0xfeff
}

// Names maps channels to the names that they have in Redis, and knows which names are reserved. The zero value has no
// channel prefix and reserves only what begins with `__`; [NewNames] makes a useful one. A Names is immutable.
type Names struct {
	channelPrefix string
	keyPrefix     string
}

// NewNames returns the mapping for the two prefixes. channelPrefix stands before every name that the application
// touches and may be empty; keyPrefix begins Sidecast's own names, and empty means [DefaultKeyPrefix].
func NewNames(channelPrefix, keyPrefix string) Names {
	if keyPrefix == "" {
		keyPrefix = DefaultKeyPrefix
	}
	return Names{channelPrefix: channelPrefix, keyPrefix: keyPrefix}
}

// Redis returns the name that channel has in Redis.
func (n Names) Redis(channel string) string { return n.channelPrefix + channel }

// Channel returns the channel that the Redis name stands for, and false where the name lacks the prefix. The result
// shares name's memory.
func (n Names) Channel(name []byte) ([]byte, bool) {
	if len(name) < len(n.channelPrefix) || string(name[:len(n.channelPrefix)]) != n.channelPrefix {
		return nil, false
	}
	return name[len(n.channelPrefix):], true
}

// RedisPattern returns what to give to PSUBSCRIBE for p: p behind the escaped channel prefix.
func (n Names) RedisPattern(p Pattern) string { return EscapePattern(n.channelPrefix) + p.String() }

// Marker returns the name of the service channel on which relays publish markers.
func (n Names) Marker() string { return n.keyPrefix + "mark" }

// Reserved reports whether no client may ever hear, join or publish to channel, whatever the grants and settings say:
// it begins, with or without the channel prefix, with the key prefix or with `__` (Redis's own names).
func (n Names) Reserved(channel string) bool {
	return n.reservedName(channel) || n.channelPrefix != "" && n.reservedName(n.channelPrefix+channel)
}

// ReservedBytes is [Names.Reserved] without an allocation, for names as Redis sends them: name is the whole Redis name
// and channel the part behind the channel prefix.
func (n Names) ReservedBytes(name, channel []byte) bool {
	return hasReservedPrefix(name, n.keyPrefix) || len(name) != len(channel) && hasReservedPrefix(channel, n.keyPrefix)
}

func (n Names) reservedName(name string) bool {
	return strings.HasPrefix(name, "__") || n.keyPrefix != "" && strings.HasPrefix(name, n.keyPrefix)
}

func hasReservedPrefix(name []byte, keyPrefix string) bool {
	if len(name) >= 2 && name[0] == '_' && name[1] == '_' {
		return true
	}
	return keyPrefix != "" && len(name) >= len(keyPrefix) && string(name[:len(keyPrefix)]) == keyPrefix
}
