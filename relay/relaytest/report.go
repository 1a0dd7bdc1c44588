package relaytest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Rule names one way to break the delivery guarantees.
type Rule string

// The rules.
const (
	Hole            Rule = "hole"             // a message is missing without an excuse
	Duplicate       Rule = "duplicate"        // a message arrived twice, or more arrived than were published
	Reorder         Rule = "reorder"          // a message arrived after a later one
	Late            Rule = "late"             // a message took longer than [Rules.Latency]
	Corrupt         Rule = "corrupt"          // an unknown payload, or the wrong kind of frame
	Leak            Rule = "leak"             // a message of a channel to which the session is not subscribed
	Stale           Rule = "stale"            // a message from before the subscription, without a cursor
	TooFew          Rule = "too few"          // not all of the newest messages that a client asked for
	MissingGap      Rule = "missing gap"      // a message is missing because of a fault, without a gap
	EarlyGap        Rule = "early gap"        // the gap arrived before the missing message was published
	LateGap         Rule = "late gap"         // the gap arrived after the next message
	CauselessGap    Rule = "causeless gap"    // a gap without a fault
	GapCount        Rule = "gap count"        // a session received too many or too few gaps for a fault
	CauselessNotice Rule = "causeless notice" // offline without a fault
	OfflineCount    Rule = "offline count"    // a session received too many or too few offlines for a fault
	UnexpectedEnd   Rule = "unexpected end"   // the relay ended a session without a fault
	BadProtocol     Rule = "protocol"         // the relay broke the protocol
	BadCursor       Rule = "cursor"           // two messages have one cursor
	FewRecovered    Rule = "few recovered"    // too few resumes were recovered
	FalseGaps       Rule = "false gaps"       // too many resumes had a gap although no message was missing
	Unproven        Rule = "unproven"         // the run does not prove that the relay works
)

// A Violation is one case in which a rule was broken.
type Violation struct {
	Rule    Rule
	Client  string    // empty if it concerns the whole run
	Channel string    // empty if it concerns the whole session
	At      time.Time // zero if there is no such time
	Text    string
}

// String returns the violation in one line.
func (v Violation) String() string {
	var b strings.Builder
	b.WriteString(string(v.Rule))
	if v.Client != "" {
		fmt.Fprintf(&b, ": client %s", v.Client)
	}
	if v.Channel != "" {
		fmt.Fprintf(&b, " on %q", v.Channel)
	}
	if !v.At.IsZero() {
		fmt.Fprintf(&b, " at %s", v.At.Format("15:04:05.000000"))
	}
	return b.String() + ": " + v.Text
}

// maxViolations bounds the violations of one rule in a report: a broken relay
// breaks it for every client.
const maxViolations = 20

// A Report is the result of [Check].
type Report struct {
	Messages   int // successful publications
	Sessions   int
	Deliveries int // messages received by clients
	Gaps       int // gaps received by sessions
	Offlines   int // offline notices received by sessions
	Lost       int // messages missing in sessions because of a gap or, on raw, of a fault

	Live, Durable ResumesByRelay // resumes, by kind of channel

	// Violations has the first 20 violations of each rule, Counts the number of
	// all.
	Violations []Violation
	Counts     map[Rule]int
}

// Err returns nil if there is no violation, otherwise an error with the text of
// String.
func (r Report) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return errors.New(r.String())
}

// String returns the counts in one line, then the violations, one per line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages to %d sessions: %d deliveries, %d gaps, %d lost, %d offline",
		r.Messages, r.Sessions, r.Deliveries, r.Gaps, r.Lost, r.Offlines)
	for _, n := range r.resumes() {
		if n.All() > 0 {
			fmt.Fprintf(&b, "; %s: %v", n.kind, n.Resumes)
		}
	}
	if len(r.Violations) == 0 {
		return b.String() + "; no violation"
	}
	for _, rule := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "; %d x %s", r.Counts[rule], rule)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n\t%s", v)
	}
	return b.String()
}

func (r *Report) add(v Violation) {
	if r.Counts == nil {
		r.Counts = make(map[Rule]int)
	}
	r.Counts[v.Rule]++
	if r.Counts[v.Rule] <= maxViolations {
		r.Violations = append(r.Violations, v)
	}
}
