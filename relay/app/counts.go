package app

import (
	"context"

	"sidecast/relay"
	"sidecast/relay/counts"
	"sidecast/relay/source"
)

// watchCounts creates the part that knows how many subscriptions each channel
// has over all relays, and lets the hub report to it, if there are clients of
// the Pusher protocol. It returns what receives the news of other relays over
// the link.
func (a *App) watchCounts(hub *relay.HubConfig) (services []source.Service) {
	if a.cfg.PusherKey == "" {
		return nil
	}
	c := counts.New(counts.Config{
		Names: a.settings.Access.Names, Stats: a.stats, Logger: a.options.Logger,
		Link: func() counts.Link { return a.link }, Connections: func() int { return a.hub.Sessions() },
		Notify: func(channel string, count int) { a.hub.SubscriptionCount(channel, count) },
	})
	a.counts, hub.Counts = c, c
	return []source.Service{{Channel: c.Topic(), Receive: c.Receive, Online: c.Online, Offline: c.Offline}}
}

// runCounts writes the numbers of subscriptions until ctx ends. The link must
// run for longer.
func (a *App) runCounts(ctx context.Context) {
	if a.counts == nil {
		return
	}
	_ = a.counts.Run(ctx)
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := a.counts.Close(release); err != nil {
		a.options.Logger.Warn("the subscriptions at this relay are counted until its lease ends", "err", err)
	}
}
