package cli

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"sidecast/config"
)

// commands returns the table. Each call returns fresh options.
func commands() []*command {
	return []*command{
		{name: "serve", summary: "run the relay; without a command, sidecast does this", run: serve},
		{
			name: "publish", arguments: "CHANNEL PAYLOAD", min: 2, max: 2, run: publish,
			summary: "publish a message as an application does",
			details: "A PAYLOAD of - reads the payload from standard input.\nOn a durable channel the message is added to the stream.",
		},
		tailCommand(),
		tokenCommand(),
		signCommand(),
		checkCommand(),
		whyCommand(),
		explainCommand(),
		traceCommand(),
		{name: "config", summary: "print the settings in effect, without secrets", run: printConfig},
		{name: "healthcheck", summary: "exit 0 if the relay on this machine is alive", run: healthcheck},
		{name: "version", summary: "print the version", run: version},
		{name: "help", arguments: "[COMMAND]", max: 1, summary: "print this text, or details of one command", run: help},
	}
}

// find returns the command with that name, or nil.
func find(name string) *command {
	all := commands()
	i := slices.IndexFunc(all, func(c *command) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

const helpHead = `Sidecast receives the messages that an application publishes to Redis, and sends them to browsers
over WebSocket.

Usage:
`

const helpTail = `
Without SIDECAST_REDIS_URL, the relay runs an embedded Redis in memory, for development. The
defaults after "embedded:" are for that case.
Exit codes: 0 success, 1 failure, 2 invalid configuration or usage.

Settings, all from the environment:

`

func help(_ context.Context, p *Program, args []string) error {
	if len(args) > 0 {
		c := find(args[0])
		if c == nil {
			return unknownCommand(args[0])
		}
		return p.helpOn(c)
	}
	fmt.Fprint(p.Stdout, helpHead)
	for _, c := range commands() {
		fmt.Fprintf(p.Stdout, "  %-37s %s\n", c.usage(), c.summary)
	}
	fmt.Fprint(p.Stdout, helpTail)
	return config.HelpTable(p.Stdout)
}

// optionWidth is how many columns the meaning of an option may take.
const optionWidth = 75

// helpOn prints how one command is used.
func (p *Program) helpOn(c *command) error {
	fmt.Fprintf(p.Stdout, "Usage:\n  %s\n\n%s.\n", c.usage(), strings.ToUpper(c.summary[:1])+c.summary[1:])
	if c.details != "" {
		fmt.Fprintln(p.Stdout, c.details)
	}
	if c.flags != nil {
		fmt.Fprint(p.Stdout, "\nOptions:\n")
		c.flagSet().VisitAll(func(f *flag.Flag) {
			value, meaning := flag.UnquoteUsage(f)
			name := "--" + f.Name + " " + value
			for _, line := range config.Wrap(meaning, optionWidth) {
				fmt.Fprintf(p.Stdout, "  %-22s %s\n", name, line)
				name = ""
			}
		})
	}
	_, err := fmt.Fprintln(p.Stdout, "\nSettings come from the environment: sidecast help lists them.")
	return err
}

func version(_ context.Context, p *Program, _ []string) error {
	number, revision := p.build()
	_, err := fmt.Fprintf(p.Stdout, "sidecast %s (%s)\n", number, revision)
	return err
}

// build returns the version and commit that the release build set, or otherwise
// those that the Go toolchain recorded.
func (p *Program) build() (number, revision string) {
	number, revision = p.Version, p.Commit
	if info, ok := debug.ReadBuildInfo(); ok {
		number = cmp.Or(number, info.Main.Version)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = cmp.Or(revision, s.Value)
			}
		}
	}
	return cmp.Or(number, "unknown"), cmp.Or(revision, "unknown")
}
