package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/auth"
	"sidecast/relay/source"
)

var errCheck = errors.New("the relay would not work with these settings: see the lines marked fail")

func checkCommand() *command {
	var o checkOptions
	var t throughOptions
	c := &command{
		name: "check", arguments: "[OPTION...]", summary: "report problems and how to solve them",
		details: "It checks the settings, when certificates expire, and the answers from SIDECAST_AUTH_URL,\n" +
			"SIDECAST_CHANNEL_AUTH_URL, SIDECAST_BROADCAST_AUTH_URL and SIDECAST_JWT_JWKS_URL. It checks the\n" +
			"connection to Redis, the limits of Redis, and the rights of Sidecast's Redis user, and ends with a\n" +
			"message to itself through Redis. With SIDECAST_PUSHER_KEY, it also examines the events that the\n" +
			"application publishes while it runs. With --cookie or --channel, it says who the user of a browser\n" +
			"is, and what opens a channel to this user, or why nothing does.\n" + throughDetails,
	}
	c.flags = func(f *flag.FlagSet) {
		f.StringVar(&o.cookie, "cookie", "", "the `COOKIE` header of a browser, NAME=VALUE; - reads it from standard input, @FILE from a file")
		f.StringVar(&o.channel, "channel", "", "the `NAME` of a channel")
		f.DurationVar(&o.listen, "listen", 3*time.Second, "how long to receive the application's events, a `TIME` like 30s")
		t.flags(f)
	}
	c.run = func(ctx context.Context, p *Program, _ []string) error {
		header, err := cookieFrom(o.cookie, p.Stdin)
		if err != nil {
			return err
		}
		o.cookie = header
		if t.isSet() {
			return t.check(ctx, p, o)
		}
		return check(ctx, p, o)
	}
	return c
}

// checkOptions are the options of the command.
type checkOptions struct {
	cookie, channel string        // of a browser, or empty; cookie is the header, or where to read it
	listen          time.Duration // how long to receive events
}

// check reports problems of the settings, of the application's login and of
// Redis, and how to solve them. The last line says whether a message to itself
// arrives. It takes at least as long as it has to listen to events.
func check(ctx context.Context, p *Program, o checkOptions) error {
	cfg, s, err := p.load()
	if err != nil {
		return err
	}
	events := listenEvents(ctx, cfg, s, o.listen)
	redis := checkRedis(ctx, cfg, s)
	findings := checkSettings(ctx, cfg)
	findings = append(findings, checkLogin(ctx, app.ApplicationConfig(cfg))...)
	findings = append(findings, checkKeys(ctx, cfg)...)
	findings = append(findings, events()...)
	if o.cookie != "" || o.channel != "" {
		findings = append(findings, checkBrowser(ctx, cfg, s, o.cookie, o.channel)...)
	}
	return report(p.Stdout, append(findings, redis...))
}

// checkSettings checks what only this machine has to provide.
func checkSettings(ctx context.Context, cfg *config.Config) []source.Finding {
	findings := []source.Finding{fileLimit(cfg)}
	findings = append(findings, checkPorts(ctx, cfg)...)
	findings = append(findings, checkCertificate(cfg)...)
	findings = append(findings, checkPatterns(cfg)...)
	return append(findings, checkPusher(cfg)...)
}

// checkRedis checks the Redis of the settings, unless a relay would bring its
// own.
func checkRedis(ctx context.Context, cfg *config.Config, s *app.Settings) []source.Finding {
	if cfg.IsEmbedded() {
		return []source.Finding{{
			Subject: "server", Text: "an embedded Redis in memory, for development: set SIDECAST_REDIS_URL to check yours",
		}}
	}
	return source.Check(ctx, app.SourceConfig(cfg, s))
}

// report writes one line for each finding, with its remedy below.
func report(out io.Writer, findings []source.Finding) error {
	failed := false
	for _, f := range findings {
		fmt.Fprintf(out, "%-4s  %s: %s\n", f.Level, printable(f.Subject), printable(f.Text))
		if f.Do != "" {
			fmt.Fprintf(out, "      %s\n", strings.ReplaceAll(f.Do, "\n", "\n        "))
		}
		failed = failed || f.Level == source.LevelFail
	}
	if failed {
		return errCheck
	}
	return nil
}

// fileLimit checks whether the process may open as many files as it accepts
// connections.
func fileLimit(cfg *config.Config) source.Finding {
	connections, files := app.Connections(cfg)
	return fileLimitFinding(cfg.MaxConnections.Or(0), connections, files)
}

// fileLimitFinding compares SIDECAST_MAX_CONNECTIONS, or 0, with the number of
// connections that a relay accepts, and the number of files that it may open, or
// 0.
func fileLimitFinding(limit, connections, files int) source.Finding {
	f := source.Finding{Subject: "file descriptors", Text: fmt.Sprintf("room for %d connections", connections)}
	switch {
	case files == 0:
	case connections < limit:
		f.Level, f.Do = source.LevelWarn, "raise the limit (ulimit -n, LimitNOFILE=, nofile) or lower SIDECAST_MAX_CONNECTIONS"
		f.Text = fmt.Sprintf("SIDECAST_MAX_CONNECTIONS is %d, but only %d files may be open; the relay accepts %d connections",
			limit, files, connections)
	case connections < 1000 && limit == 0:
		f.Level, f.Do = source.LevelWarn, "raise the limit (ulimit -n, LimitNOFILE=, nofile)"
		f.Text = fmt.Sprintf("only %d connections fit: %d files may be open", connections, files)
	}
	return f
}

// checkLogin calls the application as the relay would, with a cookie that it
// cannot know. It is no fault if the application does not know the user.
func checkLogin(ctx context.Context, c auth.ApplicationConfig) (findings []source.Finding) {
	for _, p := range auth.Probe(ctx, c) {
		f := source.Finding{Subject: p.Setting, Text: fmt.Sprintf("the application answers %d to a random test cookie", p.Status)}
		affected := "logins"
		switch p.Setting {
		case "SIDECAST_CHANNEL_AUTH_URL":
			affected = "subscriptions that only the application can allow"
		case "SIDECAST_BROADCAST_AUTH_URL":
			affected = "subscriptions to private and presence channels"
		}
		switch {
		case p.Why != "":
			f.Level, f.Do = source.LevelWarn, cmp.Or(p.Do, "correct the URL, or the answer of the application")+"; until then, "+affected+" fail"
			f.Text = p.Why
			if p.Broken {
				f.Level = source.LevelFail
			} else {
				f.Text = "the application's answer to a random test cookie cannot be used: " + p.Why
			}
		case p.Opens:
			f.Level, f.Text = source.LevelWarn, f.Text+", and grants access"
			f.Do = "answer 401 for users that the application does not know, and 403 for channels that are not the user's"
		}
		findings = append(findings, f)
		if f := source.CertificateFinding(p.Setting, p.Chain, time.Now()); p.Chain != nil && f.Level != source.LevelOK {
			findings = append(findings, f)
		}
		if off := p.Ahead.Abs(); off > time.Second {
			findings = append(findings, source.Finding{
				Level: source.LevelWarn, Subject: p.Setting,
				Text: fmt.Sprintf("the clocks of the application and of this machine differ by %v", off.Round(time.Second)),
				Do:   "set both clocks, for example with NTP: the application ends logins by time",
			})
		}
	}
	return findings
}
