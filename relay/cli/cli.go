package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"sidecast/config"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitConfig  = 2
)

// A Program is the context of all commands: its version and its standard
// streams.
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

	min, max int                 // how many arguments there may be; max < 0 means any number
	flags    func(*flag.FlagSet) // defines options; may be nil
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
// done or ctx ends, and returns the exit code: 0 for success, 1 for a failure,
// 2 for invalid configuration or usage.
func Main(ctx context.Context, p Program, args []string) int {
	err := p.dispatch(ctx, args)
	var faults config.Faults
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &faults):
		fmt.Fprintf(p.Stderr, "sidecast: invalid configuration:\n%s\n", printableLines(faults.Error()))
		return exitConfig
	case errors.As(err, &usage):
		fmt.Fprintf(p.Stderr, "sidecast: %s\n", printable(usage.Error()))
		return exitConfig
	}
	fmt.Fprintf(p.Stderr, "sidecast: %s\n", printableLines(err.Error())) // it may repeat a server's answer
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
	switch {
	case errors.Is(err, flag.ErrHelp):
		return p.helpOn(c)
	case err != nil:
		return usageError(err.Error())
	}
	return c.run(ctx, p, args)
}

func unknownCommand(name string) error {
	return usageError(fmt.Sprintf("unknown command %q; see sidecast help", name))
}

// parse reads the options, which may stand anywhere before a "--", and returns
// the arguments. A command without options takes everything as arguments, so
// that a payload may begin with a dash, but one "--" if there is an argument
// too many.
func (c *command) parse(args []string) ([]string, error) {
	end := slices.Index(args, "--")
	switch {
	case c.flags != nil:
		options, rest := args, []string(nil)
		if end >= 0 {
			options, rest = args[:end], args[end+1:]
		}
		others, err := parseAnywhere(c.flagSet(), options)
		if err != nil {
			return nil, fmt.Errorf("%w; usage: %s", err, c.usage())
		}
		args = append(others, rest...)
	case end >= 0 && len(args) > c.max:
		args = slices.Delete(slices.Clone(args), end, end+1)
	}
	switch {
	case len(args) > 0 && c.max == 0 && c.flags == nil:
		return nil, usageError(c.name + " takes no arguments: " + settingsHint)
	case len(args) < c.min:
		return nil, usageError("too few arguments; usage: " + c.usage())
	case c.max >= 0 && len(args) > c.max:
		return nil, usageError("too many arguments; usage: " + c.usage())
	}
	return args, nil
}

// parseAnywhere parses options between arguments too, where package flag would
// stop, and returns the arguments.
func parseAnywhere(flags *flag.FlagSet, args []string) (others []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return others, nil
		}
		others, args = append(others, flags.Arg(0)), flags.Args()[1:]
	}
}

func (c *command) flagSet() *flag.FlagSet {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if c.flags != nil {
		c.flags(flags)
	}
	return flags
}
