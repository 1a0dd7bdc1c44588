package config

import (
	"slices"
	"strings"

	"sidecast/relay/protocol"
	"sidecast/relay/syntax"
)

const noEvents = "none"

// An EventList is a [List] of kinds of events. The text for an empty list is
// noEvents.
type EventList []protocol.ReportKind

// Decode reads a list of kinds.
func (l *EventList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	var kinds EventList
	for _, item := range items {
		if item == noEvents && len(items) == 1 {
			break
		}
		kind := slices.IndexFunc(optionalEvents(), func(kind protocol.ReportKind) bool { return kind.String() == item })
		if kind < 0 {
			return syntax.New(syntax.Quote(item)+" is not a kind of events", "write "+orList(eventNames(optionalEvents()))+", or only none")
		}
		kinds = append(kinds, optionalEvents()[kind])
	}
	*l = kinds
	return nil
}

// String returns the list in the form that Decode reads.
func (l EventList) String() string {
	if len(l) == 0 {
		return noEvents
	}
	return strings.Join(eventNames(l), ",")
}

// MarshalText returns what String returns.
func (l EventList) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// optionalEvents returns the kinds that can be chosen: answers to the
// application's actions are always written.
func optionalEvents() []protocol.ReportKind {
	all := protocol.ReportKinds()
	return slices.DeleteFunc(all[:], func(kind protocol.ReportKind) bool { return kind == protocol.ReportControl })
}

func eventNames(kinds []protocol.ReportKind) (names []string) {
	for _, kind := range kinds {
		names = append(names, kind.String())
	}
	return names
}
