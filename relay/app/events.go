package app

import (
	"context"
	"net/http"
	"sync"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/events"
	"sidecast/relay/protocol"
	"sidecast/relay/source"
)

// assembleEvents creates the parts that tell the application what happens. They
// use the link, which is created later.
func (a *App) assembleEvents() {
	cfg := a.cfg
	c := events.Config{
		Redis:  events.Late(func() events.Redis { return a.link.Do }),
		Stream: a.settings.Access.Names.Public("events"), Stats: a.stats, Logger: a.options.Logger,
	}
	a.events = events.NewWriter(c, cfg.Events)
	if cfg.EventsURL.WebURL != "" {
		a.webhooks = events.NewWebhooks(events.WebhookConfig{
			Config: c, URL: string(cfg.EventsURL.WebURL), Secret: cfg.EventsSecret.Reveal(), Format: events.Format(cfg.EventsFormat),
		})
		a.events.OnWritten(a.webhooks.Wake)
	}
	if len(cfg.Unheard) > 0 {
		a.unheard = events.NewUnheard(events.UnheardConfig{
			Config: c, Names: a.settings.Access.Names, Patterns: access.Patterns(cfg.Unheard),
		})
	}
}

// watchUnheard lets the hub and the link report to a.unheard, if there is one.
func (a *App) watchUnheard(hub *relay.HubConfig) (services []source.Service) {
	if a.unheard == nil {
		return nil
	}
	hub.Unheard = a.unheard
	return []source.Service{{Online: func(bool) { a.unheard.Online() }}}
}

// answer reports how many sessions an action of the application concerned.
func (a *App) answer(id string, count int) {
	a.events.Write(protocol.Report{Kind: protocol.ReportControl, ID: id, Count: count})
}

// identify authenticates a client, and reports it if it is refused.
func (a *App) identify(r *http.Request, offered *string) (access.Principal, protocol.CloseCode) {
	principal, code := a.principal(r, offered)
	a.hub.ReportRejected(code)
	return principal, code
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
	if a.unheard != nil {
		all.Go(func() { _ = a.unheard.Run(ctx) })
	}
	return func() {
		cancel()
		all.Wait()
	}
}
