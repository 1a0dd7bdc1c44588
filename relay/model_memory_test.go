package relay_test

import (
	"maps"
	"slices"
)

// A memory is where a client is, by channel, as it was told: what a client keeps to come back.
type memory map[string]whereabouts

// whereabouts are the newest cursor on a channel, and that of the newest heartbeat since.
type whereabouts struct{ after, at string }

// memory reads what the client was sent up to now, of channels that it is not in: what it asked to leave is not left
// before the answer came.
func (c *client) memory() memory {
	known := maps.Clone(c.known)
	if known == nil {
		known = make(memory)
	}
	var joined []string
	leaving := make(map[string]int)
	for _, cmd := range c.life.commands {
		if cmd.kind == "unsubscribed" {
			leaving[cmd.channels[0]]++
		}
	}
	for _, h := range understood(life{protocol: c.life.protocol, stream: c.socket.Got()}) {
		switch h.kind {
		case "subscribed":
			if h.cursor != "" && !slices.Contains(joined, h.channel) {
				joined = append(joined, h.channel)
				known[h.channel] = whereabouts{after: h.cursor}
			}
		case "unsubscribed":
			leaving[h.channel]--
			joined = slices.DeleteFunc(joined, func(name string) bool { return name == h.channel })
		case "message", "gap":
			if h.channel != "" && h.cursor != "" {
				known[h.channel] = whereabouts{after: h.cursor}
			}
		case "heartbeat":
			for _, channel := range joined {
				if h.at != "" {
					known[channel] = whereabouts{known[channel].after, h.at}
				}
			}
		}
	}
	if !c.gone {
		maps.DeleteFunc(known, func(channel string, _ whereabouts) bool { return leaving[channel] > 0 })
	}
	return known
}
