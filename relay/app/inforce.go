package app

import (
	"cmp"
	"fmt"
	"strings"

	"sidecast/config"
)

// inForce returns the attributes of the line that a relay logs when it starts:
// the channels, the rights of clients that are not logged in, and what reads
// from clients. Most mistakes in the settings are visible here.
func (a *App) inForce() []any {
	cfg := a.cfg
	redis := cmp.Or(a.embedded.addr(), a.settings.Redis.Address)
	return []any{
		"version", cmp.Or(a.options.Version, "unknown"),
		"redis", redis, "in_memory", cfg.IsEmbedded(),
		"channels", orNone(cfg.Channels), "durable", orNone(cfg.DurableChannels), "prefix", orNone(config.List{cfg.ChannelPrefix}),
		"public", orNone(cfg.PublicChannels), "publish", orNone(cfg.PublishChannels), "default", orNone(cfg.DefaultChannels),
		"login", orNone(logins(cfg)), "presence", orNone(cfg.PresenceChannels), "unheard", orNone(cfg.Unheard),
		"webhooks", cfg.EventsURL.WebURL != "", "reader", a.readerName(),
	}
}

// readerName returns what reads from the clients, which also depends on the
// system and on TLS.
func (a *App) readerName() string {
	if a.reader == nil || a.cfg.TLSCert != "" {
		return "goroutines"
	}
	return "event loops"
}

// logins returns the settings by which clients get rights.
func logins(cfg *config.Config) (list config.List) {
	for _, name := range append(config.LoginSettings(), "CHANNEL_SECRET", "BROADCAST_AUTH_URL") {
		if cfg.IsSet(name) {
			list = append(list, config.Prefix+name)
		}
	}
	return list
}

func orNone(list fmt.Stringer) string { return cmp.Or(strings.TrimSpace(list.String()), "none") }
