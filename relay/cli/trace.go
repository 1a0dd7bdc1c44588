package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"sidecast/relay/trace"
)

// traceTick is how often a trace looks for events that are overdue.
const traceTick = 250 * time.Millisecond

func traceCommand() *command {
	var relays stringList
	var asJSON bool
	var limit time.Duration
	c := &command{
		name: "trace", arguments: "[OPTION...] CHANNEL", min: 1, max: 1,
		summary: "follow messages from Redis to the clients",
		details: "It shows, until you interrupt it, the messages that arrive at Redis on the channel and on similar\n" +
			"names, and how many clients the relay sends them to. Publish while it runs. Payloads are not shown.\n" +
			"For Redis, it needs the settings of the relay, and for similar names the rights +psubscribe and &*.\n" +
			"It needs SIDECAST_ADMIN_TOKEN unless the relay is on this machine. Each relay knows its own clients\n" +
			"only: name all relays.",
	}
	c.flags = func(f *flag.FlagSet) {
		f.Var(&relays, "relay", relayUsage)
		f.BoolVar(&asJSON, "json", false, "print one JSON object per line")
		f.DurationVar(&limit, "for", 0, "end after this `TIME`, like 30s; default: until you interrupt it")
	}
	c.run = func(ctx context.Context, p *Program, args []string) error {
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			// With a deadline, reads from Redis would fail a moment before ctx ends.
			defer time.AfterFunc(limit, cancel).Stop()
		}
		t, err := p.newTracer(ctx, relays, args[0])
		if err != nil {
			return err
		}
		t.json = asJSON
		return t.run(ctx)
	}
	return c
}

// A traceInput is something for the trace, which only the tracer's goroutine
// uses.
type traceInput func(*trace.Trace) []trace.Line

// A tracer follows a channel at Redis and at relays.
type tracer struct {
	out     io.Writer
	json    bool
	relays  []adminRelay
	answers []answeredExplanation // of the relays, or of the settings alone
	redis   *traceRedis           // nil if there is no Redis to listen to
	note    trace.Line            // if redis is nil: why

	inputs chan traceInput
	trace  *trace.Trace
}

// newTracer finds the relays and Redis. It returns an error if there are neither.
func (p *Program) newTracer(ctx context.Context, urls []string, channel string) (*tracer, error) {
	answers, err := p.explanations(ctx, urls, channel)
	if err != nil {
		return nil, err
	}
	t := &tracer{out: p.Stdout, answers: answers, inputs: make(chan traceInput, 1000)}
	t.relays, _ = adminRelays(urls) // an error is in the answers
	explained := t.explanation()
	client, s, err := p.redis()
	switch {
	case err == nil:
		t.redis = newTraceRedis(client, s, explained, t.inputs)
	case !slices.ContainsFunc(answers, func(a answeredExplanation) bool { return a.Error == "" }):
		return nil, fmt.Errorf("no relay has answered, and there is no Redis to listen to: %w", err)
	default:
		t.note = trace.Line{At: time.Now(), From: "redis", Kind: "redis", Sentence: trace.Sentence{
			Text: "not followed: " + err.Error(), Do: "give this command the settings of the relay, at least SIDECAST_REDIS_URL and SIDECAST_CHANNELS", Wrong: true,
		}}
	}
	if explained == nil {
		bySettings, err := p.explainBySettings(channel, fmt.Errorf("no relay has answered"))
		if err != nil {
			return nil, err
		}
		t.answers = append(t.answers, bySettings...)
		t.redis.explained = t.explanation()
	}
	return t, nil
}

// explanation returns the first one: that of a relay if one has answered.
func (t *tracer) explanation() *trace.Explanation {
	for _, a := range t.answers {
		if a.Explanation != nil {
			return a.Explanation
		}
	}
	return nil
}

// run follows the channel until ctx ends.
func (t *tracer) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	server := trace.Redis{}
	if t.redis != nil {
		defer t.redis.client.Close()
		server = t.redis.identify(ctx)
	}
	t.trace = trace.New(t.explanation(), server, time.Now())
	if err := t.print(t.introduction()); err != nil {
		return err
	}
	if t.redis != nil {
		running.Go(func() { t.redis.run(ctx) })
	}
	for _, relay := range t.relays {
		running.Go(func() { (&relayFollower{relay: relay, channel: t.explanation().Channel, out: t.inputs}).run(ctx) })
	}
	return t.loop(ctx)
}

// loop handles inputs until ctx ends.
func (t *tracer) loop(ctx context.Context) error {
	ticker := time.NewTicker(traceTick)
	defer ticker.Stop()
	for {
		var lines []trace.Line
		select {
		case <-ctx.Done():
			return t.print(append(t.rest(), t.trace.Summary(time.Now())...))
		case input := <-t.inputs:
			lines = input(t.trace)
		case now := <-ticker.C:
			lines = t.trace.Tick(now)
			t.searchStream(lines)
		}
		if err := t.print(lines); err != nil {
			return err
		}
	}
}

// rest handles the inputs that wait.
func (t *tracer) rest() (lines []trace.Line) {
	for {
		select {
		case input := <-t.inputs:
			lines = append(lines, input(t.trace)...)
		default:
			return lines
		}
	}
}

// searchStream has the stream searched in other databases if a PUBLISH came
// without an entry.
func (t *tracer) searchStream(lines []trace.Line) {
	if t.redis == nil || !slices.ContainsFunc(lines, func(l trace.Line) bool { return l.Kind == "no_entry" }) {
		return
	}
	select {
	case t.redis.search <- struct{}{}:
	default: // it will be
	}
}

// introduction returns the lines before anything happens.
func (t *tracer) introduction() (lines []trace.Line) {
	now := time.Now()
	for _, a := range t.answers {
		from := a.Relay
		if from == "" {
			from = "settings"
		}
		if a.Error != "" {
			lines = append(lines, trace.Line{At: now, From: from, Kind: "no_answer", Sentence: trace.Sentence{Text: a.Error, Do: a.advice, Wrong: true}})
		}
		if a.Explanation == nil {
			continue
		}
		for _, says := range a.Says {
			lines = append(lines, trace.Line{At: now, From: from, Kind: "explain", Channel: a.Channel, Sentence: says})
		}
	}
	if t.note.Text != "" {
		lines = append(lines, t.note)
	}
	return lines
}

// print writes lines, each with what helps below it.
func (t *tracer) print(lines []trace.Line) error {
	for _, line := range lines {
		if t.json {
			if err := printJSON(t.out, line); err != nil {
				return err
			}
			continue
		}
		level := "ok"
		if line.Wrong {
			level = "warn"
		}
		from := line.From
		if len(t.relays) == 1 && from == t.relays[0].base {
			from = "relay"
		}
		if _, err := fmt.Fprintf(t.out, "%s  %-4s  %s: %s\n", line.At.Local().Format("15:04:05.000"), level, printable(from), printable(line.Text)); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		if line.Do != "" {
			fmt.Fprintf(t.out, "                    %s\n", printable(line.Do))
		}
	}
	return nil
}
