package trace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sidecast/relay/protocol"
)

// maxNear is how many names that are almost those of the channel are named.
const maxNear = 5

// A State is what one relay knows about a channel at the moment.
type State struct {
	Redis     bool           `json:"redis"`               // the relay is connected to Redis, and Redis has confirmed all patterns
	Address   string         `json:"redis_address"`       // of Redis, as the relay's settings name it
	Listeners int            `json:"listeners"`           // of this relay
	Protocols map[string]int `json:"protocols,omitempty"` // how many of them use which protocol
	Joining   int            `json:"joining,omitempty"`   // clients that have subscribed and still receive missed messages
	Clients   int            `json:"clients"`             // of this relay, on any channel

	// Last is when the last message came. It is zero if the relay does not remember one.
	Last time.Time `json:"last,omitzero"`
	// StreamProblem says why the stream of a durable channel could not be read.
	StreamProblem string `json:"stream_problem,omitempty"`

	Past *Past `json:"past,omitempty"` // nil if the relay keeps no records

	Near []NearName `json:"near,omitempty"`
	// Partial says that the relay has too many channels to have compared all.
	Partial bool `json:"partial,omitempty"`
}

// A NearName is a channel whose name is almost that of another one.
type NearName struct {
	Channel   string   `json:"channel"`
	How       Likeness `json:"how"`
	Listeners int      `json:"listeners"`
	Messages  bool     `json:"messages,omitempty"` // the relay remembers some
}

// A NearList collects the names that are nearest to one.
type NearList struct {
	Channel string
	names   []NearName
}

// Add compares a name, and keeps it if it is near.
func (l *NearList) Add(name string, listeners int, messages bool) {
	how := Compare(name, l.Channel)
	if how == Unlike {
		return
	}
	// The memory of a name can be that of the whole channel.
	l.names = append(l.names, NearName{strings.Clone(name), how, listeners, messages})
	if len(l.names) >= 16*maxNear {
		l.names = l.Names()
	}
}

// Names returns the nearest ones.
func (l *NearList) Names() []NearName {
	slices.SortFunc(l.names, func(a, b NearName) int {
		if d := rank(a.How) - rank(b.How); d != 0 {
			return d
		}
		if d := b.Listeners - a.Listeners; d != 0 {
			return d
		}
		return strings.Compare(a.Channel, b.Channel)
	})
	return l.names[:min(len(l.names), maxNear)]
}

// Add adds the state of a relay, and sentences about it.
func (e *Explanation) Add(s *Settings, state *State, now time.Time) {
	e.State = state
	if p := state.Past; p != nil && state.Last.IsZero() {
		state.Last = p.Last
	}
	if !state.Redis {
		e.Says = append(e.Says, Sentence{
			Text: "the relay has no connection to Redis at the moment, so no message reaches it", Wrong: true,
			Do: "run `sidecast check`, and see the relay's log",
		})
	}
	if e.isRelayed() {
		e.Says = append(e.Says, state.listening(len(e.Open) == 0), e.last(s, now))
	}
	if state.Past != nil {
		e.Says = append(e.Says, state.Past.refusals(now)...)
	}
	e.Says = append(e.Says, state.near(e.isRelayed())...)
}

// listening says how many clients listen.
func (s *State) listening(closed bool) Sentence {
	if s.Listeners == 0 {
		says := Sentence{Text: "nobody listens at this relay now", Wrong: true, Do: "open the page, or compare the name in it with this one; `sidecast tail` listens, too"}
		if s.Clients > 0 {
			says.Text += fmt.Sprintf(" (it has %s on other channels)", count(s.Clients, "client"))
		}
		if s.Joining > 0 {
			says = Sentence{Text: fmt.Sprintf("%s just subscribed, and nobody else listens at this relay now", count(s.Joining, "client"))}
		}
		if closed {
			says.Do = "see above: every client is refused"
		}
		return says
	}
	var parts []string
	for _, id := range protocol.IDs() {
		if n := s.Protocols[id.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, id))
		}
	}
	text := count(s.Listeners, "client")
	if s.Listeners == 1 {
		text += " listens"
	} else {
		text += " listen"
	}
	return Sentence{Text: fmt.Sprintf("%s at this relay now (%s)", text, strings.Join(parts, ", "))}
}

// last says when the last message came.
func (e *Explanation) last(s *Settings, now time.Time) Sentence {
	state := e.State
	switch {
	case state.StreamProblem != "":
		return Sentence{Text: "the stream cannot be read: " + state.StreamProblem, Wrong: true, Do: "run `sidecast check`"}
	case !state.Last.IsZero() && e.Relayed == RelayedDurable:
		return Sentence{Text: fmt.Sprintf("the newest entry of the stream was added %s", ago(state.Last, now))}
	case !state.Last.IsZero():
		return Sentence{Text: fmt.Sprintf("the last message from Redis arrived %s", ago(state.Last, now))}
	case e.Relayed == RelayedDurable:
		return Sentence{
			Text: fmt.Sprintf("the stream %q has no entry, so nothing was added, or it was deleted or has expired", e.Redis), Wrong: true,
			Do: fmt.Sprintf("add messages with XADD %s '*' data PAYLOAD, in the same database as the relay's", quoteArgument(e.Redis)),
		}
	case s.Remembers == 0 && state.Past == nil:
		return Sentence{Text: "the relay keeps no messages (SIDECAST_HISTORY_BYTES=0), so it does not know when the last one arrived"}
	}
	text := fmt.Sprintf("no message has arrived from Redis that the relay remembers: it keeps them for %v at most, and since its last connection to Redis",
		time.Duration(s.Remembers)*time.Second)
	if p := state.Past; p != nil && !p.Since.IsZero() {
		text = "no message has arrived from Redis since " + p.Since.UTC().Format("15:04:05 MST") + ", as far back as the relay's records go"
	}
	return Sentence{
		Text: text,
		Do:   fmt.Sprintf("publish while `sidecast trace %s` runs", quoteArgument(e.Channel)), Wrong: true,
	}
}

// near names the channels that could be meant.
func (s *State) near(relayed bool) (says []Sentence) {
	for _, n := range s.Near {
		who := "its messages come from Redis"
		switch {
		case n.Listeners > 0 && n.Messages:
			who = fmt.Sprintf("%s listening, and %s", count(n.Listeners, "client"), who)
		case n.Listeners > 0:
			who = fmt.Sprintf("%s listening", count(n.Listeners, "client"))
		}
		says = append(says, Sentence{
			Text: fmt.Sprintf("%q differs by %s: %s", n.Channel, n.How.by(), who),
			Do:   "if the same channel is meant, use the same name in the application and in the page", Wrong: s.Listeners == 0 || !relayed,
		})
	}
	if s.Partial {
		says = append(says, Sentence{Text: "the relay has so many channels that not all names were compared with this one"})
	}
	return says
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ago describes a time by its distance.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%v ago", d.Truncate(time.Second))
	case d < 24*time.Hour:
		return fmt.Sprintf("%s ago", strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s"))
	}
	return "at " + t.UTC().Format(time.RFC3339)
}

// quoteArgument quotes a name for a shell if that needs it.
func quoteArgument(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(":._-/@%+,", r))
	}) && name != "" && name[0] != '-' {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
