package cli

import (
	"strings"

	"sidecast/config"
	"sidecast/relay/access"
	"sidecast/relay/source"
)

// checkPusher finds out whether the settings let pages of the Pusher protocol do
// what they usually do.
func checkPusher(cfg *config.Config) (findings []source.Finding) {
	if cfg.PusherKey == "" {
		return nil
	}
	warn := func(name, text, do string) {
		findings = append(findings, source.Finding{Level: source.LevelWarn, Subject: config.Prefix + name, Text: text, Do: do})
	}
	note := func(name, text string) {
		findings = append(findings, source.Finding{Subject: config.Prefix + name, Text: text})
	}
	private, presence := cfg.Relays(privatePattern), cfg.Relays(presencePattern)
	switch {
	case !private && !presence:
		warn("CHANNELS", "matches neither private-* nor presence-*, so Echo.private() and Echo.join() are refused",
			"add private-* and presence-*")
	case !private || !presence:
		missing := "private-*"
		if private {
			missing = "presence-*"
		}
		note("CHANNELS", "no pattern matches "+missing+"; add it if your pages use such channels")
	}
	if !opensPublic(cfg.PublicChannels) {
		warn("PUBLIC_CHANNELS", "matches no public channel, so Echo.channel() is refused",
			"list your public channels, or * (private and presence channels are never public)")
	}
	if cfg.PusherAppID == "" && cfg.BroadcastAuthURL == "" {
		note("PUSHER_APP_ID", "is unset: set it for Laravel's drivers reverb and pusher, and SIDECAST_BROADCAST_AUTH_URL for the driver redis")
	}
	return findings
}

var (
	privatePattern  = access.MustPattern("private-*")
	presencePattern = access.MustPattern("presence-*")
)

// opensPublic reports whether a pattern can match a channel for which clients of
// the Pusher protocol need no signature.
func opensPublic(patterns config.PatternList) bool {
	for _, p := range patterns {
		text := p.String()
		if literal := text[:len(text)-len(strings.TrimLeft(text, "#abcdefghijklmnopqrstuvwxyz-"))]; !access.KindOf(literal).Guarded() {
			return true
		}
	}
	return false
}
