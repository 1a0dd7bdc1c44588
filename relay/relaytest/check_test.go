package relaytest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A checkCase is a run in a short notation, and the violations that Check must
// report for it. All times are in milliseconds. Rules are a lag of 100, a
// latency of 500, and 1,000 to heal.
type checkCase struct {
	why string

	// publish has the times of the calls of PUBLISH on channel a, each answered
	// within 1 ms. A failed call ends with `!`, the channel's last message with
	// `z`.
	publish string

	// log has the events of one client, as words like 12:m3: message 3 arrived
	// at 12. 12<7:m3 says in addition that the relay had sent it by 7, and
	// 12:m3#c that it had the cursor c. The method event lists the other words.
	// Sessions are separated by slashes; one that begins with @b is on relay b.
	log string

	// faults has the times FROM-TO, then properties, separated by semicolons. A
	// fault without TO was not undone.
	faults string

	raw     string       // "raw" or "gapclose"
	newest  bool         // Rules.AllNewest
	maxLen  int          // not 0: channel a is a stream of this length, or with -1 is never trimmed
	bounds  ResumeBounds // of Rules
	resumes string       // recovered/gaps/false gaps on the same relay, then on another; empty if there is no resume
	want    string       // the rules that are broken and how often, sorted; empty if there is no violation
}

var caseStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func moment(ms string) time.Time {
	n, err := strconv.Atoi(ms)
	if err != nil {
		panic(err)
	}
	return caseStart.Add(time.Duration(n) * time.Millisecond)
}

// published returns the publications on channel a, and one on channel b. With
// equal, those on a have the same payload, except the last message.
func (c checkCase) published(equal bool) []Publication {
	var list []Publication
	for i, word := range strings.Fields(c.publish) {
		p := Publication{Channel: "a", Seq: uint32(i + 1), Receivers: 1, Equal: equal && !strings.Contains(word, "z")}
		p.End = strings.Contains(word, "z")
		if strings.Contains(word, "!") {
			p.Err = errors.New("timeout")
		}
		p.Before = moment(strings.TrimRight(word, "!z"))
		p.After = p.Before.Add(time.Millisecond)
		p.Payload = string(Payloads{Bytes: BytesHostile, Equal: p.Equal}.Payload("a", p.Seq))
		list = append(list, p)
	}
	return append(list, Publication{
		Channel: "b", Seq: 1, Receivers: 1, Before: moment("0"), After: moment("1"), Payload: payloadOfB,
	})
}

var payloadOfB = string(Payloads{Bytes: BytesHostile}.Payload("b", 1))

// caseEvents are the words of a log that stand for one event.
var caseEvents = map[string]Event{
	"opened": {Kind: KindOpened}, "welcome": {Kind: KindWelcome}, "heartbeat": {Kind: KindHeartbeat},
	"ask":    {Kind: KindSent, Text: "subscribe", Channel: "a"},
	"since":  {Kind: KindSent, Text: "subscribe", Channel: "a", Since: "5-0"},
	"resume": {Kind: KindSent, Text: "subscribe", Channel: "a", Cursor: "c"},
	"joined": {Kind: KindSubscribed, Channel: "a"}, "recovered": {Kind: KindSubscribed, Channel: "a", Recovered: true},
	"left": {Kind: KindUnsubscribed, Channel: "a"},

	"gap": {Kind: KindGap, Text: "redis"}, "offline": {Kind: KindOffline, Text: "redis"},
	"gapa":    {Kind: KindGap, Channel: "a", Text: "too_large"},
	"gapb":    {Kind: KindGap, Channel: "b", Text: "redis"},
	"history": {Kind: KindGap, Channel: "a", Text: gapHistory},

	"stop": {Kind: KindStoppedReading}, "read": {Kind: KindResumedReading}, "sentraw": {Kind: KindSentRaw},
	"closing": {Kind: KindClosing}, "aborted": {Kind: KindAborted}, "broken": {Kind: KindBroken},

	"foreign":   {Kind: KindMessage, Channel: "a", Data: "hello"},
	"empty":     {Kind: KindMessage, Channel: "a"},
	"misrouted": {Kind: KindMessage, Channel: "a", Data: payloadOfB},
	"leak":      {Kind: KindMessage, Channel: "b", Data: payloadOfB},
}

// event reads one word of a log.
func (c checkCase) event(word string, published []Publication) Event {
	times, what, _ := strings.Cut(word, ":")
	received, sent, traced := strings.Cut(times, "<")
	what, cursor, _ := strings.Cut(what, "#")
	name := strings.TrimRight(what, "0123456789")
	number, _ := strconv.Atoi(what[len(name):])
	e := caseEvents[what]
	switch name {
	case "m": // message number of channel a
		e = Event{Kind: KindMessage, Channel: "a", Data: published[number-1].Payload}
	case "binary": // the same, in the wrong kind of frame
		e = Event{Kind: KindMessage, Channel: "a", Data: published[number-1].Payload, Binary: true}
	case "last": // the client asks for so many of the newest messages
		e = Event{Kind: KindSent, Text: "subscribe", Channel: "a", Last: number}
	case "close":
		e = Event{Kind: KindClose, Code: uint16(number)}
	case "end":
		e = Event{Kind: KindEnd, Code: uint16(number)}
	}
	if e.Kind == 0 {
		panic("unknown word " + word)
	}
	e.At, e.Cursor = moment(received), e.Cursor+cursor
	if traced {
		e.Sent = moment(sent)
	}
	return e
}

func (c checkCase) run(equal bool) Run {
	run := Run{Published: c.published(equal)}
	run.Rules = Rules{Lag: 100 * time.Millisecond, Heal: time.Second, Latency: 500 * time.Millisecond, Resumes: c.bounds, AllNewest: c.newest}
	if c.maxLen != 0 {
		run.Durable = map[string]int{"a": max(c.maxLen, 0)}
	}
	for log := range strings.SplitSeq(c.log, "/") {
		s := Session{Client: "c"}
		if c.raw != "" {
			s.Protocol, s.Channels, s.GapClose = Raw, []string{"a", "a", "silent"}, c.raw == "gapclose"
		}
		for i, word := range strings.Fields(log) {
			if relay, ok := strings.CutPrefix(word, "@"); ok {
				s.Relay = relay
				continue
			}
			e := c.event(word, run.Published)
			e.N = i
			s.Events = append(s.Events, e)
		}
		run.Sessions = append(run.Sessions, s)
	}
	for fault := range strings.SplitSeq(c.faults, ";") {
		if words := strings.Fields(fault); len(words) > 0 {
			run.Faults = append(run.Faults, caseFault(words))
		}
	}
	return run
}

// caseFault reads a fault: its times, then its properties. A bare number is
// when the fault had settled.
func caseFault(words []string) Fault {
	f := Fault{Name: words[0]}
	from, to, undone := strings.Cut(words[0], "-")
	f.From = moment(from)
	if undone {
		f.To = moment(to)
	}
	for _, word := range words[1:] {
		switch word {
		case "once":
			f.Gap, f.Offline = Once, Once
		case "never":
			f.Gap, f.Offline = Never, Never
		case "any":
			f.Gap, f.Offline = Any, Any
		case "ends":
			f.Ends = true
		case "on-a", "on-b":
			f.Channel = word[len("on-"):]
		case "at-a", "at-b":
			f.Relay = word[len("at-"):]
		default:
			f.Settled = moment(word)
		}
	}
	return f
}

func counts(r Report) string {
	var list []string
	for _, rule := range slices.Sorted(maps.Keys(r.Counts)) {
		list = append(list, fmt.Sprintf("%s %d", rule, r.Counts[rule]))
	}
	return strings.Join(list, ", ")
}

// TestCheck: Check reports exactly the violations of each case, with payloads
// that tell their numbers. A case without a violation has none with equal
// payloads either.
func TestCheck(t *testing.T) {
	for _, c := range slices.Concat(liveCases, endCases, rawCases, resumeCases, streamCases) {
		t.Run(c.why, func(t *testing.T) { c.check(t, false) })
		if c.want == "" {
			t.Run(c.why+", equal payloads", func(t *testing.T) { c.check(t, true) })
		}
	}
	for _, c := range equalCases {
		t.Run("equal payloads: "+c.why, func(t *testing.T) { c.check(t, true) })
	}
}

func (c checkCase) check(t *testing.T, equal bool) {
	r := Check(c.run(equal))
	if got := counts(r); got != c.want {
		t.Errorf("published %s\nlog %s\nfaults %s\ngot  %s\nwant %s\n%s", c.publish, c.log, c.faults, got, c.want, r)
	}
	if (r.Err() == nil) != (c.want == "") {
		t.Errorf("error %v", r.Err())
	}
	if failed := strings.Count(c.publish, "!"); r.Messages != len(strings.Fields(c.publish))+1-failed {
		t.Errorf("%d messages were counted", r.Messages)
	}
	if equal || c.resumes == "" && strings.Contains(c.log, "resume") {
		return // only cases that name relays count resumes, and only with numbered payloads
	}
	counted, other := r.Live, r.Durable
	if c.maxLen != 0 {
		counted, other = other, counted
	}
	short := func(n Resumes) string { return fmt.Sprintf("%d/%d/%d", n.Recovered, n.Gaps, n.FalseGaps) }
	want := c.resumes
	if want == "" {
		want = "0/0/0 0/0/0"
	}
	if got := short(counted.Same) + " " + short(counted.Crossed); got != want || other != (ResumesByRelay{}) {
		t.Errorf("resumes %s, want %s; of the other kind %v", got, want, other)
	}
}
