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
	if !signal.Ignored(syscall.SIGHUP) { // nohup makes it ignored
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		if <-signals == os.Interrupt {
			cancel(cli.ErrHurry)
		} else {
			cancel(nil)
		}
		for s := range signals {
			if s != syscall.SIGHUP { // a terminal that closes can send several
				os.Exit(1) // a second signal ends the program at once
			}
		}
	}()
	os.Exit(cli.Main(ctx, cli.Program{
		Version: version, Commit: commit, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}, os.Args[1:]))
}
