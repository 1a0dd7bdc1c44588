package config

import (
	"slices"

	"sidecast/relay/access"
)

// The channels that the Pusher protocol needs, as patterns.
var (
	presencePattern    = access.MustPattern("presence-*")
	userChannelPattern = access.MustPattern(access.EscapePattern(access.UserChannelPrefix) + "*")
)

// addPusherChannels adds the channels to the settings that the Pusher protocol
// needs: those of the users who sign in are relayed, and presence channels have
// members if they are relayed.
func (c *Config) addPusherChannels() {
	if !c.set["PUSHER_KEY"] || len(c.Channels)+len(c.DurableChannels) == 0 {
		return
	}
	if !matchesAll(slices.Concat(c.DurableChannels, c.Channels), access.UserChannelPrefix) {
		c.Channels = append(c.Channels, userChannelPattern)
	}
	if c.Relays(presencePattern) && !matchesAll(c.PresenceChannels, "presence-") {
		c.PresenceChannels = append(c.PresenceChannels, presencePattern)
	}
}

// matchesAll reports whether patterns match all names that begin with a prefix, as
// far as some very different ones can show it.
func matchesAll(patterns PatternList, prefix string) bool {
	return !slices.ContainsFunc([]string{"1", "a", "Z.9", "~:", "é"}, func(rest string) bool {
		return !access.Patterns(patterns).Match(prefix + rest)
	})
}

// pusher checks the settings of the Pusher protocol.
func (v *validation) pusher() {
	c, set := v.c, v.c.set
	for _, name := range []string{"PUSHER_APP_ID", "PUSHER_SECRET", "BROADCAST_AUTH_URL"} {
		if set[name] && v.valid(name) && !set["PUSHER_KEY"] {
			v.faults.Add(name, "is set, but "+Prefix+"PUSHER_KEY is not",
				"set "+Prefix+"PUSHER_KEY to the key that your pages use, or unset "+Prefix+name)
		}
	}
	v.broadcasts()
	if !set["PUSHER_KEY"] {
		return
	}
	if !set["PUSHER_SECRET"] {
		v.faults.Add("PUSHER_SECRET", "is unset, but "+Prefix+"PUSHER_KEY is set",
			"set it to the secret of your application, PUSHER_APP_SECRET or REVERB_APP_SECRET in Laravel")
	}
	for name, value := range map[string]string{"PUSHER_KEY": c.PusherKey, "PUSHER_APP_ID": c.PusherAppID} {
		if v.valid(name) && set[name] && !validAppName(value) {
			v.faults.Add(name, "is a part of URLs, and contains other characters than letters, digits, -, _ and .",
				"write at most 128 of these characters")
		}
	}
	if v.valid("PAYLOAD") && c.Payload == PayloadRaw {
		v.faults.Add("PAYLOAD", "is raw, but the events of the Pusher protocol have Laravel's form in Redis",
			"unset it, or unset "+Prefix+"PUSHER_KEY")
	}
}

// envelopes checks that only one setting decides about the form of what clients
// publish.
func (v *validation) envelopes() {
	if v.valid("PAYLOAD", "PUBLISH_FORMAT") && v.c.HasEnvelopes() && v.c.PublishFormat == FormatJSON {
		v.faults.Add("PUBLISH_FORMAT", "is json, but clients' messages have Laravel's form in Redis",
			"unset it, or set "+Prefix+"PAYLOAD=raw if there is no "+Prefix+"PUSHER_KEY")
	}
}

// maxAppName bounds the key and the id of an application, in bytes.
const maxAppName = 128

// validAppName reports whether a text can be a part of a URL as it is.
func validAppName(text string) bool {
	return len(text) > 0 && len(text) <= maxAppName && !slices.ContainsFunc([]byte(text), func(c byte) bool {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			return false
		}
		return true
	})
}
