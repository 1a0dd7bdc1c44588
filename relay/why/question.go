package why

import (
	"cmp"
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

// Ask reads the records of one relay, and answers a question. Problems come
// before what went well.
func Ask(r *blackbox.Reader, q Question) []Line {
	c := NewCase(r, q)
	var lines []Line
	for i := range c.messages {
		lines = append(lines, c.about(&c.messages[i])...)
	}
	lines = append(lines, c.general()...)
	slices.SortStableFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Result.rank(), b.Result.rank()), a.At.Compare(b.At))
	})
	if len(lines) > MaxLines {
		lines = append(lines[:MaxLines], Line{
			Channel: q.Channel, Result: Unlisted, Text: "There are more answers than are listed.",
			Do: "Ask about one user or session, or about a shorter time.",
		})
	}
	return lines
}
