package cli

import (
	"context"
	"flag"
	"fmt"
	"time"

	"sidecast/relay/access"
)

// maxSignTTL is the longest time for which the command signs.
const maxSignTTL = 100 * 365 * 24 * time.Hour

func signCommand() *command {
	var user string
	var ttl time.Duration
	c := &command{
		name: "sign", arguments: "[OPTION...] CHANNEL", min: 1, max: 1, summary: "sign a channel with SIDECAST_CHANNEL_SECRET, for tests",
		details: "Clients send the signature as \"sig\" in subscribe, or as &sig= in the URL.",
	}
	c.flags = func(f *flag.FlagSet) {
		f.StringVar(&user, "user", "", "the `ID` of the only user who may use it; default: every client may")
		f.DurationVar(&ttl, "ttl", time.Hour, "the `DURATION` for which it is valid; default: 1h")
	}
	c.run = func(_ context.Context, p *Program, args []string) error { return sign(p, args[0], user, ttl) }
	return c
}

// sign prints a signature that a relay with these settings accepts.
func sign(p *Program, channel, user string, ttl time.Duration) error {
	_, s, err := p.load()
	switch {
	case err != nil:
		return err
	case s.Access.Secrets == nil:
		return usageError("channels are signed with SIDECAST_CHANNEL_SECRET, which is unset: set it to the relay's value")
	case user != "" && !access.ValidUser(user):
		return fmt.Errorf("--user %q: this is not a valid user id", user)
	case ttl <= 0 || ttl > maxSignTTL:
		return usageError("--ttl must be a duration such as 1h")
	}
	if err := checkName(s.Access.Names, channel); err != nil {
		return err
	}
	if !s.Access.Channels.Match(channel) {
		return fmt.Errorf("%q matches no pattern in SIDECAST_CHANNELS or SIDECAST_DURABLE_CHANNELS: no client can receive it", channel)
	}
	_, err = fmt.Fprintln(p.Stdout, s.Access.Secrets.Sign(channel, user, time.Now().Add(ttl)))
	return err
}
