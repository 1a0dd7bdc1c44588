package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sidecast/relay/stream"
)

// A store has the streams of one Redis, and remembers everything that was ever
// in them. Several relays read it.
type store struct {
	limit  int          // bytes of a payload
	old    bool         // it does not count the entries that were added, as before Redis 7.0
	moment atomic.Int64 // how often anything was changed

	mu        sync.Mutex
	keys      map[string]*streamKey
	log       []*record
	byPayload map[string]*record
	notify    func(channel string) // called for each new entry, with the store locked
}

// A streamKey is one key.
type streamKey struct {
	exists     bool
	generation int // how often it was created
	entries    []*record
	last       stream.ID
	added      int64
	reused     map[stream.ID]bool // ids that other entries had before
}

// A record is an entry that was added at some time.
type record struct {
	number     int // in the log, from 1
	channel    string
	generation int
	entry      stream.Entry
	added      int64   // moment
	removed    int64   // moment; 0 while it exists
	removal    removal // why it was removed
	by         string  // id of the client that added it and does not want it back
}

// removedBy reports whether the entry was removed at or before a moment.
func (r *record) removedBy(moment int64) bool { return r.removed > 0 && r.removed <= moment }

// wasDeleted reports whether the entry was removed while its key remained.
func (r *record) wasDeleted(moment int64) bool {
	return r.removedBy(moment) && (r.removal == removalTrim || r.removal == removalDelete)
}

type removal uint8

const (
	removalTrim     removal = iota
	removalDelete           // by its id
	removalReset            // with its key
	removalFailover         // a failover lost it
)

func newStore(random *rand.Rand) *store {
	return &store{
		limit: 3000 + random.IntN(2)*47_000, old: random.IntN(6) == 0, keys: make(map[string]*streamKey),
		byPayload: make(map[string]*record), notify: func(string) {},
	}
}

// newPlainStore returns a store without random properties.
func newPlainStore() *store {
	s := newStore(rand.New(rand.NewPCG(1, 1)))
	s.limit, s.old = 1<<20, false
	return s
}

// fill adds entries n to m, of about size bytes each.
func (s *store) fill(channel string, n, m, size int) {
	for ; n <= m; n++ {
		s.add(channel, stream.ID{}, []string{stream.PayloadField, string(numbered(n, size))}, "", 0)
	}
}

// key returns a key. The store is locked.
func (s *store) key(channel string) *streamKey {
	k := s.keys[channel]
	if k == nil {
		k = &streamKey{reused: make(map[stream.ID]bool)}
		s.keys[channel] = k
	}
	return k
}

// add appends an entry, and trims the stream to maxlen unless that is 0.
func (s *store) add(channel string, id stream.ID, fields []string, by string, maxlen int) stream.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	if !k.exists {
		k.exists, k.last, k.added, k.entries = true, stream.ID{}, 0, nil
		k.generation++
	}
	if id.Compare(k.last) <= 0 {
		id, _ = k.last.Next()
	}
	s.moment.Add(1)
	r := &record{number: len(s.log) + 1, channel: channel, generation: k.generation, added: s.moment.Load(), by: by}
	r.entry = stream.NewEntry(id, fields, s.limit)
	s.log = append(s.log, r)
	if !r.entry.TooLarge {
		s.byPayload[string(r.entry.Payload)] = r
	}
	k.entries, k.last = append(k.entries, r), id
	k.added++
	if maxlen > 0 {
		k.removeFirst(s, max(len(k.entries)-maxlen, 0), removalTrim)
	}
	s.notify(channel)
	return id
}

// removeFirst removes the first n entries of a key. The store is locked.
func (k *streamKey) removeFirst(s *store, n int, why removal) {
	if n > 0 && n == len(k.entries) && k.reused[k.last] {
		n-- // if two entries had the same id and neither exists, no reader can distinguish them
	}
	s.drop(k.entries[:n], why)
	k.entries = k.entries[n:]
}

// drop records that entries were removed. The store is locked.
func (s *store) drop(list []*record, why removal) {
	s.moment.Add(1)
	for _, r := range list {
		r.removed, r.removal = s.moment.Load(), why
	}
}

// trim keeps the last n entries.
func (s *store) trim(channel string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	k.removeFirst(s, max(len(k.entries)-n, 0), removalTrim)
}

// remove deletes the i-th entry before the last.
func (s *store) remove(channel string, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	i = len(k.entries) - 1 - i
	if i < 0 || k.reused[k.entries[i].entry.ID] {
		return
	}
	s.drop(k.entries[i:i+1], removalDelete)
	k.entries = slices.Concat(k.entries[:i], k.entries[i+1:])
}

// reset deletes a key.
func (s *store) reset(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	s.drop(k.entries, removalReset)
	k.exists, k.entries = false, nil
	s.reuseIDs(channel)
}

// rollBack is a failover that loses the last entries of a key.
func (s *store) rollBack(channel string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	if n = len(k.entries) - n; n < 1 {
		return
	}
	s.drop(k.entries[n:], removalFailover)
	k.added -= int64(len(k.entries) - n)
	k.entries = slices.Clone(k.entries[:n])
	k.last = k.entries[n-1].entry.ID
	s.reuseIDs(channel)
}

// reuseIDs records that new entries may get the ids of earlier ones. The store
// is locked.
func (s *store) reuseIDs(channel string) {
	for _, r := range s.log {
		if r.channel == channel {
			s.keys[channel].reused[r.entry.ID] = true
		}
	}
}

// read is XRANGE.
func (s *store) read(channel string, from stream.ID, limit int) (page stream.Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.key(channel).entries {
		if r.entry.ID.Compare(from) >= 0 && len(page.Entries) <= limit {
			e := r.entry
			e.Payload = bytes.Clone(e.Payload) // each reply of Redis has memory of its own
			page.Entries = append(page.Entries, e)
		}
	}
	page.More = len(page.Entries) > limit
	return page
}

// state is XINFO.
func (s *store) state(channel string) stream.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	if !k.exists {
		return stream.State{Added: -1}
	}
	state := stream.State{Exists: true, Last: k.last, Length: int64(len(k.entries)), Added: k.added}
	if s.old {
		state.Added = -1
	}
	if n := len(k.entries); n > 0 {
		state.First, state.Tail = k.entries[0].entry.Cursor, k.entries[n-1].entry.Cursor
	}
	return state
}

// monotonic reports whether the ids of a key have only ever risen. If they have
// not, a relay does not notice a lost nudge by looking for higher ids.
func (s *store) monotonic(channel string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	return k.generation <= 1 && len(k.reused) == 0
}

// hasLater reports whether a key has an entry with a higher id.
func (s *store) hasLater(place stream.Place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(place.Channel)
	return len(k.entries) > 0 && k.entries[len(k.entries)-1].entry.ID.Compare(place.ID) > 0
}

// randomID returns the id of the next entry: often of the same millisecond,
// sometimes far away.
func (s *store) randomID(random *rand.Rand, channel string) stream.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(channel)
	last := k.last
	switch op := random.IntN(100); {
	case !k.exists && !last.IsZero() && op < 40:
		return last // the id with which the old stream ended
	case !k.exists && op < 70:
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

// randomFields returns the fields of the next entry.
func (s *store) randomFields(random *rand.Rand) []string {
	s.mu.Lock()
	text := fmt.Sprintf("s%d:", len(s.log)+1)
	s.mu.Unlock()
	switch op := random.IntN(60); {
	case op < 2:
		return []string{stream.PayloadField, text + strings.Repeat("x", s.limit)}
	case op < 6:
		return []string{"event", text, "b\x01", "\xff"}
	case op < 10:
		return []string{stream.PayloadField, text + strings.Repeat("\x01", random.IntN(s.limit/8))}
	case op < 14:
		return []string{stream.PayloadField, text + "\xff\x00" + strings.Repeat("b", random.IntN(s.limit/2))}
	}
	return []string{stream.PayloadField, text + strings.Repeat("y", random.IntN(40))}
}

// A storeConn is one relay's connection to a store. It implements
// [stream.Store].
type storeConn struct {
	*store
	// pass delays or fails a request (op is read, newest, state, later or
	// append) or a response (op is response). nil passes all.
	pass func(ctx context.Context, op, channel string) error
	// between runs in a read after the entries were read and before the state
	// is. nil does nothing.
	between func(channel string)
	newID   func(channel string) stream.ID // of what clients publish; nil for the next one
	maxlen  int
}

// do sends a request, executes it, and receives the response.
func (c *storeConn) do(ctx context.Context, op, channel string, execute func()) error {
	if c.pass == nil {
		execute()
		return nil
	}
	if err := c.pass(ctx, op, channel); err != nil {
		return err
	}
	execute()
	return c.pass(ctx, "response", channel)
}

// Read implements [stream.Store].
func (c *storeConn) Read(ctx context.Context, channel string, from stream.ID, limit int) (page stream.Page, err error) {
	err = c.do(ctx, "read", channel, func() {
		page = c.read(channel, from, limit)
		if page.BeginsAt(from) {
			return
		}
		if c.between != nil {
			c.between(channel)
		}
		page.State = new(c.state(channel))
	})
	return page, err
}

// Newest implements [stream.Store].
func (c *storeConn) Newest(ctx context.Context, channel string, n int) (list []stream.Entry, err error) {
	err = c.do(ctx, "newest", channel, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		entries := c.key(channel).entries
		for _, r := range entries[max(len(entries)-n, 0):] {
			e := r.entry
			e.Payload = bytes.Clone(e.Payload)
			list = append(list, e)
		}
	})
	return list, err
}

// State implements [stream.Store].
func (c *storeConn) State(ctx context.Context, channel string) (state stream.State, err error) {
	err = c.do(ctx, "state", channel, func() { state = c.state(channel) })
	return state, err
}

// Behind implements [stream.Store].
func (c *storeConn) Behind(ctx context.Context, places []stream.Place) (list []bool, err error) {
	err = c.do(ctx, "later", "", func() {
		for _, place := range places {
			list = append(list, c.hasLater(place))
		}
	})
	return list, err
}

// Append implements [stream.Store].
func (c *storeConn) Append(ctx context.Context, channel string, payload []byte) (id stream.ID, err error) {
	err = c.do(ctx, "append", channel, func() {
		if c.newID != nil {
			id = c.newID(channel)
		}
		id = c.add(channel, id, []string{stream.PayloadField, string(payload)}, publisher(payload), c.maxlen)
	})
	return id, err
}

// publisher returns the id of the client that does not want its own entry back:
// the payload names it.
func publisher(payload []byte) string {
	_, by, _ := strings.Cut(string(payload), " by ")
	return by
}
