package why

import (
	"slices"
	"time"

	"sidecast/relay/blackbox"
)

// A Question is about the messages on a channel in a time, and about all
// sessions, or those of a user, or one. Answers have the time zone of From.
type Question struct {
	Channel  string
	From, To time.Time
	User     string // "" is every user, and clients without one
	Session  string // the id of one session; "" is every session
}

// A Line says of one message and one session what happened. Lines without a
// session are about the channel, and those without a message about the time.
// Names of channels and users are as clients sent them: they may be anything.
type Line struct {
	At      time.Time `json:"at,omitzero"` // when the message arrived
	Channel string    `json:"channel"`
	Message string    `json:"message,omitempty"` // the id of the entry on a durable channel, else the relay's number
	Bytes   int       `json:"bytes,omitempty"`
	Session string    `json:"session,omitempty"`
	User    string    `json:"user,omitempty"`
	Result  Result    `json:"result"`
	Text    string    `json:"text"`         // a sentence
	Do      string    `json:"do,omitempty"` // what to do about it
}

// MaxLines is how many lines there are at most. If there are more, the last line
// says so.
const MaxLines = 10_000

// maxPairs is how many pairs of a message and a session are looked at at most,
// which takes about a second.
const maxPairs = 2_000_000

// Ask reads the records of one relay, and answers a question. Problems come
// before what went well.
func Ask(r *blackbox.Reader, q Question) []Line {
	c := NewCase(r, q)
	var a answer
	for _, line := range c.general() {
		a.add(line)
	}
	for i := range c.messages {
		c.about(&c.messages[i], &a)
	}
	return a.sorted(q)
}

// An answer collects lines. It has a bound, also if there are many more.
type answer struct {
	lines [len(inOrder)][]Line // by rank, each of them up to MaxLines
	pairs int                  // that were looked at
	more  bool                 // there are others
}

// isFull reports whether there is no room for a line with a result.
func (a *answer) isFull(r Result) bool { return len(a.lines[r.rank()]) >= MaxLines }

func (a *answer) add(line Line) {
	if a.isFull(line.Result) {
		a.more = true
		return
	}
	list := &a.lines[line.Result.rank()]
	*list = append(*list, line)
}

func (a *answer) sorted(q Question) (lines []Line) {
	for _, list := range a.lines {
		slices.SortStableFunc(list, func(a, b Line) int { return a.At.Compare(b.At) })
		room := MaxLines - len(lines)
		a.more = a.more || len(list) > room
		lines = append(lines, list[:min(len(list), room)]...)
	}
	if a.more {
		lines = append(lines, Line{
			Channel: q.Channel, Result: Unlisted, Text: "There are more answers than are listed.",
			Do: "Ask about one user or session, or about a shorter time.",
		})
	}
	return lines
}
