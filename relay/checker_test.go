package relay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sidecast/relay/protocol"
)

// The checker does not use the hub. It compares the events of one client with
// the contents of Redis and with the client's commands at the time.

// rules are those of live and of durable channels.
type rules interface {
	subscribe(answer) // without an answer, as in the raw protocol
	answered(answer, *event) error
	message(*event) error
	gap(*event) error
	outage(*event) error // of all live channels: it begins with offline and ends with a gap
	complete() error     // checks that a client that stayed to the end has everything
}

// An answer is expected for each channel of a command.
type answer struct {
	kind, channel, after string
	since                string // unless there is after
	last                 int    // of the newest messages, unless there is after or since
	ref                  int
	before, begunBy      int
	asked                int64
}

// A checker has the rules on which live and durable channels agree.
type checker struct {
	*story
	rules
	open   []answer // those that have not arrived
	closed bool
}

var errNotSubscribed = errors.New("the client is not subscribed to this channel")

// check returns an error that describes the first violation of the rules in a
// story, or nil.
func (s *story) check(r rules) error {
	c := &checker{story: s, rules: r}
	switch {
	case s.fault != nil:
		return s.fault
	case s.cut && s.end != endLeft:
		return errCut
	case len(s.events) == 0 && s.end != endAlive:
		return nil // it ended before anything was sent
	}
	for i, cmd := range s.commands {
		for k, channel := range cmd.channels {
			a := answer{kind: cmd.kind, channel: channel, ref: i + 1, before: cmd.before, begunBy: cmd.begunBy, asked: cmd.asked}
			if cmd.after != nil {
				a.after = cmd.after[k]
			}
			if cmd.since != nil && a.after == "" {
				a.since = cmd.since[k]
			}
			if cmd.last != nil && a.after == "" && a.since == "" {
				a.last = cmd.last[k]
			}
			if s.protocol == protocol.RawID {
				r.subscribe(a)
			} else {
				c.open = append(c.open, a)
			}
		}
	}
	for i := range s.events {
		if err := c.event(i, &s.events[i]); err != nil {
			s.failed = s.events[i].channel
			return fmt.Errorf("event %d, %v: %w", i, s.events[i], err)
		}
	}
	return c.finish()
}

func (c *checker) event(i int, e *event) error {
	switch {
	case c.closed:
		return errors.New("follows the close frame")
	case c.protocol == protocol.V1ID && i == 0 != (e.kind == "welcome") && e.kind != "close":
		return errors.New("the welcome is not the first event")
	}
	switch e.kind {
	case "welcome", "ping", "heartbeat":
		return nil
	case "subscribed", "unsubscribed", "pong", "ok", "error":
		if c.together {
			return c.answerTogether(e)
		}
		return c.answer(i, e)
	case "message":
		return c.message(e)
	case "offline":
		return c.outage(e)
	case "gap":
		if e.channel == "" {
			return c.outage(e)
		}
		return c.gap(e)
	case "close":
		c.closed = true
		return c.close(e)
	}
	return errors.New("not in the model")
}

// late reports whether the answer may follow those to later commands: it may
// have to wait for Redis.
func (a *answer) late() bool {
	return a.kind == "subscribed" && (a.after != "" || a.last > 0 || isDurable(a.channel))
}

// answer checks that an answer is the one to the next command, or a late one to
// an earlier command. If a client unsubscribes from a channel before its
// subscribe was answered, that is not answered.
func (c *checker) answer(at int, e *event) error {
	i := slices.IndexFunc(c.open, func(a answer) bool { return a.ref == e.ref && (a.channel == e.channel || a.kind == "ok") })
	if i < 0 {
		return errors.New("an answer to nothing")
	}
	if k := slices.IndexFunc(c.open[:i], func(a answer) bool { return !a.late() }); k >= 0 {
		return fmt.Errorf("the next answer is %s %s, ref %d", c.open[k].kind, c.open[k].channel, c.open[k].ref)
	}
	a := c.open[i]
	c.open = slices.Delete(c.open, i, i+1)
	before := c.preceding(at)
	ended := before >= 0 && c.events[before].kind == "error" // the subscribe failed while the client unsubscribed
	if refused := e.kind == "error" && (a.kind == "subscribed" || a.kind == "ok" || ended); e.kind != a.kind && !refused {
		return fmt.Errorf("the answer is %s %s, ref %d", a.kind, a.channel, a.ref)
	}
	if e.kind == "unsubscribed" {
		c.open = slices.DeleteFunc(c.open, func(a answer) bool { return a.channel == e.channel && a.late() && a.ref < e.ref })
	}
	if a.late() {
		a.begunBy = max(a.begunBy, e.begun)
	}
	return c.answered(a, e)
}

// answerTogether checks that an answer is the one to the only command, which
// concerns all channels.
func (c *checker) answerTogether(e *event) error {
	if e.kind != "subscribed" || len(c.open) == 0 {
		return errors.New("an answer to nothing")
	}
	for _, a := range c.open {
		if err := c.answered(a, e); err != nil {
			return fmt.Errorf("%s: %w", a.channel, err)
		}
	}
	c.open = nil
	return nil
}

// close checks that the relay may close the connection in this way.
func (c *checker) close(e *event) error {
	allowed := false
	switch e.closeCode {
	case protocol.CloseGap:
		allowed = c.gapClose
	case protocol.CloseTryLater:
		allowed = c.protocol == protocol.RawID
	case protocol.CloseSlow:
		allowed = c.end != endAlive
	case protocol.CloseRestart:
		allowed = c.end == endClosed
	}
	if !allowed {
		return fmt.Errorf("closed with %d", e.closeCode)
	}
	return nil
}

func (c *checker) finish() error {
	switch {
	case (c.end == endClosed || c.end == endEvicted) && !c.closed:
		return errors.New("no close frame")
	case c.end != endAlive || c.closed:
		return nil
	case c.protocol == protocol.V1ID && len(c.events) == 0:
		return errors.New("no welcome")
	case len(c.open) > 0:
		return fmt.Errorf("ref %d was not answered", c.open[0].ref)
	}
	return c.complete()
}

// tail describes the end of a story for failures: on the channel where it was
// found wrong.
func (s *story) tail() string {
	lines := []string{fmt.Sprintf("\nclient %s, %v, end %d", s.id, s.protocol, s.end)}
	for _, e := range s.events {
		if e.kind != "ping" && e.kind != "heartbeat" && (s.failed == "" || e.channel == "" || e.channel == s.failed) {
			lines = append(lines, e.String())
		}
	}
	lines = slices.Delete(lines, 1, max(1, len(lines)-30))
	for i, cmd := range s.commands {
		lines = append(lines, fmt.Sprintf("ref %d: %+v", i+1, *cmd))
	}
	return strings.Join(lines, "\n\t")
}
