package app

import (
	"context"
	"sync"

	"sidecast/relay/events"
)

// assembleEvents creates the parts that tell the application what happens.
func (a *App) assembleEvents() {
	cfg := a.cfg
	c := events.Config{
		Redis: a.link.Do, Stream: a.settings.Access.Names.Public("events"), Stats: a.stats, Logger: a.options.Logger,
	}
	a.events = events.NewWriter(c, cfg.Events)
	if cfg.EventsURL.WebURL != "" {
		a.webhooks = events.NewWebhooks(events.WebhookConfig{
			Config: c, URL: string(cfg.EventsURL.WebURL), Secret: cfg.EventsSecret.Reveal(), Format: events.Format(cfg.EventsFormat),
		})
		a.events.OnWritten(a.webhooks.Wake)
	}
}

// startEvents runs these parts until ctx ends, or until the function that it
// returns is called, which waits until they have written their last events.
func (a *App) startEvents(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { _ = a.events.Run(ctx) })
	if a.webhooks != nil {
		all.Go(func() { _ = a.webhooks.Run(ctx) })
	}
	return func() {
		cancel()
		all.Wait()
	}
}
