// Package app turns settings into a running relay. Only this package and
// relay/cli know both package config and the relay.
//
// A test starts a relay in its own process like this:
//
//	cfg, _, err := config.Load()
//	a, err := app.New(cfg, app.Options{})
//	err = a.Run(ctx)
package app
