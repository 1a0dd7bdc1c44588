package app

import "sidecast/relay/trace"

// follow returns what follows a channel at this relay, or nil if the relay keeps
// no records.
func (a *App) follow(channel string) *trace.Follower {
	if a.box == nil {
		return nil
	}
	return trace.NewFollower(a.box, channel, a.settings.Access.Names.Redis(channel), func() map[string]int {
		return a.channelState(channel).Protocols
	})
}
