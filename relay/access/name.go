package access

import "unicode/utf8"

// Maximum lengths of names, in bytes.
const (
	MaxChannelName = 200
	MaxUserName    = 128
)

// DefaultKeyPrefix is the default prefix of all Redis names of Sidecast itself.
const DefaultKeyPrefix = "sidecast:"

// ValidChannel reports whether name is a valid channel name: 1 to
// [MaxChannelName] bytes of UTF-8 without control characters, line or paragraph
// separators, bidirectional controls or U+FEFF. Names are compared byte for
// byte, and `*` is an ordinary character in a name. The rule is the same for
// URLs, commands, tokens and Redis.
func ValidChannel[T string | []byte](name T) bool { return validName(name, MaxChannelName) }

// ValidUser reports whether id is a valid user id. The rule is that of
// [ValidChannel] with at most [MaxUserName] bytes.
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

// forbiddenRune reports whether r can make two names look alike, or one line
// look like two, in a log or on a page.
func forbiddenRune(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0x9f: // C1 controls
		return true
	case r == 0x2028, r == 0x2029: // line and paragraph separators
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // bidirectional controls
		return true
	}
	return r == 0xfeff
}

// Names translates between the names of channels and their names in Redis, and
// knows which names are reserved. The zero value has no channel prefix and no
// key prefix; use [NewNames] to get one with the default key prefix. A Names is
// immutable.
type Names struct {
	channelPrefix string
	keyPrefix     string
}

// NewNames returns the Names for two prefixes. channelPrefix begins the Redis
// name of every channel and may be empty. keyPrefix begins the Redis names of
// Sidecast itself; if it is empty, [DefaultKeyPrefix] is used.
func NewNames(channelPrefix, keyPrefix string) Names {
	if keyPrefix == "" {
		keyPrefix = DefaultKeyPrefix
	}
	return Names{channelPrefix: channelPrefix, keyPrefix: keyPrefix}
}

// Redis returns the name that channel has in Redis.
func (n Names) Redis(channel string) string { return n.channelPrefix + channel }

// Channel returns the channel of a Redis name, or false if the name does not
// begin with the channel prefix. The result shares name's memory.
func (n Names) Channel(name []byte) ([]byte, bool) {
	if len(name) < len(n.channelPrefix) || string(name[:len(n.channelPrefix)]) != n.channelPrefix {
		return nil, false
	}
	return name[len(n.channelPrefix):], true
}

// RedisPattern returns the argument of PSUBSCRIBE for p: the escaped channel
// prefix, followed by p.
func (n Names) RedisPattern(p Pattern) string { return EscapePattern(n.channelPrefix) + p.String() }

// Public returns the Redis name of a key or channel of Sidecast itself that the
// application uses, too. It begins with the channel prefix, because libraries
// that add a prefix do so to every name.
func (n Names) Public(name string) string { return n.channelPrefix + n.keyPrefix + name }

// Internal returns the Redis name of a key or channel that only relays use.
func (n Names) Internal(name string) string { return n.keyPrefix + name }

// Marker returns the Redis name of the channel on which relays publish markers.
func (n Names) Marker() string { return n.keyPrefix + "mark" }

// Check returns the Redis name of the channel on which `sidecast check`
// publishes a message to itself.
func (n Names) Check() string { return n.keyPrefix + "check" }

// Reserved reports whether channel is reserved: no client may subscribe or
// publish to it, whatever the grants and settings say. A name is reserved if it
// begins, with or without the channel prefix, with the key prefix, with
// [DefaultKeyPrefix], or with `__` (names of Redis itself). The default prefix
// stays reserved if the key prefix is another one, because other relays on the
// same Redis may use it.
func (n Names) Reserved(channel string) bool {
	return hasReservedPrefix(channel, n.keyPrefix) || n.channelPrefix != "" && hasReservedPrefix(n.channelPrefix+channel, n.keyPrefix)
}

// ReservedBytes is [Names.Reserved] without an allocation, for names as Redis
// sends them. name is the whole Redis name, and channel is the part after the
// channel prefix.
func (n Names) ReservedBytes(name, channel []byte) bool {
	return hasReservedPrefix(name, n.keyPrefix) || len(name) != len(channel) && hasReservedPrefix(channel, n.keyPrefix)
}

func hasReservedPrefix[T string | []byte](name T, keyPrefix string) bool {
	return hasPrefix(name, "__") || hasPrefix(name, DefaultKeyPrefix) || keyPrefix != "" && hasPrefix(name, keyPrefix)
}

func hasPrefix[T string | []byte](name T, prefix string) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}
