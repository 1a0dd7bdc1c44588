package roster

import (
	"sync"
	"sync/atomic"

	"sidecast/relay/protocol"
)

const (
	// MaxMembers is how many members a list has that a client receives. On a
	// channel with more members, clients receive only their number.
	MaxMembers = 1000
	// MaxBytes bounds the list in the same way.
	MaxBytes = 256 << 10
)

// A Member is a user that is present on a channel.
type Member struct {
	User string
	Info []byte // JSON text; empty if there is none; must not be changed
}

// size is about how many bytes the member has in a list.
func (m Member) size() int { return len(`{"user":"","info":},`) + len(m.User) + len(m.Info) }

// A Kind is a kind of [Change].
type Kind byte

// The kinds of changes, as they appear in Redis.
const (
	Joined  Kind = '+'
	Left    Kind = '-'
	Renewed Kind = '=' // the member has another info
)

// A Change is a change of the members of one channel.
type Change struct {
	Version int64 // changes with higher numbers are later
	Kind    Kind
	Member
	Count int // of the members after the change
}

// An Update is news for the clients that watch a channel.
type Update struct {
	Seq uint64 // clients whose Snapshot has it, or a higher one, know it
	// Changes are arrivals and departures in order. Their Count is the number
	// of members after each. If there are none, the other fields replace what
	// the clients know.
	Changes []Change
	Members []byte // a JSON list; nil if there are too many members
	Count   int
	Part    int // of Parts that receives it; 0: everyone
}

// Parts is into how many parts the clients that watch a channel are divided,
// numbered from 1. A channel with many members usually has as many clients: to
// notify them part by part does not delay the messages of others.
const Parts = 20

// Large reports whether it only says how many members there are, because there
// are too many for a list.
func (u Update) Large() bool { return len(u.Changes) == 0 && u.Members == nil }

// A Snapshot is for a client that begins to watch a channel.
type Snapshot struct {
	Seq     uint64
	Members []byte // a JSON list of at most MaxMembers members; nil if they are not known yet
	Count   int
}

// A Sequence numbers the updates of several rosters. Those that have the same
// channel one after the other must share it: an update of the first may still be
// on its way to clients that have a snapshot of the second.
type Sequence struct{ last atomic.Uint64 }

// A Roster holds the members of one channel. Use [New]. Its methods may be
// called concurrently.
type Roster struct {
	limit   int
	numbers *Sequence

	// Guarded by mu.
	mu      sync.Mutex
	seq     uint64 // of the last update
	known   bool   // it was loaded
	stale   bool   // changes may have been missed since
	large   bool   // there are too many members for a list: this one has only some
	version int64  // of the newest change in it
	list    []Member
	index   map[string]int // in list, by user
	size    int            // of the encoded list
	count   int            // of all members; used only if large
	told    int            // the count in the last update; likewise
	encoded []byte         // the JSON list; nil if it must be encoded again
}

// New returns a roster that is not loaded. limit is how many members a list has
// at most; 0: [MaxMembers]. numbers may be nil for a roster that has no
// predecessor.
func New(limit int, numbers *Sequence) *Roster {
	if limit <= 0 {
		limit = MaxMembers
	}
	if numbers == nil {
		numbers = new(Sequence)
	}
	return &Roster{limit: limit, numbers: numbers, seq: numbers.last.Load(), index: make(map[string]int)}
}

// Known reports whether the roster was ever loaded.
func (r *Roster) Known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// Large reports whether clients receive only the number of members.
func (r *Roster) Large() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.large
}

// Shrunk reports whether the roster must be loaded to become complete: there
// were too many members before.
func (r *Roster) Shrunk() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known && r.large && !r.stale && r.count <= r.limit
}

// Lose records that changes may have been missed until the roster is loaded. The
// changes that still arrive are applied in any case, whatever their versions
// are.
func (r *Roster) Lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale, r.version = true, 0
}

// Load replaces the members by those at a version: members are some of the
// count that there are.
func (r *Roster) Load(version int64, count int, members []Member) Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.stale, r.version = true, false, version
	clear(r.index)
	clear(r.list)
	r.list, r.size, r.encoded = r.list[:0], 0, nil
	for _, m := range members {
		r.add(m)
	}
	r.count = count
	r.large = r.tooMany() || count > len(members)
	r.trim()
	return r.replacement()
}

// Apply applies changes and returns what clients have to be sent, or false if
// that is nothing.
func (r *Roster) Apply(changes []Change) (Update, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		return Update{}, false
	}
	var news []Change
	grown := false
	for _, c := range changes {
		switch {
		case c.Version <= r.version && !r.stale:
			continue
		case r.large:
			r.shrink(c)
		default:
			if c, isNew := r.apply(c); isNew {
				news = append(news, c)
			}
			if r.tooMany() {
				grown, r.large, r.count = true, true, c.Count
				r.trim()
			}
		}
		r.version = c.Version
	}
	switch {
	case grown:
		return r.replacement(), true
	case len(news) == 0:
		return Update{}, false
	}
	r.seq = r.numbers.last.Add(1)
	return Update{Seq: r.seq, Changes: news}, true
}

// apply applies a change to a complete list. It returns the change with the
// number of members that this roster has, and whether clients have to know it.
func (r *Roster) apply(c Change) (Change, bool) {
	i, present := r.index[c.User]
	switch {
	case c.Kind == Left && present:
		r.remove(i)
	case c.Kind == Left, c.Kind == Renewed && !present:
		return c, false
	case present:
		r.size += len(c.Info) - len(r.list[i].Info)
		r.list[i], r.encoded = c.Member, nil
		return c, false
	default:
		r.add(c.Member)
	}
	c.Count = len(r.list)
	return c, true
}

// shrink applies a change to a list of only some members.
func (r *Roster) shrink(c Change) {
	r.count = c.Count
	if i, present := r.index[c.User]; present && c.Kind == Left {
		r.remove(i)
	}
}

// tooMany reports whether clients do not receive all members.
func (r *Roster) tooMany() bool { return len(r.list) > r.limit || r.size > MaxBytes }

// trim makes the list of too many members small enough, with room for the
// client that receives it.
func (r *Roster) trim() {
	for r.large && (len(r.list) >= r.limit || r.size > MaxBytes) {
		r.remove(len(r.list) - 1)
	}
}

func (r *Roster) add(m Member) {
	r.index[m.User] = len(r.list)
	r.list = append(r.list, m)
	r.size += m.size()
	r.encoded = nil
}

// remove moves the last member into the place of another one.
func (r *Roster) remove(i int) {
	m, last := r.list[i], len(r.list)-1
	r.list[i] = r.list[last]
	r.index[r.list[i].User] = i
	r.list[last] = Member{}
	r.list = r.list[:last]
	delete(r.index, m.User)
	r.size -= m.size()
	r.encoded = nil
}

// Count returns the new number of members if there are many, or false if clients
// know it, or if it is not yet right again after an outage.
func (r *Roster) Count() (Update, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known || !r.large || r.stale || r.told == r.count {
		return Update{}, false
	}
	return r.replacement(), true
}

// replacement returns an update that replaces what clients know.
func (r *Roster) replacement() Update {
	r.seq = r.numbers.last.Add(1)
	if r.large {
		r.told = r.count
		return Update{Seq: r.seq, Count: r.count}
	}
	return Update{Seq: r.seq, Members: r.encode(), Count: len(r.list)}
}

// Snapshot returns the members for a client that is a member itself: it is in
// the list and in the number even if its arrival is not known yet.
func (r *Roster) Snapshot(self Member) Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Snapshot{Seq: r.seq}
	if !r.known {
		return s
	}
	s.Members, s.Count = r.encode(), len(r.list)
	if _, present := r.index[self.User]; !present {
		s.Members, s.Count = r.with(self), s.Count+1
	}
	if r.large {
		s.Count = max(r.count, 1)
	}
	return s
}

// with returns the JSON list with one more member, which may take the place of
// another one.
func (r *Roster) with(m Member) []byte {
	list := r.encode()
	if len(r.list) >= r.limit {
		list = appendMembers(nil, r.list[:r.limit-1])
	}
	b := append(make([]byte, 0, len(list)+m.size()), list[:len(list)-1]...)
	if len(b) > 1 {
		b = append(b, ',')
	}
	return append(protocol.AppendMember(b, m.User, m.Info), ']')
}

// encode returns the JSON list, which must not be changed.
func (r *Roster) encode() []byte {
	if r.encoded == nil {
		r.encoded = appendMembers(make([]byte, 0, r.size+2), r.list)
	}
	return r.encoded
}

// appendMembers appends a JSON list of members.
func appendMembers(b []byte, list []Member) []byte {
	b = append(b, '[')
	for i, m := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = protocol.AppendMember(b, m.User, m.Info)
	}
	return append(b, ']')
}
