package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"sidecast/config"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitConfig  = 2
)

// A Program is the context of all commands: its version and its standard streams.
type Program struct {
	Version, Commit string
	Stdin           io.Reader
	Stdout, Stderr  io.Writer
}

// A command is one row of the table.
type command struct {
	name      string
	arguments string // as they appear in usage lines
	summary   string // one line of the overview
	details   string // further lines for `sidecast help NAME`

	min, max int                  // how many arguments there may be; max < 0 means any number
	flags    func(*pflag.FlagSet) // defines options; nil if there are none
	run      func(ctx context.Context, p *Program, args []string) error
}

func (c *command) usage() string {
	return strings.TrimSpace("sidecast " + c.name + " " + c.arguments)
}

// A usageError says how a command is used. The program exits with 2.
type usageError string

func (e usageError) Error() string { return string(e) }

const settingsHint = "settings come from the environment, see sidecast help"

// Main runs the command that args names, serve if there are none, until it is
// done or ctx ends, and returns the exit code: 0 for success, 1 for a failure, 2
// for invalid configuration or usage.
func Main(ctx context.Context, p Program, args []string) int {
	err := p.dispatch(ctx, args)
	var faults config.Faults
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &faults):
		fmt.Fprintf(p.Stderr, "sidecast: invalid configuration:\n%v\n", faults)
		return exitConfig
	case errors.As(err, &usage):
		fmt.Fprintf(p.Stderr, "sidecast: %v\n", usage)
		return exitConfig
	}
	fmt.Fprintf(p.Stderr, "sidecast: %v\n", err)
	return exitFailure
}

var helpFlags, versionFlags = []string{"-h", "-help", "--help"}, []string{"-v", "-version", "--version"}

func (p *Program) dispatch(ctx context.Context, args []string) error {
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch {
	case slices.Contains(helpFlags, name):
		name = "help"
	case slices.Contains(versionFlags, name):
		name = "version"
	case strings.HasPrefix(name, "-"):
		return usageError(fmt.Sprintf("unknown option %q: %s", name, settingsHint))
	}
	c := find(name)
	if c == nil {
		return unknownCommand(name)
	}
	if len(args) == 1 && slices.Contains(helpFlags, args[0]) {
		return p.helpOn(c)
	}
	args, err := c.parse(args)
	if err != nil {
		return err
	}
	return c.run(ctx, p, args)
}

func unknownCommand(name string) error {
	return usageError(fmt.Sprintf("unknown command %q; see sidecast help", name))
}

// parse reads the options, which may stand anywhere before a "--", and returns
// the arguments. A command without options takes everything but the first "--"
// as arguments, so that a payload may begin with a dash.
func (c *command) parse(args []string) ([]string, error) {
	if c.flags == nil {
		if i := slices.Index(args, "--"); i >= 0 {
			args = slices.Delete(slices.Clone(args), i, i+1)
		}
	} else {
		flags := c.flagSet()
		if err := flags.Parse(args); err != nil {
			return nil, usageError(fmt.Sprintf("%v; usage: %s", err, c.usage()))
		}
		args = flags.Args()
	}
	switch {
	case len(args) > 0 && c.max == 0 && c.flags == nil:
		return nil, usageError(c.name + " takes no arguments: " + settingsHint)
	case len(args) < c.min, c.max >= 0 && len(args) > c.max:
		return nil, usageError("usage: " + c.usage())
	}
	return args, nil
}

func (c *command) flagSet() *pflag.FlagSet {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {}
	if c.flags != nil {
		c.flags(flags)
	}
	return flags
}
