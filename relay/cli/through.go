package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/origin"
	"sidecast/relay/source"
	"sidecast/relay/through"
)

var (
	errThrough     = errors.New("clients would have problems: see the lines marked fail")
	errInterrupted = errors.New("the check was interrupted")
)

const throughDetails = "With --through, it checks only the web server, proxies and firewalls in front of a relay, and needs\n" +
	"no settings: it connects to the URL as a browser does, and says what would fail, and which lines of\n" +
	"nginx, HAProxy, Apache or Caddy correct it. Then it leaves the connections idle for the time --idle."

// throughIdle is the default of --idle: longer than the usual timeout of proxies.
const throughIdle = 70 * time.Second

// throughOptions are the options of check that are for --through.
type throughOptions struct {
	target, origin, tokenFile string
	idle                      time.Duration
}

func (t *throughOptions) flags(f *flag.FlagSet) {
	f.StringVar(&t.target, "through", "", "connect through the proxies, to a `URL` like wss://app.example.com/ws, and check only that")
	f.StringVar(&t.origin, "origin", "", "with --through, the `ORIGIN` of the page, like https://www.example.com; default: that of the URL")
	f.StringVar(&t.tokenFile, "token-file", "", "with --through, a `FILE` with the token to log in with; - reads standard input")
	f.DurationVar(&t.idle, "idle", throughIdle, "with --through, how long to leave connections idle, a `TIME` like 2m; 0 skips it; default: 70s")
}

// isSet reports whether one of the options is used that are for --through only.
func (t *throughOptions) isSet() bool {
	return t.target != "" || t.origin != "" || t.tokenFile != "" || t.idle != throughIdle
}

// check reports problems of the way from browsers to the relay.
func (t *throughOptions) check(ctx context.Context, p *Program, o checkOptions) error {
	cfg, err := t.config(p)
	if err != nil {
		return err
	}
	if o.channel != "" && !access.ValidChannel(o.channel) {
		return usageError("--channel: not a valid channel name")
	}
	cfg.Cookie, cfg.Channel = o.cookie, o.channel
	progress := isTerminal(p.Stderr)
	failed := false
	cfg.Report = func(f source.Finding) {
		if progress {
			fmt.Fprint(p.Stderr, "\r\x1b[K") // erases the line that Wait has written
		}
		failed = report(p.Stdout, []source.Finding{f}) != nil || failed
	}
	if progress {
		cfg.Wait = func(waited, total time.Duration) {
			fmt.Fprintf(p.Stderr, "\r\x1b[K      idle for %d of %d s", int(waited.Seconds()), int(total.Seconds()))
		}
	}
	through.Check(ctx, cfg)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case failed:
		return errThrough
	}
	return nil
}

// config returns what to connect to.
func (t *throughOptions) config(p *Program) (cfg through.Config, err error) {
	if t.target == "" {
		return cfg, usageError("--origin, --idle and --token-file are for --through: add the URL, like --through wss://app.example.com/ws")
	}
	if cfg.URL, err = through.Parse(t.target); err != nil {
		return cfg, usageError("--through: " + err.Error())
	}
	if _, ok := origin.Parse(t.origin); t.origin != "" && !ok {
		return cfg, usageError("--origin: write it like https://www.example.com, without a path")
	}
	if t.idle < 0 || t.idle > time.Hour {
		return cfg, usageError("--idle: write a time up to 1h")
	}
	if token := tokenFrom(t.tokenFile, p.Stdin); token != nil {
		if cfg.Token, err = token(); err != nil {
			return cfg, err
		}
	}
	cfg.Origin, cfg.Idle = t.origin, t.idle
	return cfg, nil
}
