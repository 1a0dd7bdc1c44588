package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sidecast/config"
	"sidecast/relay/app"
)

// load reads the settings and prints warnings about them. The error is a
// [config.Faults] that also has the faults that only the relay can see.
func (p *Program) load() (*config.Config, *app.Settings, error) {
	cfg, warnings, err := config.Load()
	for _, w := range warnings {
		fmt.Fprintf(p.Stderr, "sidecast: warning: %s\n", printable(w.String()))
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
