package relay_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sidecast/relay/stream"
)

// A vault is the streams of one Redis, and remembers everything that was ever in them. Several relays read it.
type vault struct {
	limit  int          // bytes of a payload
	old    bool         // it does not count what was added, as before Redis 7.0
	moment atomic.Int64 // how often anything was changed

	mu      sync.Mutex
	streams map[string]*shelf
	log     []*record
	said    map[string]*record   // by payload
	added   func(channel string) // tells the relays
}

// A shelf is one key.
type shelf struct {
	exists  bool
	line    int // how often it was made
	entries []*record
	last    stream.ID
	added   int64
	used    map[stream.ID]bool // ids that were given to other entries before
}

// A record is an entry that was added at some time.
type record struct {
	number  int // its place in the log, from 1
	channel string
	line    int
	entry   stream.Entry
	added   int64  // moment
	gone    int64  // moment; 0 while it is there
	fate    fate   // why it is gone
	by      string // id of the life that added it and does not want it back
}

type fate uint8

const (
	fateTrimmed fate = iota // to make room
	fateDeleted             // by its id
	fateReset               // with its key
	fateRolled              // a failover lost it
)

func newVault(random *rand.Rand) *vault {
	return &vault{
		limit: 3000 + random.IntN(2)*47_000, old: random.IntN(6) == 0, streams: make(map[string]*shelf),
		said: make(map[string]*record), added: func(string) {},
	}
}

// shelf returns a key. The vault is locked.
func (v *vault) shelf(channel string) *shelf {
	s := v.streams[channel]
	if s == nil {
		s = &shelf{used: make(map[stream.ID]bool)}
		v.streams[channel] = s
	}
	return s
}

// add adds an entry behind the last one, and trims.
func (v *vault) add(channel string, id stream.ID, fields []string, by string, maxlen int) stream.ID {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	if !s.exists {
		s.exists, s.last, s.added, s.entries = true, stream.ID{}, 0, nil
		s.line++
	}
	if id.Compare(s.last) <= 0 {
		id, _ = s.last.Next()
	}
	v.moment.Add(1)
	r := &record{number: len(v.log) + 1, channel: channel, line: s.line, added: v.moment.Load(), by: by}
	r.entry = stream.NewEntry(id, fields, v.limit)
	v.log = append(v.log, r)
	if !r.entry.TooLarge {
		v.said[string(r.entry.Payload)] = r
	}
	s.entries, s.last = append(s.entries, r), id
	s.added++
	if maxlen > 0 {
		v.take(s, max(len(s.entries)-maxlen, 0), fateTrimmed)
	}
	v.added(channel)
	return id
}

// take takes the first n entries off a key. The vault is locked.
func (v *vault) take(s *shelf, n int, why fate) {
	if n > 0 && n == len(s.entries) && s.used[s.last] {
		n-- // an id that was given twice, with neither entry there any more: nobody can tell
	}
	v.end(s.entries[:n], why)
	s.entries = s.entries[n:]
}

// end notes that records are gone. The vault is locked.
func (v *vault) end(list []*record, why fate) {
	v.moment.Add(1)
	for _, r := range list {
		r.gone, r.fate = v.moment.Load(), why
	}
}

// trim leaves n entries.
func (v *vault) trim(channel string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	v.take(s, max(len(s.entries)-n, 0), fateTrimmed)
}

// remove deletes the entry i places before the last.
func (v *vault) remove(channel string, i int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	i = len(s.entries) - 1 - i
	if i < 0 || s.used[s.entries[i].entry.ID] {
		return
	}
	v.end(s.entries[i:i+1], fateDeleted)
	s.entries = slices.Concat(s.entries[:i], s.entries[i+1:])
}

// reset deletes a key.
func (v *vault) reset(channel string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	v.end(s.entries, fateReset)
	s.exists, s.entries = false, nil
	v.use(channel)
}

// rollBack is a failover that loses the last entries of a key.
func (v *vault) rollBack(channel string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	if n = len(s.entries) - n; n < 1 {
		return
	}
	v.end(s.entries[n:], fateRolled)
	s.added -= int64(len(s.entries) - n)
	s.entries = slices.Clone(s.entries[:n])
	s.last = s.entries[n-1].entry.ID
	v.use(channel)
}

// use notes that ids up to now may be given again. The vault is locked.
func (v *vault) use(channel string) {
	for _, r := range v.log {
		if r.channel == channel {
			v.streams[channel].used[r.entry.ID] = true
		}
	}
}

// read is XRANGE, and what else is read in the same transaction.
func (v *vault) read(channel string, from stream.ID, limit int) (page stream.Page) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.shelf(channel).entries {
		if r.entry.ID.Compare(from) >= 0 && len(page.Entries) <= limit {
			page.Entries = append(page.Entries, r.entry)
		}
	}
	page.More = len(page.Entries) > limit
	if len(page.Entries) == 0 || page.Entries[0].ID != from {
		page.State = new(v.state(channel))
	}
	return page
}

// state is XINFO and the last entry. The vault is locked.
func (v *vault) state(channel string) stream.State {
	s := v.shelf(channel)
	if !s.exists {
		return stream.State{Added: -1}
	}
	state := stream.State{Exists: true, Last: s.last, Length: int64(len(s.entries)), Added: s.added}
	if v.old {
		state.Added = -1
	}
	if n := len(s.entries); n > 0 {
		state.Tail = s.entries[n-1].entry.Cursor
	}
	return state
}

// straight reports whether the ids of a key have only ever risen. Where they have not, nobody finds a lost nudge out by
// looking for higher ones.
func (v *vault) straight(channel string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	return s.line <= 1 && len(s.used) == 0
}

// behind reports whether a key has an entry with a higher id.
func (v *vault) behind(place stream.Place) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(place.Channel)
	return len(s.entries) > 0 && s.entries[len(s.entries)-1].entry.ID.Compare(place.ID) > 0
}

// id draws the id of the next entry: often of the same millisecond, sometimes far away.
func (v *vault) id(random *rand.Rand, channel string) stream.ID {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shelf(channel)
	last := s.last
	switch op := random.IntN(100); {
	case !s.exists && !last.IsZero() && op < 40:
		return last // the very one that the old stream ended with
	case !s.exists && op < 70:
		return stream.ID{Ms: 1 + uint64(random.IntN(30)), Seq: uint64(random.IntN(3))}
	case op < 50:
		return stream.ID{Ms: last.Ms, Seq: last.Seq + 1}
	case op < 97:
		return stream.ID{Ms: last.Ms + 1 + uint64(random.IntN(3)), Seq: uint64(random.IntN(2))}
	case op < 98:
		return stream.ID{Ms: last.Ms, Seq: last.Seq + 1<<40}
	}
	return stream.ID{Ms: last.Ms + 1<<30}
}

// fields draws what the next entry says.
func (v *vault) fields(random *rand.Rand) []string {
	v.mu.Lock()
	text := fmt.Sprintf("#%d:", len(v.log)+1)
	v.mu.Unlock()
	switch op := random.IntN(60); {
	case op < 2:
		return []string{stream.PayloadField, text + strings.Repeat("x", v.limit)}
	case op < 6:
		return []string{"event", text, "b\x01", "\xff"}
	case op < 10:
		return []string{stream.PayloadField, text + strings.Repeat("\x01", random.IntN(v.limit/8))}
	case op < 14:
		return []string{stream.PayloadField, text + "\xff\x00" + strings.Repeat("b", random.IntN(v.limit/2))}
	}
	return []string{stream.PayloadField, text + strings.Repeat("y", random.IntN(40))}
}
