package cli

import (
	"io"
	"log/slog"
	"os"

	"sidecast/config"
)

// maxHeader bounds how many bytes of a header the log repeats.
const maxHeader = 200

// logger returns the logger that the settings ask for.
func (p *Program) logger(cfg *config.Config) *slog.Logger {
	terminal := isTerminal(p.Stderr)
	asJSON := cfg.LogFormat == config.JSONFormat || cfg.LogFormat == config.AutoFormat && !terminal
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		return logAttr(a, asJSON && terminal)
	}}
	if asJSON {
		return slog.New(slog.NewJSONHandler(p.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, options))
}

// logAttr returns an attribute as it is logged. escape asks for [printable]:
// as JSON, slog does not escape all characters that control a terminal, as text
// it does.
func logAttr(a slog.Attr, escape bool) slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String()) // not a number of nanoseconds
	}
	if err, ok := a.Value.Any().(error); ok && escape {
		a.Value = slog.StringValue(err.Error())
	}
	if a.Value.Kind() != slog.KindString {
		return a
	}
	text := a.Value.String()
	switch a.Key {
	case "origin", "host", "user_agent":
		text = cut(text, maxHeader)
	}
	if escape {
		text = printable(text)
	}
	a.Value = slog.StringValue(text)
	return a
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
