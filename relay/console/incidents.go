package console

import (
	"strconv"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

// keptIncidents is how many incidents a console shows when it is opened.
const keptIncidents = 200

// maxClients is of how many sessions the names are known at a time.
const maxClients = 100_000

// An incident is a gap, an eviction, a refusal or another event that explains
// why a client did not receive a message.
type incident struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Channel string    `json:"channel,omitempty"`
	User    string    `json:"user,omitempty"`
	Session string    `json:"session,omitempty"`
	Code    string    `json:"code,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// The kinds of incidents, in addition to those of causes.
const (
	kindRefused  = "refused"
	kindTooLarge = "too_large"
	kindUp       = "up"
	kindDown     = "down"
)

// A follower reads the records of the black box while a console is open, and the
// older ones that the box still has. It finds the newest incidents and the
// busiest channels. Only one goroutine at a time may use it.
type follower struct {
	reader  *blackbox.Reader
	began   time.Time // messages before do not count
	busiest *busiest
	clients map[sessionKey]client
	limit   int // of clients

	kept  []incident // at most keptIncidents after each read
	total uint64     // how many there were, those that are not kept included
}

// A sessionKey is the number of a session since a start of the relay.
type sessionKey struct{ boot, session uint32 }

// A client is one whose session exists.
type client struct{ session, user string }

// newFollower returns a follower that has read nothing. box may be nil.
func newFollower(box *blackbox.Box, now time.Time) *follower {
	return &follower{
		reader: box.NewReader(time.Time{}), began: now, busiest: newBusiest(now), clients: make(map[sessionKey]client), limit: maxClients,
	}
}

// read reads the records since the last call.
func (f *follower) read() {
	for r, ok := f.reader.Next(); ok; r, ok = f.reader.Next() {
		if r.Kind == blackbox.KindMessage && !r.At.Before(f.began) {
			f.busiest.message(r.Channel, r.Size, r.Heard)
		}
		f.know(&r)
		if found, is := f.incident(&r); is {
			f.keep(found)
		}
		if r.Kind == blackbox.KindEnd {
			delete(f.clients, sessionKey{r.Boot, r.Session})
		}
	}
	f.trim()
}

// know remembers the session that a record introduces.
func (f *follower) know(r *blackbox.Record) {
	if r.Kind != blackbox.KindBegin && r.Kind != blackbox.KindIs {
		return
	}
	if len(f.clients) >= f.limit {
		clear(f.clients) // records of ends were overwritten before they were read
	}
	f.clients[sessionKey{r.Boot, r.Session}] = client{session: r.ID.String(), user: r.User}
}

// incident returns the incident that a record is about, if it is about one.
func (f *follower) incident(r *blackbox.Record) (incident, bool) {
	is := incident{At: r.At, Channel: r.Channel, User: r.User, Reason: r.Reason}
	if c, known := f.clients[sessionKey{r.Boot, r.Session}]; known {
		is.Session, is.User = c.session, c.user
	}
	switch r.Kind {
	case blackbox.KindGap:
		is.Kind = kindGap
	case blackbox.KindEnd:
		is.Kind, is.Code = kindEvicted, codeText(r.Code)
		return is, r.Evicted
	case blackbox.KindRefused:
		is.Kind, is.Code = kindRefused, codeText(r.Code)
		return is, r.Code != 0
	case blackbox.KindRejected:
		is.Kind = kindRejected
	case blackbox.KindDropped:
		is.Kind = kindDropped
	case blackbox.KindMessage:
		is.Kind = kindTooLarge
		return is, r.TooLarge
	case blackbox.KindLinkUp:
		is.Kind = kindUp
	case blackbox.KindLinkDown:
		is.Kind = kindDown
	default:
		return is, false
	}
	return is, true
}

// codeText returns a close code with its reason, or the name of an error code.
func codeText(code uint32) string {
	if code < uint32(protocol.NumResults) {
		return protocol.Code(code).String()
	}
	closed := protocol.CloseCode(code)
	text := strconv.Itoa(int(closed.Number()))
	if reason := closed.Reason(); reason != "" {
		text += " " + reason
	}
	return text
}

func (f *follower) keep(found incident) {
	f.kept = append(f.kept, found)
	f.total++
	if len(f.kept) >= 2*keptIncidents {
		f.trim()
	}
}

// trim forgets the oldest incidents.
func (f *follower) trim() {
	if surplus := len(f.kept) - keptIncidents; surplus > 0 {
		f.kept = append(f.kept[:0], f.kept[surplus:]...)
	}
}

// after returns the kept incidents after the n-th one.
func (f *follower) after(n uint64) []incident {
	if n >= f.total {
		return nil
	}
	return f.kept[max(0, len(f.kept)-int(min(f.total-n, keptIncidents))):]
}
