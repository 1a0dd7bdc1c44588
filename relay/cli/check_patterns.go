package cli

import (
	"fmt"
	"regexp"
	"strings"

	"sidecast/config"
	"sidecast/relay/source"
)

// checkPatterns finds patterns that are valid, but do not match the channels
// that their author meant. Redis accepts them all, and such a relay hears
// nothing.
func checkPatterns(cfg *config.Config) (findings []source.Finding) {
	for _, list := range []struct {
		name     string
		patterns config.PatternList
		relayed  bool // they say which channels are relayed
	}{
		{"CHANNELS", cfg.Channels, true}, {"DURABLE_CHANNELS", cfg.DurableChannels, true},
		{"PUBLIC_CHANNELS", cfg.PublicChannels, false}, {"PUBLISH_CHANNELS", cfg.PublishChannels, false},
		{"PRESENCE_CHANNELS", cfg.PresenceChannels, false}, {"UNHEARD", cfg.Unheard, false},
	} {
		doubts := 0
		for _, pattern := range list.patterns {
			if f := doubt(pattern.String(), cfg.ChannelPrefix); f.Text != "" {
				f.Subject, f.Text = config.Prefix+list.name, fmt.Sprintf("%q %s", pattern, f.Text)
				findings = append(findings, f)
				doubts++
			}
		}
		if doubts == 0 && !list.relayed {
			findings = append(findings, outside(list.name, list.patterns, cfg)...)
		}
	}
	if db := cfg.RedisURL; db.IsSet() && db.DB > 0 && len(cfg.Channels) > 0 {
		findings = append(findings, source.Finding{
			Level: source.LevelWarn, Subject: config.Prefix + "REDIS_URL",
			Text: fmt.Sprintf("database %d has no effect on PUBLISH: the relay receives what is published in every database of this server", db.DB),
			Do:   "remove it, unless durable channels need it; to separate applications, use a prefix of their channels",
		})
	}
	return findings
}

// doubt describes a pattern that probably has a syntax other than Redis's. The
// Text is empty for a usual pattern.
func doubt(pattern, prefix string) source.Finding {
	const commas = "write commas between patterns: chat:*,news"
	warn := func(text, do string) source.Finding {
		return source.Finding{Level: source.LevelWarn, Text: text, Do: do}
	}
	switch {
	case strings.HasPrefix(pattern, "[") && strings.HasSuffix(pattern, "]"):
		return warn("looks like JSON; brackets match one of the characters in them", commas)
	case strings.Contains(pattern, ";"):
		return warn("has a semicolon, which does not separate patterns", commas)
	case strings.ContainsAny(pattern, " \t"):
		return warn("has a blank, which is part of the pattern", commas)
	case expression.MatchString(pattern):
		return warn("looks like a regular expression, and matches only names that have these marks",
			"in a pattern, * alone matches any text: chat:* matches chat:1")
	case strings.Contains(pattern, ".*"): // usual if the names have dots
		return source.Finding{Text: "matches only names with a dot, such as " + strings.ReplaceAll(pattern, "*", "1")}
	case prefix != "" && strings.HasPrefix(pattern, prefix):
		return warn("begins with SIDECAST_CHANNEL_PREFIX, so in Redis it is "+prefix+pattern,
			"write it without the prefix: "+strings.TrimPrefix(pattern, prefix))
	}
	return source.Finding{}
}

// expression matches parts that are usual in regular expressions and not in names.
var expression = regexp.MustCompile(`^\^|\$$|(^|[^0-9A-Za-z*])\.\*|\.\+|\\[dw]`)

// outside finds patterns that open no channel, because no channel that they
// match is relayed. If no pattern of PUBLIC_CHANNELS opens one and there is no
// login, all clients are refused.
func outside(name string, patterns config.PatternList, cfg *config.Config) (findings []source.Finding) {
	for _, pattern := range patterns {
		if cfg.Relays(pattern) {
			continue
		}
		findings = append(findings, source.Finding{
			Level: source.LevelWarn, Subject: config.Prefix + name,
			Text: fmt.Sprintf("%q matches no channel that is relayed", pattern),
			Do:   "add it to SIDECAST_CHANNELS, or remove it",
		})
	}
	if name == "PUBLIC_CHANNELS" && len(patterns) > 0 && len(findings) == len(patterns) && !cfg.HasLogin() {
		for i := range findings {
			findings[i].Level = source.LevelFail
		}
	}
	return findings
}
