package trace

import (
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

const (
	// maxClients bounds how many sessions a follower remembers.
	maxClients = 200_000
	// maxEvents bounds how many events one poll returns.
	maxEvents = 500
	// maxNearEvents bounds how many of them are about similar names.
	maxNearEvents = 20
)

// A Follower finds in the records of a relay what concerns one channel. Only one
// goroutine at a time may use it.
type Follower struct {
	channel   string
	redis     string // the name of the channel in Redis
	reader    *blackbox.Reader
	protocols func() map[string]int

	clients map[sessionKey]followed // sessions, as far as they are remembered
	on      map[sessionKey]bool     // those that are on the channel
}

// A sessionKey is the number of a session since a start of the relay.
type sessionKey struct{ boot, session uint32 }

func keyOf(r *blackbox.Record) sessionKey { return sessionKey{r.Boot, r.Session} }

// A followed is the client of a session.
type followed struct{ user, session, protocol string }

// NewFollower returns a follower of a channel, from the records of the past on:
// they say who is on the channel already. protocols returns how many clients on
// the channel use which protocol now.
func NewFollower(box *blackbox.Box, channel, redisName string, protocols func() map[string]int) *Follower {
	f := &Follower{
		channel: channel, redis: redisName, reader: box.NewReader(time.Time{}), protocols: protocols,
		clients: make(map[sessionKey]followed), on: make(map[sessionKey]bool),
	}
	for {
		record, ok := f.reader.Next()
		if !ok {
			break
		}
		f.event(&record)
	}
	f.reader.Missed()
	return f
}

// Poll returns the events since the last call.
func (f *Follower) Poll() (events []Event) {
	near := 0
	for {
		record, ok := f.reader.Next()
		if !ok {
			break
		}
		e := f.event(&record)
		if e.Kind == "" {
			continue
		}
		if e.How != Unlike {
			if near++; near > maxNearEvents {
				continue
			}
		}
		e.At = record.At
		if len(events) < maxEvents {
			events = append(events, e)
		} else if len(events) == maxEvents {
			events = append(events, Event{Kind: EventMissed, At: record.At})
		}
	}
	if f.reader.Missed() {
		events = append(events, Event{Kind: EventMissed, At: time.Now()})
	}
	return f.withProtocols(events)
}

// withProtocols adds to the messages how their listeners are connected, if that
// has not changed since.
func (f *Follower) withProtocols(events []Event) []Event {
	var now map[string]int
	listeners := 0
	for i := range events {
		e := &events[i]
		if e.Kind != EventMessage || e.Listeners == 0 || e.How != Unlike {
			continue
		}
		if now == nil {
			now = f.protocols()
			for _, n := range now {
				listeners += n
			}
		}
		if listeners == e.Listeners {
			e.Protocols = now
		}
	}
	return events
}

// event returns the event that a record is for the channel, with an empty kind if
// the record does not concern it.
func (f *Follower) event(r *blackbox.Record) Event {
	switch r.Kind {
	case blackbox.KindBegin, blackbox.KindIs:
		f.remember(r)
	case blackbox.KindEnd:
		return f.end(r)
	case blackbox.KindLinkUp:
		return Event{Kind: EventLinkUp}
	case blackbox.KindLinkDown:
		return Event{Kind: EventLinkDown}
	case blackbox.KindGap:
		if r.Session != 0 && !f.on[keyOf(r)] || r.Channel != "" && r.Channel != f.channel {
			return Event{}
		}
		return f.of(r, EventGap, Unlike)
	case blackbox.KindDropped:
		if r.Channel == f.redis || r.Channel == f.channel {
			e := f.of(r, EventDropped, Unlike)
			e.Channel = f.channel
			return e
		}
	default:
		return f.onChannel(r)
	}
	return Event{}
}

// remember remembers the client of a session.
func (f *Follower) remember(r *blackbox.Record) {
	if len(f.clients) >= maxClients {
		return
	}
	c := followed{user: r.User, session: r.ID.String()}
	if r.Protocol < uint8(protocol.NumProtocols) {
		c.protocol = protocol.ID(r.Protocol).String()
	}
	f.clients[keyOf(r)] = c
}

// enter remembers that a session is on the channel. Those whose end was
// overwritten before it was read remain.
func (f *Follower) enter(r *blackbox.Record) {
	if len(f.on) < maxClients {
		f.on[keyOf(r)] = true
	}
}

// end forgets a session.
func (f *Follower) end(r *blackbox.Record) Event {
	was := f.on[keyOf(r)]
	kind := EventLeave
	if r.Evicted {
		kind = EventEvicted
	}
	e := f.of(r, kind, Unlike)
	e.Channel = f.channel
	delete(f.on, keyOf(r))
	delete(f.clients, keyOf(r))
	if !was {
		return Event{}
	}
	return e
}

// onChannel returns the event of a record about the channel, or about one whose
// name is near.
func (f *Follower) onChannel(r *blackbox.Record) Event {
	how := Unlike
	if r.Channel != f.channel {
		if how = Compare(r.Channel, f.channel); how == Unlike {
			return Event{}
		}
	}
	switch r.Kind {
	case blackbox.KindMessage:
		kind := EventMessage
		if r.TooLarge {
			kind = EventTooLarge
		}
		e := f.of(r, kind, how)
		e.Listeners = r.Heard
		return e
	case blackbox.KindNudge:
		return f.of(r, EventNudge, how)
	case blackbox.KindRefused:
		e := f.of(r, EventRefused, how)
		e.Reason, e.Command = codeName(r.Code), r.Reason
		return e
	case blackbox.KindJoin, blackbox.KindAwait:
		if how == Unlike {
			if f.on[keyOf(r)] {
				return Event{} // it waited, and is reached now
			}
			f.enter(r)
		}
		return f.of(r, EventJoin, how)
	case blackbox.KindOn:
		if how == Unlike {
			f.enter(r)
		}
	case blackbox.KindLeave:
		if how == Unlike && f.on[keyOf(r)] {
			delete(f.on, keyOf(r))
			return f.of(r, EventLeave, how)
		}
	}
	return Event{}
}

// of returns an event with the fields that a record has.
func (f *Follower) of(r *blackbox.Record, kind EventKind, how Likeness) Event {
	c := f.clients[keyOf(r)]
	if r.User != "" {
		c.user = r.User
	}
	return Event{
		Kind: kind, Channel: r.Channel, How: how, Size: r.Size,
		User: c.user, Session: c.session, Protocol: c.protocol, Reason: r.Reason,
	}
}

// codeName returns the name of an error code.
func codeName(code uint32) string {
	for _, known := range protocol.Codes() {
		if uint32(known) == code {
			return known.String()
		}
	}
	return "other"
}
