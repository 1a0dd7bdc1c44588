package relaytest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Rule is one clause of the delivery contract, by the way in which it was broken.
type Rule string

// The rules.
const (
	Hole            Rule = "hole"             // a message is missing and nothing explains it
	Duplicate       Rule = "duplicate"        // a message came twice, or more came than were published
	Reorder         Rule = "reorder"          // a message came behind a later one
	Late            Rule = "late"             // a message took too long
	Corrupt         Rule = "corrupt"          // a payload that nobody published, or in the wrong kind of frame
	Leak            Rule = "leak"             // a message of a channel that the session does not listen to
	Stale           Rule = "stale"            // a message from before the session joined, without having asked for it
	MissingGap      Rule = "missing gap"      // a fault explains the loss, and nobody was told
	EarlyGap        Rule = "early gap"        // the gap came before a message was published that it should explain
	LateGap         Rule = "late gap"         // the gap came behind the next message
	CauselessGap    Rule = "causeless gap"    // a gap that no fault explains
	GapCount        Rule = "gap count"        // a session heard of a fault not once
	CauselessNotice Rule = "causeless notice" // offline without a fault
	OfflineCount    Rule = "offline count"    // a session heard offline not once
	UnexpectedEnd   Rule = "unexpected end"   // a well-behaved session was ended, without a fault
	BadProtocol     Rule = "protocol"         // what the relay said is not the protocol
	BadCursor       Rule = "cursor"           // one cursor was given to two messages
	FewRecovered    Rule = "few recovered"    // too many came back to a gap
	FalseGaps       Rule = "false gaps"       // too many of them had missed nothing
	Unproven        Rule = "unproven"         // the run cannot show what it should
)

// A Violation is one breach.
type Violation struct {
	Rule    Rule
	Client  string    // empty if it concerns the run
	Channel string    // empty if it concerns the session
	At      time.Time // zero where there is no such moment
	Text    string
}

// String tells the breach in one line.
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

// keep bounds the violations that a report tells of each rule: a broken relay breaks it for every client.
const keep = 20

// A Report is what [Check] found.
type Report struct {
	Messages   int // publications, those of unknown fate not counted
	Sessions   int
	Deliveries int // messages that clients received
	Gaps       int // gaps that sessions heard
	Offlines   int // offline notices that sessions heard
	Lost       int // messages that a session missed and a gap declared, or on raw a fault explains

	Live, Durable Return // who came back to which channels

	// Violations are the first few of each rule, Counts how many there were.
	Violations []Violation
	Counts     map[Rule]int
}

// Err returns nil if there was no violation, else an error that tells them all.
func (r Report) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return errors.New(r.String())
}

// String tells the counts in one line, then the violations, one a line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages to %d sessions: %d deliveries, %d gaps, %d declared lost, %d offline",
		r.Messages, r.Sessions, r.Deliveries, r.Gaps, r.Lost, r.Offlines)
	for _, kind := range []struct {
		name    string
		resumes Resumes
	}{
		{"live", r.Live.Same}, {"live across relays", r.Live.Crossed},
		{"durable", r.Durable.Same}, {"durable across relays", r.Durable.Crossed},
	} {
		if kind.resumes.All() > 0 {
			fmt.Fprintf(&b, "; %s: %v", kind.name, kind.resumes)
		}
	}
	if len(r.Violations) == 0 {
		return b.String() + "; no violation"
	}
	rules := make([]Rule, 0, len(r.Counts))
	for rule := range r.Counts {
		rules = append(rules, rule)
	}
	slices.SortFunc(rules, func(a, b Rule) int { return cmp.Compare(a, b) })
	for _, rule := range rules {
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
	if r.Counts[v.Rule] <= keep {
		r.Violations = append(r.Violations, v)
	}
}
