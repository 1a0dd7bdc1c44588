package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"sync"

	"sidecast/relay/app"
	"sidecast/relay/source"
	"sidecast/relay/trace"
)

func explainCommand() *command {
	var relays stringList
	var asJSON bool
	c := &command{
		name: "explain", arguments: "[OPTION...] CHANNEL", min: 1, max: 1,
		summary: "say who receives a channel, and if nobody does, why",
		details: "It asks a relay which pattern relays the channel, to which clients it is open, how many of them\n" +
			"listen now, when the last message arrived, and which similar names have listeners. If no relay\n" +
			"answers, it uses only the settings in its own environment.\n" +
			"It needs SIDECAST_ADMIN_TOKEN unless the relay is on this machine. Each relay knows its own clients\n" +
			"only: name all relays.",
	}
	c.flags = func(f *flag.FlagSet) {
		f.Var(&relays, "relay", relayUsage)
		f.BoolVar(&asJSON, "json", false, "print one JSON object per line, for each relay")
	}
	c.run = func(ctx context.Context, p *Program, args []string) error {
		answers, err := p.explanations(ctx, relays, args[0])
		if err != nil {
			return err
		}
		if asJSON {
			return printExplanationsJSON(p.Stdout, answers)
		}
		return printExplanations(p.Stdout, answers)
	}
	return c
}

// An answeredExplanation is what one relay says about a channel, or the settings
// alone.
type answeredExplanation struct {
	Relay string `json:"relay"`           // its admin listener; empty: the settings alone
	Error string `json:"error,omitempty"` // why the relay says nothing
	*trace.Explanation

	named  bool   // the user has named the relay
	advice string // against Error
}

// explanations asks the relays. If no relay answers and the user has not named
// any, the settings of this command answer.
func (p *Program) explanations(ctx context.Context, urls []string, channel string) ([]answeredExplanation, error) {
	relays, err := adminRelays(urls)
	if _, misused := err.(usageError); misused {
		return nil, err
	}
	if err != nil {
		return p.explainBySettings(channel, err)
	}
	answers := make([]answeredExplanation, len(relays))
	errs := make([]error, len(relays))
	var asking sync.WaitGroup
	for i, relay := range relays {
		asking.Go(func() {
			answers[i] = answeredExplanation{Relay: relay.base, named: len(urls) > 0}
			if answers[i].Explanation, errs[i] = explainedBy(ctx, relay, channel); errs[i] != nil {
				answers[i].Error, answers[i].advice = errs[i].Error(), relayAdvice(errs[i])
			}
		})
	}
	asking.Wait()
	if len(urls) == 0 && errs[0] != nil {
		return p.explainBySettings(channel, errs[0])
	}
	return answers, nil
}

// explainedBy returns what one relay says about a channel.
func explainedBy(ctx context.Context, relay adminRelay, channel string) (*trace.Explanation, error) {
	body, err := relay.ask(ctx, "/explain", url.Values{"channel": {channel}})
	if err != nil {
		return nil, err
	}
	e := new(trace.Explanation)
	if err := json.Unmarshal(body, e); err != nil || len(e.Says) == 0 {
		return nil, fmt.Errorf("the server at %s does not answer like a relay", relay.base)
	}
	return e, nil
}

// explainBySettings explains a channel by the settings of this command. unanswered is why the relay says nothing.
func (p *Program) explainBySettings(channel string, unanswered error) ([]answeredExplanation, error) {
	cfg, s, err := p.load()
	if err != nil {
		return nil, fmt.Errorf("%w\nand the settings of this command do not answer, either:\n%w", unanswered, err)
	}
	return []answeredExplanation{{Error: unanswered.Error(), advice: relayAdvice(unanswered), Explanation: app.TraceSettings(cfg, s).Explain(channel)}}, nil
}

// printExplanations prints sentences, with what helps below them.
func printExplanations(out io.Writer, answers []answeredExplanation) error {
	var failed error
	for _, a := range answers {
		if len(answers) > 1 {
			fmt.Fprintf(out, "%s:\n", printable(a.Relay))
		}
		var findings []source.Finding
		if a.Error != "" {
			f := source.Finding{Level: source.LevelWarn, Subject: "relay", Text: a.Error, Do: a.advice}
			if a.Explanation != nil {
				f.Text += "; the following is only from the settings of this command"
			}
			findings = append(findings, f)
			if a.named {
				failed = fmt.Errorf("not all relays have answered")
			}
		}
		if a.Explanation != nil {
			findings = append(findings, sentences(a.Channel, a.Says)...)
		}
		if err := report(out, findings); err != nil {
			return err
		}
	}
	return failed
}

// sentences returns the sentences about a channel in the form of check.
func sentences(subject string, says []trace.Sentence) (findings []source.Finding) {
	for _, s := range says {
		f := source.Finding{Subject: cut(subject, 60), Text: s.Text, Do: printable(s.Do)}
		if s.Wrong {
			f.Level = source.LevelWarn
		}
		findings = append(findings, f)
	}
	return findings
}

func printExplanationsJSON(out io.Writer, answers []answeredExplanation) error {
	var failed error
	for _, a := range answers {
		if err := printJSON(out, a); err != nil {
			return err
		}
		if a.Error != "" && a.named {
			failed = fmt.Errorf("not all relays have answered")
		}
	}
	return failed
}
