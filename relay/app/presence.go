package app

import (
	"context"
	"slices"
	"time"

	"sidecast/relay"
	"sidecast/relay/presence"
	"sidecast/relay/protocol"
	"sidecast/relay/roster"
	"sidecast/relay/source"
)

// members creates the part that knows the members of channels, and returns it,
// or nil if no channel has members.
func (a *App) members() relay.Presence {
	if len(a.cfg.PresenceChannels) == 0 {
		return nil
	}
	a.presence = presence.New(presence.Config{
		Names: a.settings.Access.Names, Stats: a.stats, Logger: a.options.Logger,
		Joined: slices.Contains(a.cfg.Events, protocol.ReportJoined), Left: slices.Contains(a.cfg.Events, protocol.ReportLeft),
		Link:   func() presence.Link { return a.link },
		Notify: func(channel string, update roster.Update) { a.hub.PresenceChanged(channel, update) },
	})
	return a.presence
}

// presenceServices returns what receives changes of members over the link.
func (a *App) presenceServices() (list []source.Service) {
	if p := a.presence; p != nil {
		list = append(list, source.Service{Channel: p.Topic(), Receive: p.Receive, Online: p.Online, Offline: p.Offline})
	}
	return list
}

// releaseTimeout bounds how long a relay takes to let its members go.
const releaseTimeout = 2 * time.Second

// runPresence keeps the members of channels in Redis until ctx ends. The link
// must run for longer.
func (a *App) runPresence(ctx context.Context) {
	if a.presence == nil {
		return
	}
	_ = a.presence.Run(ctx)
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := a.presence.Close(release); err != nil {
		a.options.Logger.Warn("the members of the presence channels stay until their lease ends", "err", err)
	}
}
