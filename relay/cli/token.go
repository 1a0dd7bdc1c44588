package cli

import (
	"context"
	"flag"
	"fmt"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/auth"
)

func tokenCommand() *command {
	var mint auth.MintConfig
	c := &command{name: "token", arguments: "--user ID [OPTION...]", summary: "make a token with SIDECAST_JWT_SECRET, for tests"}
	c.flags = func(f *flag.FlagSet) {
		list := func(name string, to *[]string, usage string) {
			f.Func(name, usage, func(value string) error { *to = append(*to, value); return nil })
		}
		f.StringVar(&mint.User, "user", "", "the user's `ID`; required")
		list("channel", &mint.Channels, "a `PATTERN` of channels that the user may subscribe to; repeatable")
		list("publish", &mint.Publish, "a `PATTERN` of channels that the user may publish to; repeatable")
		list("subscribe", &mint.Subscribe, "a `CHANNEL` to subscribe to at once; repeatable")
		f.DurationVar(&mint.TTL, "ttl", time.Hour, "the `DURATION` for which the token is valid; default: 1h")
	}
	c.run = func(_ context.Context, p *Program, _ []string) error {
		if mint.User == "" {
			return usageError("--user is missing; usage: " + c.usage())
		}
		return makeToken(p, mint)
	}
	return c
}

// makeToken prints a token that a relay with these settings accepts.
func makeToken(p *Program, mint auth.MintConfig) error {
	cfg, s, err := p.load()
	if err != nil {
		return err
	}
	if !cfg.JWTSecret.IsSet() {
		return usageError("tokens are made with SIDECAST_JWT_SECRET, which is unset: set it to the relay's value")
	}
	if err := checkGrants(mint); err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	mint.Secret, mint.Algorithm = cfg.JWTSecret.Reveal(), s.Keys.Algorithms()[0]
	mint.Issuer, mint.Audience = cfg.JWTIssuer, cfg.JWTAudience
	token, err := auth.Mint(mint)
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	_, err = fmt.Fprintln(p.Stdout, token)
	return err
}

// checkGrants returns an error that names the option with an invalid pattern or
// channel name.
func checkGrants(mint auth.MintConfig) error {
	for _, option := range []struct {
		name     string
		patterns []string
	}{{"--channel", mint.Channels}, {"--publish", mint.Publish}} {
		for _, text := range option.patterns {
			if _, err := access.ParsePattern(text); err != nil {
				return fmt.Errorf("%s %q: %w", option.name, text, err)
			}
		}
	}
	for _, channel := range mint.Subscribe {
		if !access.ValidChannel(channel) {
			return fmt.Errorf("--subscribe %q: this is not a valid channel name", channel)
		}
	}
	return nil
}
