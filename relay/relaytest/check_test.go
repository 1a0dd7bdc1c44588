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

// A scene is a run in short. Times are milliseconds; the rules allow a lag of 100, a latency of 500, and 1000 for healing.
//
// publish are the times of PUBLISH, each answered within 1 ms, with `!` behind those that failed and `z` behind the
// last. A log is words like 12:m3, at 12 message 3 came, or 12<7:m3 where it is known to have been sent at 7; the other
// letters are in [scene.event]. faults are FROM-TO, TO
// left out if it was not undone, with what is expected behind.
type scene struct {
	why     string
	publish string
	log     string
	faults  string
	raw     string // "raw" or "gapclose"
	want    string // rules and their counts, sorted; empty for none
}

var sceneStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func moment(ms string) time.Time {
	n, err := strconv.Atoi(ms)
	if err != nil {
		panic(err)
	}
	return sceneStart.Add(time.Duration(n) * time.Millisecond)
}

var scenePayloads = Payloads{Bytes: BytesHostile}

func (s scene) published(equal bool) []Publication {
	var list []Publication
	for i, word := range strings.Fields(s.publish) {
		p := Publication{Channel: "a", Seq: uint32(i + 1), Receivers: 1, Equal: equal && !strings.Contains(word, "z")}
		p.End = strings.Contains(word, "z")
		if strings.Contains(word, "!") {
			p.Err = errors.New("timeout")
		}
		p.Before = moment(strings.TrimRight(word, "!z"))
		p.After = p.Before.Add(time.Millisecond)
		p.Payload = s.payload(uint32(i+1), p.Equal)
		list = append(list, p)
	}
	other := Publication{Channel: "b", Seq: 1, Receivers: 1, Before: moment("0"), After: moment("1")}
	other.Payload = string(scenePayloads.Payload("b", 1))
	return append(list, other)
}

func (s scene) payload(seq uint32, equal bool) string {
	return string(Payloads{Bytes: BytesHostile, Equal: equal}.Payload("a", seq))
}

// event reads one word of a log.
func (s scene) event(word string, published []Publication) Event {
	at, what, _ := strings.Cut(word, ":")
	if heard, sent, ok := strings.Cut(at, "<"); ok {
		e := s.event(heard+":"+what, published)
		e.Sent = moment(sent)
		return e
	}
	e := Event{At: moment(at), Channel: "a"}
	letters := strings.TrimRight(what, "0123456789")
	number, _ := strconv.Atoi(what[len(letters):])
	switch letters {
	case "m": // message N of channel a
		e.Kind, e.Data = KindMessage, published[number-1].Payload
	case "close":
		return Event{At: e.At, Kind: KindClose, Code: uint16(number)}
	case "end":
		return Event{At: e.At, Kind: KindEnd, Code: uint16(number)}
	default:
		known := map[string]Event{
			"opened": {Kind: KindOpened}, "welcome": {Kind: KindWelcome}, "ask": {Kind: KindSent, Text: "subscribe", Channel: "a"},
			"resume": {Kind: KindSent, Text: "subscribe", Channel: "a", Cursor: "c"},
			"joined": {Kind: KindSubscribed, Channel: "a"}, "recovered": {Kind: KindSubscribed, Channel: "a", Recovered: true},
			"history": {Kind: KindGap, Channel: "a", Text: gapHistory},
			"gapb":    {Kind: KindGap, Channel: "b", Text: "redis"},
			"left":    {Kind: KindUnsubscribed, Channel: "a"}, "gap": {Kind: KindGap, Text: "redis"},
			"gapa": {Kind: KindGap, Channel: "a", Text: "too_large"}, "offline": {Kind: KindOffline, Text: "redis"},
			"stop": {Kind: KindStopped}, "read": {Kind: KindResumed},
			"closing": {Kind: KindClosing}, "aborted": {Kind: KindAborted}, "sentraw": {Kind: KindSentRaw},
			"broken": {Kind: KindBroken}, "heartbeat": {Kind: KindHeartbeat},
			"foreign":   {Kind: KindMessage, Channel: "a", Data: "hello"},
			"misrouted": {Kind: KindMessage, Channel: "a", Data: string(scenePayloads.Payload("b", 1))},
			"leak":      {Kind: KindMessage, Channel: "b", Data: string(scenePayloads.Payload("b", 1))},
			"empty":     {Kind: KindMessage, Channel: "a"},
			"binary":    {Kind: KindMessage, Channel: "a", Binary: true, Data: published[0].Payload},
		}
		e = known[what]
		if e.Kind == 0 {
			panic("unknown word " + word)
		}
		e.At = moment(at)
	}
	return e
}

func (s scene) run(equal bool) Run {
	published := s.published(equal)
	run := Run{Published: published, Rules: Rules{Lag: 100 * time.Millisecond, Heal: time.Second, Latency: 500 * time.Millisecond}}
	for log := range strings.SplitSeq(s.log, "/") { // one client, one session after the other
		session := Session{Client: "c"}
		if s.raw != "" {
			session.Protocol, session.Channels, session.GapClose = Raw, []string{"a", "a", "silent"}, s.raw == "gapclose"
		}
		for i, word := range strings.Fields(log) {
			e := s.event(word, published)
			e.N = i
			session.Events = append(session.Events, e)
		}
		run.Sessions = append(run.Sessions, session)
	}
	for fault := range strings.SplitSeq(s.faults, ";") {
		words := strings.Fields(fault)
		if len(words) == 0 {
			continue
		}
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
			case "on-a":
				f.Channel = "a"
			case "on-b":
				f.Channel = "b"
			case "at-a", "at-b":
				f.Relay = word[len("at-"):]
			case "resets":
				f.Resets = true
			default:
				f.Settled = moment(word)
			}
		}
		run.Faults = append(run.Faults, f)
	}
	return run
}

func counts(r Report) string {
	var list []string
	for _, rule := range slices.Sorted(maps.Keys(r.Counts)) {
		list = append(list, fmt.Sprintf("%s %d", rule, r.Counts[rule]))
	}
	return strings.Join(list, ", ")
}

const (
	begin  = "0:opened 1:welcome 2:ask 3:joined "
	fourth = "10 20 30 40"
)

var scenes = []scene{
	{why: "all well", publish: fourth, log: begin + "11:m1 21:m2 31:m3 41:m4"},
	{why: "the first of two logs is closed by the client", publish: fourth,
		log: begin + "11:m1 15:closing 15:close1000 16:end1000 / 25:opened 25:welcome 25:ask 26:joined 31:m3 41:m4"},

	// Order, number and bytes.
	{why: "a hole", publish: fourth, log: begin + "11:m1 21:m2 41:m4", want: "hole 1"},
	{why: "a hole at the end", publish: fourth, log: begin + "11:m1 21:m2 31:m3", want: "hole 1"},
	{why: "a hole at the beginning", publish: fourth, log: begin + "21:m2 31:m3 41:m4", want: "hole 1"},
	{why: "two holes", publish: fourth, log: begin + "21:m2 41:m4", want: "hole 2"},
	{why: "a wide hole is told once", publish: fourth, log: begin + "11:m1 41:m4", want: "hole 1"},
	{why: "nothing came", publish: fourth, log: begin, want: "hole 1, unproven 1"},
	{why: "a duplicate", publish: fourth, log: begin + "11:m1 21:m2 22:m2 31:m3 41:m4", want: "duplicate 1"},
	{why: "a duplicate from long ago", publish: fourth, log: begin + "11:m1 21:m2 31:m3 41:m4 42:m1", want: "duplicate 1"},
	{why: "two swapped", publish: fourth, log: begin + "11:m1 31:m3 32:m2 41:m4", want: "reorder 1"},
	{why: "the last ones swapped", publish: fourth, log: begin + "11:m1 21:m2 41:m4 42:m3", want: "reorder 1"},
	{why: "a payload that nobody published", publish: fourth, log: begin + "11:m1 21:m2 25:foreign 31:m3 41:m4", want: "corrupt 1"},
	{why: "an empty payload that nobody published", publish: fourth, log: begin + "11:m1 21:m2 25:empty 31:m3 41:m4", want: "corrupt 1"},
	{why: "text as binary", publish: fourth, log: begin + "11:binary 21:m2 31:m3 41:m4", want: "corrupt 1"},

	// In time.
	{why: "long after it was published", publish: "10 20 30", log: begin + "11:m1 21:m2 900:m3", want: "late 1"},
	{why: "long after it was published, in a fault", publish: "10 20 30 2000", faults: "25-35", log: begin + "11:m1 21:m2 900:m3 2001:m4"},
	{why: "long after it was published, before the join", publish: "10 20 30",
		log: begin + "11:m1 15:aborted 15:end / 800:opened 801:welcome 802:resume 803:recovered 804:m2 805:m3"},
	{why: "long after it was published, to one who slept", publish: "10 20 30", log: begin + "11:m1 15:stop 800:read 801:m2 802:m3"},

	// Who may hear what.
	{why: "a payload under another channel's name", publish: fourth, log: begin + "11:m1 21:m2 25:misrouted 31:m3 41:m4", want: "leak 1"},
	{why: "a channel that was not joined", publish: fourth, log: begin + "11:m1 21:m2 25:leak 31:m3 41:m4", want: "leak 1"},
	{why: "a channel that was left", publish: fourth, log: begin + "11:m1 15:left 21:m2", want: "leak 1"},
	{why: "before the answer", publish: fourth, log: "0:opened 1:welcome 2:ask 11:m1 12:joined 21:m2 31:m3 41:m4", want: "leak 1"},

	// Joining.
	{why: "what was published before the join need not come", publish: fourth,
		log: "0:opened 1:welcome 24:ask 25:joined 31:m3 41:m4"},
	{why: "but may", publish: fourth, log: "0:opened 1:welcome 24:ask 25:joined 26:m2 31:m3 41:m4"},
	{why: "unless it is old", publish: "10 20 500 510", log: "0:opened 1:welcome 200:ask 201:joined 202:m2 501:m3 511:m4", want: "stale 1"},
	{why: "if no fault held it up", publish: "10 20 500 2000", faults: "5-400 600",
		log: "0:opened 1:welcome 200:ask 201:joined 450:m2 501:m3 2001:m4"},
	{why: "what was published after the join must", publish: fourth,
		log: "0:opened 1:welcome 24:ask 25:joined 41:m4", want: "hole 1"},
	{why: "joining twice changes nothing", publish: fourth, log: begin + "11:m1 12:ask 22:joined 31:m3 41:m4", want: "hole 1"},
	{why: "leaving and joining again", publish: fourth, log: begin + "11:m1 15:left 16:ask 25:joined 31:m3 41:m4"},
	{why: "leaving and joining again, with a hole behind", publish: fourth,
		log: begin + "11:m1 15:left 16:ask 25:joined 41:m4", want: "hole 1"},
	{why: "leaving and joining again, with a hole at the end", publish: fourth,
		log: begin + "11:m1 15:left 16:ask 25:joined 31:m3", want: "hole 1"},
	{why: "a hole long before leaving", publish: "10 20 300 400", log: begin + "11:m1 200:left 201:ask 202:joined 301:m3 401:m4", want: "hole 1"},

	// Gaps.
	{why: "a fault and its gap", publish: "10 20 30 2000", faults: "15-25 once", log: begin + "11:m1 16:offline 26:gap 31:m3 2001:m4"},
	{why: "a fault that cost nothing", publish: "10 20 30 2000", faults: "15-25 once",
		log: begin + "11:m1 16:offline 21:m2 26:gap 31:m3 2001:m4"},
	{why: "a gap without a cause", publish: fourth, log: begin + "11:m1 26:gap 31:m3 41:m4", want: "causeless gap 1, hole 1"},
	{why: "a gap long after its cause", publish: "10 20 30 2000", faults: "15-25", log: begin + "11:m1 21:m2 31:m3 1500:gap 2001:m4",
		want: "causeless gap 1"},
	{why: "a gap behind the next message", publish: "10 20 30 2000", faults: "15-25", log: begin + "11:m1 31:m3 32:gap 2001:m4", want: "late gap 1"},
	{why: "no gap", publish: "10 20 30 2000", faults: "15-25", log: begin + "11:m1 31:m3 2001:m4", want: "missing gap 1"},
	{why: "no gap, and nothing behind", publish: "10 20", faults: "15-25 24", log: begin + "11:m1", want: "missing gap 1, unproven 1"},
	{why: "a gap before the loss", publish: "10 20 30 2000", faults: "15-25", log: begin + "11:m1 16:gap 31:m3 2001:m4", want: "early gap 1"},
	{why: "a gap that was sent before the loss, and heard behind it", publish: "10 20 30 2000", faults: "15-25",
		log: begin + "11:m1 26<16:gap 31:m3 2001:m4", want: "early gap 1"},
	{why: "a gap that should explain what was lost before the fault", publish: "10 20 300 2000", faults: "250-350",
		log: begin + "11:m1 360:gap 2001:m4", want: "hole 1"},
	{why: "a gap that should explain what was lost after it", publish: "10 20 300 2000", faults: "15-25 200",
		log: begin + "11:m1 26:gap 2001:m4", want: "hole 1"},
	{why: "dead after the fault", publish: "10 20 1500 2000", faults: "15-25", log: begin + "11:m1 26:gap", want: "hole 1, unproven 1"},
	{why: "a gap twice", publish: "10 20 30 2000", faults: "15-25", log: begin + "11:m1 26:gap 27:gap 31:m3 2001:m4", want: "gap count 1"},
	{why: "a gap twice where any number will do", publish: "10 20 30 2000", faults: "15-25 any",
		log: begin + "11:m1 26:gap 27:gap 31:m3 2001:m4"},
	{why: "no gap and no offline where they must be", publish: "10 20 30 2000", faults: "15-25 once",
		log: begin + "11:m1 21:m2 31:m3 2001:m4", want: "gap count 1, offline count 1"},
	{why: "a gap and an offline where none may be", publish: "10 20 30 2000", faults: "15-25 never",
		log:  begin + "11:m1 16:offline 21:m2 26:gap 31:m3 2001:m4",
		want: "causeless gap 1, causeless notice 1, gap count 1, offline count 1"},
	{why: "one who came during the fault hears the gap, not the rest", publish: "10 20 30 2000", faults: "5-25 once",
		log: "6:opened 7:welcome 8:ask 9:joined 26:gap 31:m3 2001:m4"},
	{why: "one who came during the fault and hears nothing", publish: "10 20 30 2000", faults: "5-25 once",
		log: "6:opened 7:welcome 8:ask 9:joined 31:m3 2001:m4", want: "gap count 1, missing gap 1"},
	{why: "one who came after it need not hear", publish: "10 20 30 2000", faults: "5-25 once",
		log: "26:opened 27:welcome 28:ask 29:joined 31:m3 2001:m4"},
	{why: "one who went during it need not hear", publish: "10 20 30 2000", faults: "5-25 once ends",
		log: begin + "15:end / 1990:opened 1991:welcome 1992:ask 1993:joined 2001:m4"},
	{why: "one who had left before it need not hear", publish: "10", faults: "100-200 never; 2015-2025 once",
		log: begin + "11:m1 1500:left 2016:offline", want: "unproven 2"},
	{why: "two faults at a time may be one to a client", publish: "10 20 30 3000", faults: "15-25 once; 20-40 once",
		log: begin + "11:m1 16:offline 41:gap 3001:m4"},
	{why: "or two", publish: "10 20 30 3000", faults: "15-25 once; 20-40 once",
		log: begin + "11:m1 16:offline 26:gap 27:offline 41:gap 3001:m4"},
	{why: "two faults apart are two", publish: "10 20 3000 3010 9000", faults: "15-25 once; 3005-3015 once",
		log: begin + "11:m1 16:offline 26:gap 3001:m3 3006:offline 3020:gap 9001:m5"},
	{why: "and one is not enough", publish: "10 20 3000 3010 9000", faults: "15-25 once; 3005-3015 once",
		log: begin + "11:m1 16:offline 26:gap 3001:m3 3006:offline 3011:m4 9001:m5", want: "gap count 1"},
	{why: "a gap of one channel", publish: "10 20 30 2000", faults: "15-25 on-a any", log: begin + "11:m1 26:gapa 31:m3 2001:m4"},
	{why: "a gap of one channel, explained by another's fault", publish: "10 20 30 2000", faults: "15-25 on-b any 26",
		log: begin + "11:m1 26:gapa 31:m3 2001:m4", want: "causeless gap 1, hole 1, unproven 1"},
	{why: "no gap, but one of a later fault", publish: "10 20 30 3000 3010 9000", faults: "15-25; 3005-3015",
		log: begin + "11:m1 31:m3 3001:m4 3020:gap 9001:m6", want: "missing gap 1"},
	{why: "another channel's gap", publish: "10 20 30 2000", faults: "15-25 any", log: begin + "11:m1 26:gapb 31:m3 2001:m4",
		want: "missing gap 1"},
	{why: "a fault that is never undone", publish: "10 20 30", faults: "15 any", log: begin + "11:m1 16:offline"},
	{why: "nothing published after the fault", publish: "10 20 30", faults: "15-25", log: begin + "11:m1 26:gap 31:m3", want: "unproven 1"},

	// PUBLISH that failed.
	{why: "it may not come", publish: "10 20! 30 40", log: begin + "11:m1 31:m3 41:m4"},
	{why: "it may come", publish: "10 20! 30 40", log: begin + "11:m1 21:m2 31:m3 41:m4"},
	{why: "it may come late", publish: "10 20! 30 40", log: begin + "11:m1 31:m3 32:m2 41:m4"},
	{why: "but once", publish: "10 20! 30 40", log: begin + "11:m1 21:m2 31:m3 32:m2 41:m4", want: "duplicate 1"},

	// Ends.
	{why: "the relay hangs up", publish: fourth, log: begin + "11:m1 21:m2 31:m3 41:m4 50:end", want: "unexpected end 1"},
	{why: "the relay hangs up in a fault", publish: "10 20 30 2000", faults: "15-25 ends", log: begin +
		"11:m1 16:end / 1990:opened 1991:welcome 1992:ask 1993:joined 2001:m4"},
	{why: "the relay hangs up in a fault that ends nothing", publish: "10 20 30 2000", faults: "15-25", log: begin +
		"11:m1 16:end / 1990:opened 1991:welcome 1992:ask 1993:joined 2001:m4", want: "unexpected end 1"},
	{why: "the relay hangs up on one who sent rubbish", publish: "10 60", log: begin + "11:m1 12:sentraw 13:end"},
	{why: "the relay hangs up on one who does not read", publish: "10 60 600", log: begin + "11:m1 20:stop 500:read 501:close4408 501:end4408"},
	{why: "one who stopped reading and was not ended misses nothing", publish: "10 60 600",
		log: begin + "11:m1 20:stop 500:read 501:m2 601:m3"},
	{why: "one who does not read yet", publish: "10 60 600", log: begin + "11:m1 20:stop"},
	{why: "one who is about to go", publish: "10 60 600", log: begin + "11:m1 20:closing"},
	{why: "one who went misses the rest", publish: "10 60 600", log: begin + "11:m1 300:aborted 301:end", want: "hole 1"},
	{why: "what was just published when it went need not come", publish: "10 60 600", log: begin + "11:m1 100:aborted 101:end"},
	{why: "a relay that breaks the protocol", publish: "10 60", log: begin + "11:m1 50:broken 50:end", want: "protocol 1, unexpected end 1"},
	{why: "no welcome", publish: fourth, log: "0:opened 2:ask 3:joined 11:m1 21:m2 31:m3 41:m4", want: "protocol 1"},

	// Coming back with a cursor.
	{why: "recovered", publish: fourth, log: begin + "11:m1 15:aborted 15:end / 25:opened 26:welcome 27:resume 28:recovered 29:m2 31:m3 41:m4"},
	{why: "recovered, off by one too late", publish: fourth,
		log: begin + "11:m1 15:aborted 15:end / 25:opened 26:welcome 27:resume 28:recovered 31:m3 41:m4", want: "hole 1"},
	{why: "recovered, off by one too early", publish: fourth,
		log: begin + "11:m1 15:aborted 15:end / 25:opened 26:welcome 27:resume 28:recovered 29:m1 29:m2 31:m3 41:m4", want: "duplicate 1"},
	{why: "not recovered", publish: fourth, log: begin + "11:m1 15:aborted 15:end / 25:opened 26:welcome 27:resume 28:joined 31:m3 41:m4"},

	// Raw: no names, no answers, no gaps.
	{why: "raw", raw: "raw", publish: fourth, log: "0:opened 11:m1 21:m2 31:m3 41:m4"},
	{why: "raw, a hole", raw: "raw", publish: "10 20 300 400", log: "0:opened 11:m1 301:m3 401:m4", want: "hole 1"},
	{why: "raw, joined a moment after the handshake", raw: "raw", publish: fourth, log: "0:opened 31:m3 41:m4"},
	{why: "raw, joined too late", raw: "raw", publish: "10 20 300 400", log: "0:opened 401:m4", want: "hole 1"},
	{why: "raw, another channel", raw: "raw", publish: fourth, log: "0:opened 11:m1 21:m2 25:leak 31:m3 41:m4", want: "leak 1"},
	{why: "raw, rubbish", raw: "raw", publish: fourth, log: "0:opened 11:m1 21:m2 25:foreign 31:m3 41:m4", want: "corrupt 1"},
	{why: "raw, a fault needs no gap", raw: "raw", publish: "10 20 30 2000", faults: "15-25 once", log: "0:opened 11:m1 31:m3 2001:m4"},
	{why: "raw, dead after the fault", raw: "raw", publish: "10 20 1900 2000", faults: "15-25", log: "0:opened 11:m1", want: "hole 1, unproven 1"},
	{why: "raw, closed where a gap was", raw: "gapclose", publish: "10 20 30 2000", faults: "15-25 once",
		log: "0:opened 11:m1 26:close4410 26:end4410 / 1800:opened 2001:m4"},
	{why: "raw, closed where a gap was, and nothing follows though the connection ends later", raw: "gapclose", publish: "10 20 30",
		faults: "15-25 once", log: "0:opened 11:m1 26:close4410 900:end4410", want: "unproven 1"},
	{why: "raw, closed without a cause", raw: "gapclose", publish: "10 20", log: "0:opened 11:m1 21:m2 26:close4410 26:end4410",
		want: "causeless gap 1"},
	{why: "raw, closed with another code", raw: "gapclose", publish: "10 20", log: "0:opened 11:m1 21:m2 26:close1012 26:end1012",
		want: "unexpected end 1"},
	{why: "raw, closed with another code in a fault, which tells of no gap", raw: "gapclose", publish: "10 20 30 2000",
		faults: "15-25 ends", log: "0:opened 11:m1 31:m3 32:close1012 32:end1012 / 1800:opened 2001:m4", want: "missing gap 1"},
	{why: "raw, not closed", raw: "gapclose", publish: "10 20 30 2000", faults: "15-25 once", log: "0:opened 11:m1 31:m3 2001:m4",
		want: "gap count 1, missing gap 1"},
	{why: "raw, closed behind the next message", raw: "gapclose", publish: "10 20 30 2000", faults: "15-25 once",
		log: "0:opened 11:m1 31:m3 32:close4410 32:end4410 / 1800:opened 2001:m4", want: "late gap 1"},
}

func TestCheck(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.why, func(t *testing.T) { s.check(t, false) })
		if s.want == "" {
			t.Run(s.why+", equal payloads", func(t *testing.T) { s.check(t, true) })
		}
	}
}

func (s scene) check(t *testing.T, equal bool) {
	r := Check(s.run(equal))
	if got := counts(r); got != s.want {
		t.Errorf("published %s\nlog %s\nfaults %s\ngot  %s\nwant %s\n%s", s.publish, s.log, s.faults, got, s.want, r)
	}
	if (r.Err() == nil) != (s.want == "") {
		t.Errorf("error %v", r.Err())
	}
	if failed := strings.Count(s.publish, "!"); r.Messages != len(strings.Fields(s.publish))+1-failed {
		t.Errorf("%d messages were counted", r.Messages)
	}
}

// equalScenes are what can and cannot be told of equal payloads. The numbers of the messages in the logs mean nothing.
var equalScenes = []scene{
	{why: "one too few", publish: fourth, log: begin + "11:m1 21:m1 31:m1", want: "hole 1"},
	{why: "one too many", publish: fourth, log: begin + "11:m1 21:m1 31:m1 41:m1 42:m1", want: "duplicate 1"},
	{why: "one too early", publish: fourth, log: begin + "11:m1 12:m1 31:m1 41:m1", want: "duplicate 1"},
	{why: "another payload", publish: fourth, log: begin + "11:m1 21:m1 25:foreign 31:m1 41:m1", want: "corrupt 1"},
	{why: "another channel's payload", publish: fourth, log: begin + "11:m1 21:m1 25:misrouted 31:m1 41:m1", want: "leak 1"},
	{why: "one too few, then one too many", publish: "10 20 30 40 50", log: begin + "11:m1 31:m1 41:m1 42:m1 51:m1"},
	{why: "nothing came", publish: fourth, log: begin, want: "hole 1, unproven 1"},
	{why: "all well, with a last one", publish: "10 20 30z", log: begin + "11:m1 21:m1 31:m3"},
	{why: "nothing but a last one", publish: "10! 20z", log: begin + "21:m2"},
	{why: "a last one after a last one that failed", publish: "10 20z! 30z", log: begin + "11:m1 21:m2 31:m3"},
	{why: "only the last one shows that the relay lives", publish: "10 20 2000z", faults: "15-25", log: begin + "11:m1 26:gap 2001:m3"},
	{why: "joined in between, exactly behind the old ones", publish: "10 20 500 510",
		log: "0:opened 1:welcome 300:ask 301:joined 501:m1 511:m1"},
	{why: "a hole before the last", publish: "10 20 30z", log: begin + "11:m1 31:m3", want: "hole 1"},
	{why: "a hole before the last, made good behind it", publish: "10 20 30z", log: begin + "11:m1 31:m3 32:m1", want: "hole 1"},
	{why: "the last alone is missing", publish: "10 20 30z", log: begin + "11:m1 21:m1", want: "hole 1"},
	{why: "the last twice", publish: "10 20 30z", log: begin + "11:m1 21:m1 31:m3 32:m3", want: "duplicate 1"},
	{why: "too many before the last", publish: "10 20 30z", log: begin + "11:m1 21:m1 29:m1 31:m3", want: "duplicate 1"},
	{why: "joined in between, one too few", publish: fourth, log: "0:opened 1:welcome 24:ask 25:joined 31:m1", want: "hole 1"},
	{why: "joined in between, one too many", publish: fourth,
		log: "0:opened 1:welcome 5:ask 15:joined 21:m1 31:m1 41:m1 42:m1 43:m1", want: "duplicate 1"},
	{why: "joined in between, an old one", publish: "10 20 500 510",
		log: "0:opened 1:welcome 300:ask 301:joined 302:m1 501:m1 511:m1", want: "duplicate 1"},
	{why: "a gap, and one too few behind it", publish: "10 20 30 40 2000 2010", faults: "15-35 1500", log: begin + "11:m1 36:gap 2001:m1",
		want: "hole 1"},
	{why: "a gap, and one too few long before it", publish: "10 20 500 510 2000", faults: "505-515 1500",
		log: begin + "11:m1 501:m1 520:gap 2001:m1"}, // the second may have been the third
	{why: "a gap, and one too few earlier than that", publish: "10 20 30 500 510 2000", faults: "505-515 1500",
		log: begin + "11:m1 501:m1 520:gap 2001:m1", want: "hole 1"},
	{why: "no gap", publish: "10 20 30 2000", faults: "15-25", log: begin + "11:m1 31:m1 2001:m1", want: "hole 1"},
	{why: "a PUBLISH that failed may be one more", publish: "10 20! 30 40", log: begin + "11:m1 21:m1 31:m1 41:m1"},
	{why: "but not two", publish: "10 20! 30 40", log: begin + "11:m1 21:m1 31:m1 41:m1 42:m1", want: "duplicate 1"},
	{why: "raw, a fault in between", raw: "raw", publish: "10 20 30 40 2000", faults: "15-25", log: "0:opened 11:m1 31:m1 41:m1 2001:m1"},
	{why: "raw, a fault in between, behind what no fault explains", raw: "raw", publish: "10 500 510 520 3000", faults: "505-515 600",
		log: "0:opened 11:m1 501:m1 521:m1 3001:m1"},
	{why: "raw, one too few, long before the fault", raw: "raw", publish: "10 20 500 3000", faults: "450-550",
		log: "0:opened 11:m1 3001:m1", want: "hole 1"},
}

func TestCheckEqual(t *testing.T) {
	for _, s := range equalScenes {
		t.Run(s.why, func(t *testing.T) { s.check(t, true) })
	}
}
