// Sidecast receives the messages that an application publishes to Redis, and sends
// them to browsers.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sidecast/relay/cli"
)

// Set by release builds, with -ldflags -X.
var version, commit string

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if <-signals == os.Interrupt {
			cancel(cli.ErrHurry)
		} else {
			cancel(nil)
		}
		<-signals // a second signal ends the program at once
		os.Exit(1)
	}()
	os.Exit(cli.Main(ctx, cli.Program{
		Version: version, Commit: commit, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}, os.Args[1:]))
}
