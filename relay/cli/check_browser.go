package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sidecast/config"
	"sidecast/relay/access"
	"sidecast/relay/app"
	"sidecast/relay/protocol"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

// cookieFrom returns a header Cookie. "-" reads it from stdin and "@" and a path
// from a file, because all users of the machine can read the arguments of a
// process.
func cookieFrom(argument string, stdin io.Reader) (string, error) {
	text := argument
	if path, ok := strings.CutPrefix(argument, "@"); ok || argument == "-" {
		from := stdin
		if ok {
			file, err := os.Open(path)
			if err != nil {
				return "", fmt.Errorf("opening the cookie: %w", err)
			}
			defer file.Close()
			from = file
		}
		content, err := io.ReadAll(io.LimitReader(from, 64<<10))
		if err != nil {
			return "", fmt.Errorf("reading the cookie: %w", err)
		}
		text = string(content)
	}
	text = strings.TrimSpace(text)
	if len(text) > len("cookie:") && strings.EqualFold(text[:len("cookie:")], "cookie:") {
		text = strings.TrimSpace(text[len("cookie:"):])
	}
	if argument != "" && (!strings.Contains(text, "=") || strings.ContainsAny(text, "\r\n")) {
		return "", usageError("--cookie: write it as the browser sends it, in one line: NAME=VALUE; NAME=VALUE")
	}
	return text, nil
}

// checkBrowser says who the user of a browser with this cookie is, and what
// opens the channel to this user, or why nothing does. It asks the application,
// as the relay would.
func checkBrowser(ctx context.Context, cfg *config.Config, s *app.Settings, cookie, channel string) []source.Finding {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var why lastReason
	gate := app.NewGate(cfg, s, new(stats.Stats), slog.New(&why), nil)
	go func() { _ = gate.Run(ctx) }() // its requests end with ctx
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/ws", nil)
	if err != nil {
		return []source.Finding{{Level: source.LevelFail, Subject: "login", Text: err.Error()}}
	}
	request.RemoteAddr = "127.0.0.1:0"
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	principal, code := gate.Identify(request, nil)
	if code != 0 {
		return []source.Finding{rejected(cfg, code, &why)}
	}
	findings := []source.Finding{{Subject: "login", Text: user(cfg, principal.Identity, cookie)}}
	if channel == "" {
		return findings
	}
	r := browserRights{cfg: cfg, rules: s.Access, principal: principal, channel: channel, why: &why}
	return append(findings, r.subscribing(ctx), r.publishing())
}

// lastReason is a log that keeps the last reason that was logged. Keys are
// fetched in the background, so it is safe for concurrent use.
type lastReason struct {
	mu         sync.Mutex
	reason, do string
}

// take returns the reason as the end of a sentence, and the advice, which is
// usual unless the log has a better one. It forgets both.
func (l *lastReason) take(usual string) (reason, do string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reason, do = l.reason, cmp.Or(l.do, usual)
	l.reason, l.do = "", ""
	if reason != "" {
		reason = ": " + reason
	}
	return reason, do
}

func (l *lastReason) Enabled(context.Context, slog.Level) bool { return true }
func (l *lastReason) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lastReason) WithGroup(string) slog.Handler            { return l }

func (l *lastReason) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "reason":
			l.reason = a.Value.String()
		case "do":
			l.do = a.Value.String()
		}
		return true
	})
	return nil
}

// rejected describes a client that the relay closes before it has looked at
// channels.
func rejected(cfg *config.Config, code protocol.CloseCode, why *lastReason) source.Finding {
	f := source.Finding{Level: source.LevelWarn, Subject: "login"}
	reason, do := why.take("see the lines above")
	switch code {
	case protocol.CloseUnauthorized:
		f.Text, f.Do = "the token in the cookie "+string(cfg.JWTCookie)+" is not valid"+reason, do
	case protocol.CloseForbidden:
		f.Text, f.Do = "the application refuses this user: SIDECAST_AUTH_URL answers 403", "answer 200 with the user, or 401 if the user is not known"
	default:
		f.Text, f.Do = "whose cookie this is cannot be found out now"+reason, do
	}
	f.Text = fmt.Sprintf("%s; the relay closes with %d", f.Text, code)
	return f
}

// user describes an identity and its rights.
func user(cfg *config.Config, id *access.Identity, cookie string) string {
	switch {
	case id == nil && cookie == "":
		return "without a cookie, the client is anonymous"
	case id == nil && cfg.AuthURL == "" && cfg.JWTCookie == "" && cfg.ChannelAuthURL != "":
		return "anonymous to the relay; the application receives the cookie with each question about a channel"
	case id == nil && cfg.AuthURL == "" && cfg.JWTCookie == "":
		return "anonymous: neither SIDECAST_AUTH_URL nor SIDECAST_JWT_COOKIE is set, so the relay looks at no cookie"
	case id == nil && cfg.AuthURL == "":
		return "anonymous: there is no cookie " + string(cfg.JWTCookie)
	case id == nil:
		return "anonymous: the application does not know this cookie"
	}
	text := fmt.Sprintf("user %s; may receive %s; may publish to %s", id.User,
		list(id.Subscribe, id.Own), list(id.Publish, nil))
	if !id.Until.IsZero() {
		text += "; until " + id.Until.Format(time.RFC3339)
	}
	return text
}

func list(patterns access.Patterns, names []string) string {
	var items []string
	for _, p := range patterns {
		items = append(items, p.String())
	}
	if items = append(items, names...); len(items) == 0 {
		return "no channels of its own"
	}
	return strings.Join(items, ",")
}

// browserRights are the basis of the relay's decision when a browser requests a
// channel.
type browserRights struct {
	cfg       *config.Config
	rules     *access.Rules
	principal access.Principal
	channel   string
	why       *lastReason
}

// subscribing says what lets the browser receive the channel.
func (r *browserRights) subscribing(ctx context.Context) source.Finding {
	f := source.Finding{Subject: fmt.Sprintf("receiving %q", r.channel)}
	if closed := r.relayed(); closed.Text != "" {
		closed.Subject = f.Subject
		return closed
	}
	id := r.principal.Identity
	switch code := r.rules.Subscribe(id, r.channel); {
	case r.rules.Public.Match(r.channel):
		f.Text = "every client may: " + opener("SIDECAST_PUBLIC_CHANNELS", r.rules.Public, r.channel)
		return f
	case code == protocol.CodeOK && slices.Contains(id.Own, r.channel):
		f.Text = "it is the user's own channel, by SIDECAST_USER_CHANNELS"
		return f
	case code == protocol.CodeOK:
		f.Text = "the login grants it: " + opener("channels", id.Subscribe, r.channel)
		return f
	case r.principal.Ask != nil:
		return r.asked(ctx, f)
	}
	f.Level, f.Text = source.LevelWarn, "SIDECAST_PUBLIC_CHANNELS does not contain it; "+r.lacks("channels")
	f.Do = "add it to SIDECAST_PUBLIC_CHANNELS if every client may receive it, or else grant it in the login"
	return f
}

// asked describes the application's answer about the channel.
func (r *browserRights) asked(ctx context.Context, f source.Finding) source.Finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r.why.take("")
	_, code := r.principal.Ask(ctx, r.principal.Identity.UserID(), r.channel)
	switch code {
	case protocol.CodeOK:
		f.Text = "the application allows it, by SIDECAST_CHANNEL_AUTH_URL"
	case protocol.CodeForbidden:
		f.Level, f.Text = source.LevelWarn, "the application refuses it, by SIDECAST_CHANNEL_AUTH_URL, and no pattern grants it"
		f.Do = "answer 204 for channels that this user may receive"
	default:
		reason, do := r.why.take("correct the URL, or the answer of the application")
		f.Level, f.Text, f.Do = source.LevelWarn, "SIDECAST_CHANNEL_AUTH_URL gives no usable answer"+reason, do
	}
	return f
}

// publishing says what lets the browser publish to the channel.
func (r *browserRights) publishing() source.Finding {
	f := source.Finding{Subject: fmt.Sprintf("publishing to %q", r.channel)}
	id := r.principal.Identity
	switch code := r.rules.PublishTo(id, r.channel); {
	case r.relayed().Text != "":
		f.Text = "not possible either"
	case r.rules.Publish.Match(r.channel):
		f.Text = "every client may: " + opener("SIDECAST_PUBLISH_CHANNELS", r.rules.Publish, r.channel)
	case code == protocol.CodeOK:
		f.Text = "the login grants it: " + opener("publish", id.Publish, r.channel)
	default: // usual: most channels are for the application's messages
		f.Text = "not allowed: SIDECAST_PUBLISH_CHANNELS does not contain it; " + r.lacks("publish")
	}
	return f
}

// relayed returns a finding with a text if no client can use the channel,
// whatever its rights are.
func (r *browserRights) relayed() source.Finding {
	f := source.Finding{Level: source.LevelWarn}
	if err := checkName(r.rules.Names, r.channel); err != nil {
		f.Text, f.Do = err.Error(), "use another name"
		return f
	}
	if r.rules.Channels.Match(r.channel) {
		return source.Finding{}
	}
	f.Text, f.Do = "no pattern of SIDECAST_CHANNELS or SIDECAST_DURABLE_CHANNELS matches it", "add it to one of them"
	if bare, ok := strings.CutPrefix(r.channel, r.cfg.ChannelPrefix); ok && r.rules.Channels.Match(bare) {
		f.Do = fmt.Sprintf("clients use names without SIDECAST_CHANNEL_PREFIX: %q", bare)
	}
	return f
}

// lacks says why the login does not grant the channel. grant is the name of the
// list in the answer of the application, and in tokens.
func (r *browserRights) lacks(grant string) string {
	switch {
	case !r.cfg.HasLogin():
		return "clients cannot log in"
	case r.principal.Identity == nil:
		return "an anonymous client has no other rights"
	}
	return "neither does the list " + grant + " of the login"
}

// opener names the first pattern that matches a channel.
func opener(setting string, patterns access.Patterns, channel string) string {
	return fmt.Sprintf("%q in %s", patterns[patterns.Owner(channel)], setting)
}
