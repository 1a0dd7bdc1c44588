package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/why"
)

const (
	// whyAround is how long before and after a time a question looks.
	whyAround = 2 * time.Second
	// maxWhyFor bounds the option --for.
	maxWhyFor = time.Hour
)

// whyOptions are the options of `sidecast why`.
type whyOptions struct {
	channel, user, session string
	at                     string
	after                  time.Duration
	relays                 stringList
	file                   string
	json                   bool
}

func whyCommand() *command {
	var w whyOptions
	c := &command{
		name: "why", arguments: "--channel NAME --at TIME",
		summary: "say what happened to a message for each client, and why",
		details: "It reads the records of a relay, which have no messages in them, and needs SIDECAST_ADMIN_TOKEN\n" +
			"unless the relay is on this machine. It looks at the messages that arrived from 2s before TIME\n" +
			"to 2s after it. A TIME like 10:42:13 is in the time zone of this machine, today or yesterday.\n" +
			"Each relay knows its own clients only: name all relays.",
	}
	c.flags = func(f *flag.FlagSet) {
		f.StringVar(&w.channel, "channel", "", "the `NAME` of the channel, without SIDECAST_CHANNEL_PREFIX; required")
		f.StringVar(&w.at, "at", "", "the `TIME` of the message: 10:42:13, RFC 3339, or ms since 1970; required")
		f.DurationVar(&w.after, "for", whyAround, "the `DURATION` after TIME in which to look, at least 2s; default: 2s")
		f.StringVar(&w.user, "user", "", "the `ID` of a user; default: all users, and clients without one")
		f.StringVar(&w.session, "session", "", "the `ID` of a session; default: all sessions")
		f.Var(&w.relays, "relay", relayUsage)
		f.StringVar(&w.file, "file", "", "a `FILE` to read instead of asking a relay: the SIDECAST_BLACKBOX_FILE of a relay that has crashed")
		f.BoolVar(&w.json, "json", false, "print one JSON object per line")
	}
	c.run = func(ctx context.Context, p *Program, _ []string) error {
		q, err := w.question(time.Now())
		if err != nil {
			return usageError(err.Error() + "; usage: " + c.usage())
		}
		return w.run(ctx, p, q)
	}
	return c
}

// question returns the question that the options ask at a time.
func (w *whyOptions) question(now time.Time) (q why.Question, err error) {
	switch {
	case w.channel == "":
		return q, usageError("--channel is missing")
	case w.at == "":
		return q, usageError("--at is missing")
	case w.file != "" && len(w.relays) > 0:
		return q, usageError("--file and --relay exclude each other")
	case w.after < 0 || w.after > maxWhyFor:
		return q, usageError(fmt.Sprintf("--for: write a duration up to %v, like 30s", maxWhyFor))
	}
	at, err := parseAt(w.at, now)
	if err != nil {
		return q, err
	}
	return why.Question{
		Channel: w.channel, From: at.Add(-whyAround), To: at.Add(max(w.after, whyAround)), User: w.user, Session: w.session,
	}, nil
}

// A whyAnswer is what one relay says.
type whyAnswer struct {
	relay string // its URL, or "" if there is only one
	lines []why.Line
	err   error // it did not answer
}

func (w *whyOptions) run(ctx context.Context, p *Program, q why.Question) error {
	var answers []whyAnswer
	if w.file != "" {
		r, err := blackbox.ReadFile(w.file)
		if err != nil {
			return fmt.Errorf("reading the records: %w; --file names the relay's SIDECAST_BLACKBOX_FILE", err)
		}
		answers = []whyAnswer{{lines: why.Ask(r, q)}}
	} else {
		var err error
		if answers, err = askRelays(ctx, w.relays, q); err != nil {
			return err
		}
	}
	print := printWhy
	if w.json {
		print = printWhyJSON
	}
	if err := print(p.Stdout, answers); err != nil {
		return err
	}
	return silent(answers)
}

// silent returns an error if no relay has answered.
func silent(answers []whyAnswer) error {
	var all []error
	for _, a := range answers {
		if a.err == nil {
			return nil
		}
		all = append(all, a.err)
	}
	return errors.Join(all...)
}

// noAnswer is the result of a relay that does not answer.
const noAnswer why.Result = "no_answer"

// A jsonLine is a line of the output for scripts.
type jsonLine struct {
	Relay string `json:"relay,omitempty"`
	why.Line
}
