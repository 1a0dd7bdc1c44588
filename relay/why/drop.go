package why

import (
	"slices"
	"time"
)

// isLater reports whether a time is after that of the question.
func (c *Case) isLater(t time.Time) bool { return !c.question.To.IsZero() && t.After(c.question.To) }

// drop forgets a session that has ended, unless it may concern a message in the
// time of the question: clients can begin and end any number of sessions.
func (c *Case) drop(s *session) {
	if s.forgotten || c.matters(s) {
		return
	}
	byName := c.isByName() && c.asked(s)
	switch {
	case byName && s.end.At.Before(c.question.From):
		c.last = s // instead of the one before
	case byName && c.next == nil && c.isLater(s.begun):
		c.next = s
	}
	s.forgotten = true
	delete(c.sessions, s.key)
	if c.ended++; c.ended > 1000 && c.ended > len(c.order)/2 {
		c.compact()
	}
}

// compact removes the sessions that were dropped from order.
func (c *Case) compact() {
	c.order = slices.DeleteFunc(c.order, func(s *session) bool { return s.forgotten })
	c.ended = 0
}

// isByName reports whether the question is about one session, or those of a user.
func (c *Case) isByName() bool { return c.question.User != "" || c.question.Session != "" }

// matters reports whether a session that has ended may concern a message.
func (c *Case) matters(s *session) bool {
	switch {
	case s.end.At.Before(c.question.From.Add(-margin)):
		return false
	case c.isLater(s.begun.Add(-margin)): // it can have caught up
		return s.caughtUp() && c.caughtUpWith(s)
	case c.isByName() && c.asked(s):
		return true
	}
	return len(s.subs) > 0 || len(s.awaits) > 0 || len(s.refused) > 0 || s.caughtUp()
}

// caughtUpWith reports whether a session was sent a message from the time of the
// question when it caught up.
func (c *Case) caughtUpWith(s *session) bool {
	for i := range c.messages {
		if m := &c.messages[i]; c.isLater(m.at) {
			break
		} else if m.boot == s.boot && has(s.replays, m) {
			return true
		}
	}
	return false
}
