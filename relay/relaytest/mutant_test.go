package relaytest

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A mutant changes the log of a client as if the relay were broken, and names
// the rule that Check must report.
type mutant struct {
	name  string
	rule  Rule
	equal Rule // with equal payloads; empty if a client cannot notice

	// mutate changes the log of one session of sidecast.v1. It is called with
	// all sessions of [restartRedis] of which the client behaved well, and
	// returns nil if there is nothing to change.
	mutate func(log []Event) []Event
}

// some returns the index of a message on channel a that has others before and
// after it, long after the fault: with equal payloads the gap might explain an
// earlier loss.
func some(log []Event) int {
	for i, n := len(log)-1, 0; i >= 0; i-- {
		if log[i].Kind == KindMessage && log[i].Channel == "a" {
			if n++; n == 10 {
				return i
			}
		}
	}
	return -1
}

// first returns the index of the first event of a kind, or -1.
func first(log []Event, kind Kind) int { return slices.IndexFunc(log, Is(kind)) }

// replayed returns the index of the first message that was replayed on channel
// a, or -1.
func replayed(log []Event) int {
	return next(log, slices.IndexFunc(log, func(e Event) bool {
		return e.Kind == KindSubscribed && e.Recovered && e.Channel == "a"
	}))
}

// next returns the index of the first message on channel a after event i, or
// -1.
func next(log []Event, i int) int {
	if i < 0 {
		return -1
	}
	k := slices.IndexFunc(log[i+1:], IsOn(KindMessage, "a"))
	if k < 0 {
		return -1
	}
	return i + 1 + k
}

// moved moves event i to before event k.
func moved(log []Event, i, k int) []Event {
	log = slices.Insert(log, k, log[i])
	if k <= i {
		i++
	}
	return slices.Delete(log, i, i+1)
}

// gapBefore moves the gap to the first event of a kind, if there are both.
func gapBefore(log []Event, kind Kind) []Event {
	i, k := first(log, KindGap), first(log, kind)
	if i < 0 || k < 0 {
		return nil
	}
	log[i].At = log[k].At
	return moved(log, i, k)
}

// changed changes event i, if there is one.
func changed(log []Event, i int, change func(e *Event)) []Event {
	if i < 0 {
		return nil
	}
	change(&log[i])
	return log
}

// repeated inserts a copy of event i, if there is one.
func repeated(log []Event, i int) []Event {
	if i < 0 {
		return nil
	}
	return slices.Insert(log, i, log[i])
}

// dropped deletes event i, if there is one.
func dropped(log []Event, i int) []Event {
	if i < 0 {
		return nil
	}
	return slices.Delete(log, i, i+1)
}

var mutants = []mutant{
	{"drops a message", Hole, Hole, func(log []Event) []Event { return dropped(log, some(log)) }},
	{"repeats a message", Duplicate, Duplicate, func(log []Event) []Event { return repeated(log, some(log)) }},
	{"swaps two messages", Reorder, "", func(log []Event) []Event {
		i := some(log)
		if k := next(log, i); k > 0 {
			return moved(log, k, i)
		}
		return nil
	}},
	{"sends a message without a subscription", Leak, Leak, func(log []Event) []Event {
		return changed(log, some(log), func(e *Event) { e.Channel = "other" })
	}},
	{"changes a byte", Corrupt, Corrupt, func(log []Event) []Event {
		return changed(log, some(log), func(e *Event) { e.Data = strings.Replace(e.Data, "rt1", "rt0", 1) })
	}},
	{"sends the wrong kind of frame", Corrupt, Corrupt, func(log []Event) []Event {
		return changed(log, some(log), func(e *Event) { e.Binary = !e.Binary })
	}},
	{"delays a message", Late, "", func(log []Event) []Event {
		return changed(log, some(log), func(e *Event) { e.At = e.At.Add(time.Minute) })
	}},
	{"gives one cursor to two messages", BadCursor, Duplicate, func(log []Event) []Event {
		i := some(log)
		return changed(log, next(log, i), func(e *Event) { e.Cursor = log[i].Cursor })
	}},

	{"sends no gap", MissingGap, Hole, func(log []Event) []Event { return dropped(log, first(log, KindGap)) }},
	{"sends the gap after the next message", LateGap, "", func(log []Event) []Event {
		i := first(log, KindGap)
		if k := next(log, i); k > 0 {
			return moved(log, i, k+1)
		}
		return nil
	}},
	{"sends the gap when Redis is lost", EarlyGap, Hole, func(log []Event) []Event { return gapBefore(log, KindOffline) }},
	{"sends the gap twice", GapCount, GapCount, func(log []Event) []Event { return repeated(log, first(log, KindGap)) }},
	{"sends a gap without a fault", CauselessGap, CauselessGap, func(log []Event) []Event {
		return gapBefore(log, KindMessage)
	}},
	{"does not send offline", OfflineCount, OfflineCount, func(log []Event) []Event {
		return dropped(log, first(log, KindOffline))
	}},
	{"delivers nothing after the fault", Hole, Hole, func(log []Event) []Event {
		if i := first(log, KindGap); i > 0 {
			return log[:i+1]
		}
		return nil
	}},
	{"closes the connection", UnexpectedEnd, UnexpectedEnd, func(log []Event) []Event {
		return append(log, Event{Kind: KindEnd, Code: 1006, At: log[len(log)-1].At})
	}},
	{"sends no welcome", BadProtocol, BadProtocol, func(log []Event) []Event { return dropped(log, first(log, KindWelcome)) }},

	{"loses the first message of a replay", Hole, Hole, func(log []Event) []Event { return dropped(log, replayed(log)) }},
	{"repeats the first message of a replay", Duplicate, Duplicate, func(log []Event) []Event {
		return repeated(log, replayed(log))
	}},
	{"goes on with the replay after unsubscribed", Leak, Leak, func(log []Event) []Event {
		i := replayed(log)
		if i < 0 {
			return nil
		}
		return slices.Insert(log, i, Event{Kind: KindUnsubscribed, Channel: "a", At: log[i].At})
	}},
}

// check lets the mutant change one session after the other.
func (m mutant) check(t *testing.T, run Run, equal bool) {
	rule := m.rule
	if equal {
		rule = m.equal
	}
	if rule == "" {
		return
	}
	tried := 0
	for i, s := range run.Sessions {
		if s.Protocol != V1 || s.Events[len(s.Events)-1].Kind == KindEnd {
			continue
		}
		log := m.mutate(slices.Clone(s.Events))
		if log == nil {
			continue
		}
		tried++
		for n := range log {
			log[n].N = n
		}
		broken := run
		broken.Sessions = slices.Clone(run.Sessions)
		broken.Sessions[i].Events = log
		if r := Check(broken); r.Counts[rule] == 0 {
			t.Errorf("a relay that %s: no %s was found: %v", m.name, rule, r)
		}
		if tried >= 2 {
			return
		}
	}
	if tried == 0 {
		t.Errorf("no client received anything that could be changed: %s", m.name)
	}
}
