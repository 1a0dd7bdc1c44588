package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"sidecast/relay/auth"
)

func tokenCommand() *command {
	var mint auth.MintConfig
	c := &command{name: "token", arguments: "--user ID [OPTION...]", summary: "make a token with SIDECAST_JWT_SECRET, for tests"}
	c.flags = func(f *pflag.FlagSet) {
		f.StringVar(&mint.User, "user", "", "`ID` of the user (required)")
		f.StringArrayVar(&mint.Channels, "channel", nil, "`PATTERN` of channels that the user may subscribe to; repeatable")
		f.StringArrayVar(&mint.Publish, "publish", nil, "`PATTERN` of channels that the user may publish to; repeatable")
		f.StringArrayVar(&mint.Subscribe, "subscribe", nil, "`CHANNEL` to subscribe to at once; repeatable")
		f.DurationVar(&mint.TTL, "ttl", time.Hour, "how long the token is valid")
	}
	c.run = func(_ context.Context, p *Program, _ []string) error {
		if mint.User == "" {
			return usageError("usage: " + c.usage())
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
	mint.Secret, mint.Algorithm = cfg.JWTSecret.Reveal(), s.Keys.Algorithms()[0]
	mint.Issuer, mint.Audience = cfg.JWTIssuer, cfg.JWTAudience
	token, err := auth.Mint(mint)
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	_, err = fmt.Fprintln(p.Stdout, token)
	return err
}
