package why

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
	"sidecast/relay/syntax"
)

// about adds the lines about one message.
func (c *Case) about(m *message, to *answer) {
	if !c.within(m.at) {
		return
	}
	said := false
	for _, s := range c.order {
		if !c.asked(s) || !c.answers(m, s) {
			continue
		}
		if to.pairs++; to.pairs > maxPairs {
			to.more = true
			return
		}
		v := c.judge(m, s)
		if !c.concerns(m, s, v) {
			continue
		}
		said = true
		if to.isFull(v.result) {
			to.more = true
			continue
		}
		line := c.line(m)
		line.Session, line.User, line.Result = s.id.String(), s.user, v.result
		line.Text, line.Do = c.explain(m, s, v)
		to.add(line)
	}
	if !said && c.question.User == "" && c.question.Session == "" && m.heard == 0 {
		line := c.line(m)
		line.Result = NoListener
		line.Text = "The message arrived, but nobody was subscribed to " + quote(c.question.Channel) + " at this relay."
		line.Do = "Check the name that the page subscribes to, and ask the other relays, if there are any."
		to.add(line)
	}
}

// line begins a line about a message.
func (c *Case) line(m *message) Line {
	id := strconv.FormatUint(m.seq, 10)
	if m.durable {
		id = fmt.Sprintf("%d-%d", m.place.Major, m.place.Minor)
	}
	return Line{At: m.at, Channel: c.question.Channel, Message: id, Bytes: m.size}
}

// asked reports whether the question is about a session.
func (c *Case) asked(s *session) bool {
	q := &c.question
	return (q.User == "" || slices.Contains(s.users, q.User)) && (q.Session == "" || q.Session == s.id.String())
}

// concerns reports whether a session is mentioned for a message: if nobody asked
// for it, only if it had to do with the channel within a minute.
func (c *Case) concerns(m *message, s *session, v verdict) bool {
	near := func(t time.Time) bool { return !t.IsZero() && t.Sub(m.at).Abs() <= margin }
	byName := c.question.User != "" || c.question.Session != ""
	switch v.result {
	case NotThere, Forgotten:
		return byName && s.boot == m.boot && s.existed(m.at)
	case Late, Left, Pending:
		return byName && s.existed(m.at) || near(v.when)
	case Ended:
		return near(v.when) && (byName || len(s.subs) > 0)
	}
	return true
}

// existed reports whether the session existed at a time.
func (s *session) existed(at time.Time) bool {
	return !s.firstSeen().After(at) && (s.end == nil || !s.end.At.Before(at))
}

// caughtUp reports whether messages of the past were sent on the channel.
func (s *session) caughtUp() bool {
	return slices.ContainsFunc(s.replays, func(r replay) bool { return !r.other })
}

func (s *session) firstSeen() time.Time {
	if !s.begun.IsZero() {
		return s.begun
	}
	return time.Time{}
}

// explain returns a verdict as a sentence, and what to do.
func (c *Case) explain(m *message, s *session, v verdict) (text, do string) {
	when := clock(v.when)
	switch v.result {
	case Sent:
		if v.later {
			return "Sent at " + when + ", when the client had returned and caught up.", ""
		}
		return "Sent at once. If the page shows nothing, look at its message handler.", ""
	case Waited:
		if v.when.IsZero() {
			return "It waits: the client reads slowly, or its line is slow.", "Look at the client's network: SIDECAST_OUTBOX_BYTES and SIDECAST_WRITE_TIMEOUT say when the relay disconnects it."
		}
		return "Sent, but the client read slowly: everything was sent by " + when + ".", "Send less on this channel, or smaller messages."
	case Own:
		return "Not sent: the session published this message itself and asked not to receive its own, or the application left out its socket.",
			"Publish without \"echo\":false, and in the application without the socket id, to let it receive these as well."
	case TooLarge:
		return "The message was larger than SIDECAST_MAX_PAYLOAD_BYTES, so the client received a gap in its place.", "Publish less, such as an id by which the page loads the rest, or raise SIDECAST_MAX_PAYLOAD_BYTES."
	case Evicted:
		return "Not sent: the client read too slowly, and was disconnected at " + when + " (4408). A client that returns with its cursor catches up.", "Let the page return with sidecast.js, or raise SIDECAST_OUTBOX_BYTES."
	case Refused:
		return "The client was refused this channel at " + when + ": " + refusal(v.record) + ".", refusalFix(v.record)
	case Ended:
		return "Not sent: the connection had ended at " + when + ending(v.record) + ".", "A client that returns with its cursor catches up: use sidecast.js, or after= in the URL."
	case Left:
		return "The subscription had ended at " + when + ": the client unsubscribed, or the application ended it.", ""
	case Late:
		if v.record.Kind == blackbox.KindGap {
			return "The client subscribed later, at " + when + ", and was notified that messages may be missing (" + v.record.Reason + ").", "Let the page load its data again when it gets a gap."
		}
		if s.caughtUp() {
			return "The client subscribed later, at " + when + ", and caught up with later messages only.", "Subscribe with a cursor, or ask for more messages with last."
		}
		return "The client subscribed later, at " + when + ", and did not ask for earlier messages.", "Load the page's data after the subscribe was answered, or subscribe with last or with a cursor."
	case Pending:
		return "The client has subscribed at " + when + " and is still catching up.", ""
	case NotThere:
		return "The client was connected, but not subscribed to " + quote(c.question.Channel) + ".", "Subscribe to it in the page: the names must be equal, also in case."
	case Forgotten:
		return "The session began before the records, so its subscriptions are not known.", "Ask earlier, or raise SIDECAST_BLACKBOX_BYTES."
	case Unconfirmed:
		if v.deleted {
			return "The client caught up at " + when + ", with other entries than those that arrived at this relay: some had been deleted by then, perhaps this one, or others are not in the records.", ""
		}
		if s.end == nil {
			return "It was being sent when the relay was killed at " + when + ": perhaps it arrived.", "A client that returns to another relay with its cursor catches up."
		}
		return "Written to the connection, which broke at " + when + " before the client's system had confirmed it: perhaps it did not arrive.", "A client that returns with its cursor catches up: use sidecast.js."
	}
	return "", ""
}

// general returns the lines that are not about a message.
func (c *Case) general() (lines []Line) {
	q := &c.question
	add := func(at time.Time, result Result, text, do string) {
		lines = append(lines, Line{At: at, Channel: q.Channel, User: q.User, Session: q.Session, Result: result, Text: text, Do: do})
	}
	if !c.oldest.IsZero() && c.oldest.After(q.From) || c.oldest.IsZero() {
		c.forgotten(add)
	}
	for _, n := range c.bootsInOrder() {
		for _, o := range c.boots[n].down {
			if !o.from.After(q.To) && (o.to.IsZero() || !o.to.Before(q.From)) {
				add(o.from, NoLink, "This relay had no link to Redis from "+clock(o.from)+until(o.to)+": messages published then on live channels are lost, and the clients received a gap.",
					"Look at the relay's log for why; on durable channels nothing is lost.")
			}
		}
	}
	away := c.notRunning(add)
	found := slices.ContainsFunc(c.messages, func(m message) bool { return c.within(m.at) })
	switch {
	case !found && len(c.nudges) > 0:
		add(c.nudges[0].At, NoMessage, "A PUBLISH arrived on the durable channel "+quote(q.Channel)+", but the relay read no new entry of its stream.",
			"Publish with XADD first, and then PUBLISH; if nobody is subscribed, the relay does not read the stream.")
	case !found && len(c.dropped) > 0:
		d := c.dropped[0]
		add(d.At, NoMessage, "A message on "+quote(q.Channel)+" arrived and was dropped: "+d.Reason+".", "Look at the relay's log for its reason, and at the names that are allowed.")
	case !found && !away && !c.oldest.After(q.To):
		c.noMessage(add)
	}
	c.refusals(add)
	c.absent(add)
	return lines
}

// notRunning says when the relay was not running, and reports whether that was
// all the time of the question.
func (c *Case) notRunning(add adder) (all bool) {
	q := &c.question
	list := c.bootsInOrder()
	for i, n := range list {
		last := c.boots[n].last
		switch {
		case i+1 < len(list):
			next := c.boots[list[i+1]].began
			if q.To.Before(last) || q.From.After(next) {
				continue
			}
			add(last, NoLink, "This relay ended, and began again: the last record before is from "+clock(last)+", the first one after from "+clock(next)+". What was published meanwhile on live channels is lost.",
				"Look for its clients at the other relays, and at its log for why it ended; on durable channels nothing is lost.")
			all = all || q.From.After(last) && q.To.Before(next)
		case !c.live && q.From.After(last):
			add(last, NoLink, "The records end at "+clock(last)+": this relay ended then, or later without a further record.", "Look for its clients at the other relays.")
			all = true
		}
	}
	return all
}

type adder func(at time.Time, result Result, text, do string)

func (c *Case) forgotten(add adder) {
	text := "This relay has no records yet."
	if !c.oldest.IsZero() {
		text = "The records begin at " + clock(c.oldest) + ". Nothing is known about the time before."
	}
	add(time.Time{}, Forgotten, text, "Ask sooner after a message. To keep records longer, raise SIDECAST_BLACKBOX_BYTES; to keep them when the relay restarts, set SIDECAST_BLACKBOX_FILE.")
}

func (c *Case) noMessage(add adder) {
	q := &c.question
	text := "Nothing arrived on " + quote(q.Channel) + " from " + clock(q.From) + " to " + clock(q.To) + "."
	near := c.nearest()
	if near != "" {
		add(time.Time{}, NoMessage, text+" "+quote(near)+" had messages.", "Publish to the name that the page subscribes to; names must be equal, also in case.")
		return
	}
	add(time.Time{}, NoMessage, text, "Run `sidecast trace` while the application publishes: it sees names that match no pattern, other prefixes and other servers.")
}

// refusals adds the refusals of clients without a session.
func (c *Case) refusals(add adder) {
	q := &c.question
	for i := range c.refused {
		r := &c.refused[i]
		if r.Session != 0 || q.Session != "" || q.User != "" && r.User != q.User {
			continue
		}
		add(r.At, Refused, "A client"+ofUser(r.User)+" was refused "+quote(q.Channel)+": "+refusal(*r)+".", refusalFix(*r))
	}
}

// absent says that the user, or the session, had no connection.
func (c *Case) absent(add adder) {
	q := &c.question
	if q.User == "" && q.Session == "" {
		return
	}
	last, next := c.last, c.next
	for _, s := range c.order {
		switch {
		case !c.asked(s):
		case s.existed(q.From) || s.existed(q.To) || c.within(s.begun):
			return
		case s.end != nil && s.end.At.Before(q.From):
			if last == nil || last.end.At.Before(s.end.At) {
				last = s
			}
		case s.begun.After(q.To) && (next == nil || s.begun.Before(next.begun)):
			next = s
		}
	}
	who := "Session " + q.Session
	if q.User != "" {
		who = "User " + quote(q.User)
	}
	text := who + " had no connection to this relay then"
	if last != nil {
		text += "; the last one ended at " + clock(last.end.At) + ending(*last.end)
	}
	if next != nil {
		text += "; the next one began at " + clock(next.begun)
	}
	add(time.Time{}, NotThere, text+".", "Ask the other relays (--relay), and look in the developer tools of the browser for why it was not connected.")
}

func (c *Case) bootsInOrder() (list []uint32) {
	for n := range c.boots {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// nearest returns the most similar name of another channel that had messages.
func (c *Case) nearest() string {
	best, distance := "", 3
	for name := range c.others {
		if d := syntax.Distance(c.question.Channel, name); d < distance || d == distance && name < best {
			best, distance = name, d
		}
	}
	return best
}

// refusal returns why a client was refused, from a record.
func refusal(r blackbox.Record) string {
	if r.Code >= 1000 {
		code := protocol.CloseCode(r.Code)
		return fmt.Sprintf("closed with %d, %s", code.Number(), code.Reason())
	}
	return protocol.Code(r.Code).String()
}

func refusalFix(r blackbox.Record) string {
	if hint := access.Mistake(r.Channel); hint != protocol.ReasonUsual {
		return hint.String()
	}
	switch protocol.Code(r.Code) {
	case protocol.CodeForbidden:
		return "Allow the channel in SIDECAST_PUBLIC_CHANNELS, in the user's token, or in the answer of the application; `sidecast explain` says what opens it now."
	case protocol.CodeUnauthorized:
		return "The client has to log in first: send a token or a cookie that the relay accepts."
	case protocol.CodeUnavailable:
		return "Redis or the application did not answer: look at the relay's log."
	}
	return ""
}

// ending says how a session ended.
func ending(r blackbox.Record) string {
	code := protocol.CloseCode(r.Code)
	if code == 0 {
		return ""
	}
	if reason := code.Reason(); reason != "" {
		return fmt.Sprintf(" (%d, %s)", code.Number(), reason)
	}
	return fmt.Sprintf(" (%d)", code.Number())
}

func ofUser(user string) string {
	if user == "" {
		return ""
	}
	return " of user " + quote(user)
}

func until(t time.Time) string {
	if t.IsZero() {
		return " on"
	}
	return " to " + clock(t)
}

func quote(name string) string { return strconv.Quote(name) }

// clock returns a time as in a sentence.
func clock(t time.Time) string {
	if t.IsZero() {
		return "a time before the records"
	}
	return t.Format("15:04:05.000")
}
