package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"sidecast/config"
	"sidecast/relay/app"
)

// load reads the settings and prints warnings about them. The error is a
// [config.Faults] that also has the faults that only the relay can see.
func (p *Program) load() (*config.Config, *app.Settings, error) {
	cfg, warnings, err := config.Load()
	for _, w := range warnings {
		fmt.Fprintf(p.Stderr, "sidecast: warning: %v\n", w)
	}
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, nil, err
	}
	s, more := app.Translate(cfg)
	more = slices.DeleteFunc(more, func(f config.Fault) bool {
		return slices.ContainsFunc(faults, func(reported config.Fault) bool { return reported.Name == f.Name })
	})
	return cfg, s, append(faults, more...).Err()
}

// printConfig prints the settings in effect.
func printConfig(_ context.Context, p *Program, _ []string) error {
	cfg, _, err := p.load()
	if cfg != nil {
		err = errors.Join(cfg.Print(p.Stdout), err)
	}
	return err
}

// logger returns the logger that the settings ask for.
func (p *Program) logger(cfg *config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String()) // not a number of nanoseconds
		}
		return a
	}}
	if cfg.LogFormat == "json" || cfg.LogFormat == "auto" && !isTerminal(p.Stderr) {
		return slog.New(slog.NewJSONHandler(p.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, options))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
