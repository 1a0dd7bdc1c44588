package cli

import (
	"context"

	"sidecast/relay/app"
	"sidecast/relay/server"
)

// ErrHurry, as the cause of the end of the context of [Main], makes serve stop
// without waiting for load balancers and clients.
var ErrHurry = server.ErrHurry

// serve runs the relay until ctx ends.
func serve(ctx context.Context, p *Program, _ []string) error {
	cfg, _, err := p.load()
	if err != nil {
		return err
	}
	logger := p.logger(cfg)
	if limit := server.TuneMemory(); limit > 0 {
		logger.Debug("memory limit set", "bytes", limit)
	}
	number, revision := p.build()
	relay, err := app.New(cfg, app.Options{Logger: logger, Notices: p.Stderr, Version: number, Commit: revision})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}
