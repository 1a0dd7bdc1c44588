package config

import (
	"slices"
	"strings"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// Relays reports whether a pattern matches a channel that is relayed.
func (c *Config) Relays(pattern access.Pattern) bool {
	return slices.ContainsFunc(slices.Concat(c.DurableChannels, c.Channels), pattern.Overlaps)
}

// unrelayed checks that the settings about channels concern some that are
// relayed.
func (v *validation) unrelayed() {
	c := v.c
	if !v.valid("CHANNELS", "DURABLE_CHANNELS") || len(c.Channels)+len(c.DurableChannels) == 0 {
		return
	}
	for name, patterns := range map[string]PatternList{"PRESENCE_CHANNELS": c.PresenceChannels, "UNHEARD": c.Unheard} {
		if len(patterns) == 0 || slices.ContainsFunc(patterns, c.Relays) {
			continue
		}
		v.faults.Add(name, "matches no channel that is relayed",
			"add its patterns to "+Prefix+"CHANNELS or "+Prefix+"DURABLE_CHANNELS, or unset "+Prefix+name)
	}
}

// clusterKeys checks that a cluster keeps the keys of each script at one node.
// Those that the application uses, too, have the channel prefix before the key
// prefix.
func (v *validation) clusterKeys() {
	c := v.c
	if c.RedisMode != ModeCluster || c.IsEmbedded() || !v.valid("CHANNEL_PREFIX", "KEY_PREFIX") {
		return
	}
	var users []string
	for name, patterns := range map[string]PatternList{"PRESENCE_CHANNELS": c.PresenceChannels, "UNHEARD": c.Unheard} {
		if len(patterns) > 0 {
			users = append(users, Prefix+name)
		}
	}
	if tag := hashTag(c.KeyPrefix); len(users) == 0 || tag != "" && tag == hashTag(c.ChannelPrefix+c.KeyPrefix) {
		return
	}
	slices.Sort(users)
	v.faults.Add("KEY_PREFIX", "does not keep the keys of "+strings.Join(users, " and ")+" in one slot of the cluster", c.oneSlot())
}

// oneSlot returns which prefixes keep all keys in one slot.
func (c *Config) oneSlot() string {
	tag := "{sidecast}:"
	if own := hashTag(c.ChannelPrefix); own != "" {
		tag = "sidecast:{" + own + "}:"
	}
	hint := "set " + Prefix + "KEY_PREFIX=" + tag + " for all relays"
	if hashTag(c.ChannelPrefix+tag) != hashTag(tag) {
		hint += ", and write " + Prefix + "CHANNEL_PREFIX without braces"
	}
	return hint
}

// hashTag returns the part of a key that decides its slot in a cluster, or
// nothing if that is the whole key.
func hashTag(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !closed {
		return ""
	}
	return tag
}

// withoutEffect returns warnings about settings for the application of which
// nothing follows.
func (c *Config) withoutEffect() (list []Warning) {
	warn := func(name, text string) { list = append(list, Warning{Prefix + name, text}) }
	hasVisitors := c.IsEmbedded() && bool(c.Demo) // for whom the demo page invents names
	if len(c.PresenceChannels) > 0 && !c.HasMethod() && !hasVisitors {
		warn("PRESENCE_CHANNELS", "has no effect, because no client has a user: clients can neither log in nor use signed channels")
	}
	impossible := c.impossibleEvents()
	if c.set["EVENTS"] {
		for _, kind := range impossible {
			needs := "PRESENCE_CHANNELS"
			if kind == protocol.ReportUnheard {
				needs = "UNHEARD"
			}
			warn("EVENTS", kind.String()+" has no effect, because "+Prefix+needs+" is unset")
		}
	}
	if c.set["EVENTS_URL"] && c.EventsURL.WebURL != "" && !c.CausesEvents() {
		warn("EVENTS_URL", "receives only the answers to control messages: the settings cause no other events")
	}
	return list
}

// CausesEvents reports whether events are written that are not answers to
// control messages.
func (c *Config) CausesEvents() bool { return len(c.impossibleEvents()) < len(c.Events) }

// impossibleEvents returns the kinds in EVENTS that cannot occur with the other
// settings.
func (c *Config) impossibleEvents() (kinds []protocol.ReportKind) {
	for _, kind := range c.Events {
		switch kind {
		case protocol.ReportJoined, protocol.ReportLeft:
			if len(c.PresenceChannels) > 0 {
				continue
			}
		case protocol.ReportUnheard:
			if len(c.Unheard) > 0 {
				continue
			}
		default:
			continue
		}
		kinds = append(kinds, kind)
	}
	return kinds
}
