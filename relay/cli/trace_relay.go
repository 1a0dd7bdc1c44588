package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sidecast/relay/trace"
)

const (
	// relayRetry is the time between two attempts to follow a relay.
	relayRetry = time.Second
	// relaySilence is after what time without a byte a relay is given up: it
	// sends something every few seconds.
	relaySilence = 20 * time.Second
	// maxEvent bounds one event of a relay, in bytes.
	maxEvent = 64 << 10
)

var errRelayEnds = errors.New("the relay ends the stream of events")

// A relayFollower passes the events of one relay to the tracer.
type relayFollower struct {
	relay   adminRelay
	channel string
	out     chan<- traceInput
	problem string // the last one that was reported
}

// run follows the relay until ctx ends.
func (f *relayFollower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.follow(ctx)
		sendInput(ctx, f.out, func(t *trace.Trace) []trace.Line { t.Unfollow(f.relay.base); return nil })
		if err != nil && ctx.Err() == nil && f.problem != err.Error() {
			f.problem = err.Error()
			at := time.Now()
			sendInput(ctx, f.out, func(*trace.Trace) []trace.Line {
				return []trace.Line{{At: at, From: f.relay.base, Kind: "no_relay", Sentence: trace.Sentence{
					Text: "not followed: " + err.Error(), Do: relayAdvice(err), Wrong: true,
				}}}
			})
		}
		pause(ctx, relayRetry)
	}
}

// follow reads one stream of events to its end.
func (f *relayFollower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(relaySilence, func() { cancel(errors.New("the relay is silent")) })
	defer silent.Stop()
	response, err := f.relay.get(ctx, "/trace", url.Values{"channel": {f.channel}})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		silent.Reset(relaySilence)
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var e trace.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("the server at %s does not answer like a relay", f.relay.base)
		}
		f.pass(ctx, e)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the events of the relay break off: %w", err)
	}
	return errRelayEnds
}

// pass gives an event to the tracer.
func (f *relayFollower) pass(ctx context.Context, e trace.Event) {
	f.problem = ""
	sendInput(ctx, f.out, func(t *trace.Trace) []trace.Line {
		if e.Kind == trace.EventStart {
			return t.Follow(f.relay.base, e.At)
		}
		return t.Relay(f.relay.base, e)
	})
}
