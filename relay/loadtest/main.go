package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Exit codes.
const (
	exitPassed = 0
	exitFailed = 1
	exitUsage  = 2
)

func init() {
	redis.SetLogger(new(logging.VoidLogger)) // what fails is told once, by us
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const helpHead = `Loadtest loads a Sidecast over the network and checks everything that it delivers.

Usage: loadtest [options]

`

const helpTail = `
Exit codes: 0 nothing was wrong, 1 something was, 2 bad usage. Ctrl-C ends a run early and still reports.
`

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stdout)
	if errors.Is(err, errHelp) {
		return exitPassed
	}
	var r *rig
	if err == nil {
		r, err = newRig(ctx, o, newProgress(stderr))
	}
	if err != nil {
		fmt.Fprintf(stderr, "loadtest: %v\n", err)
		return exitUsage
	}
	res, err := r.run(ctx)
	if err == nil {
		err = res.write(o, stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "loadtest: %v\n", err)
		return exitFailed
	case !res.Passed:
		return exitFailed
	}
	return exitPassed
}

// write prints the result as the options say, and writes the report.
func (res *result) write(o *options, stdout io.Writer) error {
	write := res.writeText
	if o.json {
		write = res.writeJSON
	}
	if err := write(stdout); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	if o.html != "" {
		return res.writeHTML(o.html)
	}
	return nil
}
