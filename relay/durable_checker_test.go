package relay_test

import (
	"errors"
	"fmt"
	"slices"

	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// The checker of durable channels knows nothing of the hub: it holds what one client heard to what was in the streams, and
// when.

// A durableStory is one life of a client as it was seen from outside.
type durableStory struct {
	id       string
	protocol protocol.ID
	gapClose bool
	asked    []question // by ref, from 1
	heard    []dated
	end      ending
	read     int    // bytes of the stream
	fault    error  // what could not be understood
	where    string // set by the audit: the channel where it was wronged
}

// A question is a command that has an answer for each channel.
type question struct {
	kind     string // of the answer, if all is well
	channels []string
	after    []string
}

// dated is a frame, and how often the streams had been changed when it was sent.
type dated struct {
	heard
	moment int64
}

// A spot is where a client is in a channel.
type spot struct {
	record *record // the last that it has; nil: there was no stream, or nothing is known
	blank  bool    // there was no entry there any more: the stream was empty, and this was its last id
	floor  int     // the highest number that it ever had there
	owed   bool    // it was told no place: it is to be told of a gap before anything else
	unsure bool    // raw: it was never told where it began
}

// An audit holds one story to a vault.
type audit struct {
	vault  *vault
	story  *durableStory
	spots  map[string]*spot
	closed bool
	open   []question // what is still to be answered, by channel
	refs   []int
	counts map[string]int
}

// auditStory returns what is wrong with a story, or nil. What happened is counted.
func auditStory(v *vault, s *durableStory, counts map[string]int) error {
	a := &audit{vault: v, story: s, spots: map[string]*spot{}, counts: counts}
	if s.fault != nil {
		return s.fault
	}
	for i, q := range s.asked {
		if s.protocol == protocol.RawID {
			for _, channel := range q.channels {
				a.spots[channel] = &spot{unsure: true}
			}
			continue
		}
		for k, channel := range q.channels {
			one := question{kind: q.kind, channels: []string{channel}}
			if q.after != nil {
				one.after = q.after[k : k+1]
			}
			a.open, a.refs = append(a.open, one), append(a.refs, i+1)
		}
		if q.channels == nil {
			a.open, a.refs = append(a.open, question{kind: q.kind, channels: []string{""}}), append(a.refs, i+1)
		}
	}
	for i := range s.heard {
		if err := a.hear(&s.heard[i]); err != nil {
			h := s.heard[i]
			s.heard, s.where = s.heard[:i+1], h.channel
			return fmt.Errorf("frame %d, %s %s %.40q: %w", i, h.kind, h.channel, h.payload, err)
		}
	}
	return a.finish()
}

func (a *audit) hear(h *dated) error {
	if a.closed {
		return errors.New("follows the close frame")
	}
	switch h.kind {
	case "welcome", "ping", "heartbeat", "offline":
		return nil
	case "subscribed", "unsubscribed", "ok", "error":
		return a.answer(h)
	case "message":
		return a.message(h)
	case "gap":
		if h.channel == "" && h.reason == "redis" {
			return nil // about live channels
		}
		return a.gap(h)
	case "close":
		a.closed = true
		return a.farewell(h)
	}
	return errors.New("not in the model")
}

func (a *audit) farewell(h *dated) error {
	ok := false
	switch h.closeCode {
	case protocol.CloseGap:
		ok = a.story.gapClose
	case protocol.CloseTryLater:
		ok = a.story.protocol == protocol.RawID
	case protocol.CloseSlow:
		ok = a.story.end != endAlive
	case protocol.CloseRestart:
		ok = a.story.end == endClosed
	}
	if !ok {
		return fmt.Errorf("closed with %d", h.closeCode)
	}
	return nil
}

// answer takes the answer to the next command.
func (a *audit) answer(h *dated) error {
	if len(a.open) == 0 {
		return errors.New("an answer to nothing")
	}
	q, ref := a.open[0], a.refs[0]
	a.open, a.refs = a.open[1:], a.refs[1:]
	channel := q.channels[0]
	switch {
	case h.ref != ref, h.kind == "error" && q.kind == "ok":
		if h.ref == ref {
			return nil
		}
		return fmt.Errorf("answers ref %d; the next is %d", h.ref, ref)
	case h.channel != channel:
		return fmt.Errorf("answers %s, not %s", h.channel, channel)
	case h.kind == "error" && q.kind == "subscribed":
		a.counts["unavailable"]++
		return nil
	case h.kind != q.kind:
		return fmt.Errorf("the answer to what wants %s", q.kind)
	case h.kind == "unsubscribed":
		delete(a.spots, channel)
	case h.kind == "subscribed":
		return a.subscribed(h, q.after[0])
	}
	return nil
}

func (a *audit) subscribed(h *dated, after string) error {
	was, _ := a.find(h.channel, after, h.moment)
	switch now, err := a.find(h.channel, h.cursor, h.moment); {
	case h.recovered && (after == "" || h.cursor != after || was == nil):
		return fmt.Errorf("recovered what nobody had, at %q after %q", h.cursor, after)
	case h.recovered:
		a.spots[h.channel] = was
		a.counts["recovered"]++
		return nil
	case h.cursor == "":
		a.spots[h.channel] = &spot{owed: true}
		a.counts["begun nowhere"]++
		return nil
	case err != nil:
		return err
	default:
		a.spots[h.channel] = now
		if was == nil {
			a.counts["begun"]++
			return nil
		}
		a.counts["not recovered"]++
		return a.jump(h, was, now)
	}
}

// find returns the place that a cursor names at some moment. There is none if it was never given; the error says so.
func (a *audit) find(channel, cursor string, moment int64) (*spot, error) {
	c, ok := stream.ParseCursor(cursor)
	if !ok {
		return nil, fmt.Errorf("%q is no cursor", cursor)
	}
	if c == (stream.Cursor{}) {
		return &spot{}, nil
	}
	for _, r := range slices.Backward(a.vault.log) {
		if r.channel == channel && r.added <= moment && r.entry.ID == c.ID && (r.entry.Check == c.Check || c.Check == 0) {
			return &spot{record: r, blank: c.Check == 0, floor: r.number}, nil
		}
	}
	return nil, fmt.Errorf("nothing was ever at %v", c)
}

func (a *audit) message(h *dated) error {
	r := a.vault.recordOf(h.payload)
	if r == nil {
		return errors.New("was never added")
	}
	cursor, _ := r.entry.AppendText(nil)
	if a.story.protocol == protocol.RawID {
		h.channel, h.cursor = r.channel, string(cursor)
	}
	switch p := a.spots[h.channel]; {
	case p == nil:
		return errors.New("the client does not listen to it")
	case r.channel != h.channel:
		return fmt.Errorf("was added to %s", r.channel)
	case string(cursor) != h.cursor:
		return fmt.Errorf("has the cursor %s, not %s", cursor, h.cursor)
	default:
		a.counts["messages"]++
		return a.advance(h, p, r)
	}
}
