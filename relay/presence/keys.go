package presence

import "sidecast/relay/access"

// keys are the names in Redis that do not depend on a channel.
type keys struct {
	names      access.Names
	generation string // the data since Redis lost it: "<id> <ms until which the relays write their members again>"
	version    string // of the newest change
	relays     string // the relays and their leases
	due        string // the channels, and when to look for expired members
	events     string // the stream; empty if there are no events
	topic      string // the pub/sub channel on which changes are published
}

func newKeys(names access.Names, events bool) keys {
	k := keys{
		names:      names,
		generation: names.Internal("presence-generation"),
		version:    names.Internal("presence-version"),
		relays:     names.Internal("presence-relays"),
		due:        names.Internal("presence-due"),
		topic:      names.Internal("presence"),
	}
	if events {
		k.events = names.Public("events")
	}
	return k
}

func (k *keys) members(channel string) string { return k.names.Public("presence:" + channel) }
func (k *keys) holders(channel string) string { return k.names.Internal("holders:" + channel) }
func (k *keys) infos(channel string) string   { return k.names.Internal("info:" + channel) }

// channel returns the keys of the scripts that begin with channel.lua.
func (k *keys) channel(channel string) []string {
	list := []string{
		k.generation, k.relays, k.members(channel), k.holders(channel), k.infos(channel), k.due, k.version, k.events,
	}
	if k.events == "" {
		list = list[:len(list)-1]
	}
	return list
}
