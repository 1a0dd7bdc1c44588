package stream_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stream"
)

var histories = flag.Int("histories", 3000, "how many random histories of streams to judge")

// A returning client is never left in the dark about something that it missed, whatever was done to the stream meanwhile:
// entries were added and trimmed away, deleted one by one, the key was deleted and made again, or set back to an older state
// with the clock set back too, as by a failover.
func TestStreamHistories(t *testing.T) {
	server := redistest.Start(t, "--enable-debug-command", "no")
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2})
	t.Cleanup(func() { _ = client.Close() })
	var total tally
	for seed := range *histories {
		h := &streamHistory{
			t: t, seed: seed, random: rand.New(rand.NewPCG(uint64(seed), 7)), client: client, key: fmt.Sprint("s:", seed),
			streams: source.NewStreams(client, source.Config{}), clock: 1000,
		}
		h.limit = []int{0, 0, 20, 20, 20, 20, 3, 1}[h.random.IntN(8)]
		h.run()
		total.add(h.tally)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d resumes: %d recovered, %d gaps of which %d with nothing missed, %d of a deleted entry made twice",
		total.resumes, total.recovered, total.gaps, total.falseGaps, total.twice)
	if total.resumes < 3**histories || total.recovered < total.resumes/4 {
		t.Error("too little was judged")
	}
	if total.falseGaps > total.resumes/10 {
		t.Error("too many gaps with nothing missed")
	}
}

type tally struct{ resumes, recovered, gaps, falseGaps, twice int }

func (t *tally) add(other tally) {
	t.resumes += other.resumes
	t.recovered += other.recovered
	t.gaps += other.gaps
	t.falseGaps += other.falseGaps
	t.twice += other.twice
}

// A told is one entry that was ever added.
type told struct {
	id    stream.ID
	token string
}

// A lineage is what was done to a key since it was made.
type lineage struct {
	entries []told
	trimmed int             // the first so many are gone
	deleted map[string]bool // by token: on purpose, one by one
}

func (l *lineage) clone() *lineage {
	deleted := make(map[string]bool)
	for token := range l.deleted {
		deleted[token] = true
	}
	return &lineage{slices.Clone(l.entries), l.trimmed, deleted}
}

// alive returns the tokens that are in the stream behind the first n entries, and whether any were trimmed.
func (l *lineage) alive(n int) (tokens []string, trimmed bool) {
	for i, e := range l.entries[n:] {
		switch {
		case l.deleted[e.token]:
		case n+i < l.trimmed:
			trimmed = true
		default:
			tokens = append(tokens, e.token)
		}
	}
	return tokens, trimmed
}

type dump struct {
	text string
	line *lineage
}

type streamHistory struct {
	t       *testing.T
	seed    int
	random  *rand.Rand
	client  *redis.Client
	streams stream.Store
	key     string
	tally   tally

	limit  int // MAXLEN of each XADD; 0 for none
	clock  uint64
	made   int
	line   *lineage // nil while there is no key
	dumps  []dump
	places []*returning
}

// A returning client has a cursor, and the token of what it names: empty for a stream that was not there.
type returning struct {
	at    stream.Cursor
	token string
}

func (h *streamHistory) run() {
	for range 2 {
		h.places = append(h.places, h.subscribe())
		for range h.random.IntN(6) {
			h.step()
		}
	}
	for range 6 {
		for range h.random.IntN(9) {
			h.step()
		}
		h.resume(h.places[h.random.IntN(len(h.places))])
	}
}

func (h *streamHistory) do(args ...any) any {
	h.t.Helper()
	reply, err := h.client.Do(h.t.Context(), args...).Result()
	if err != nil {
		h.t.Fatalf("history %d: %v: %v", h.seed, args, err)
	}
	return reply
}

func (h *streamHistory) step() {
	switch op := h.random.IntN(100); {
	case op < 91 || h.line == nil:
		h.add()
	case op < 93 && len(h.line.entries) > 0:
		e := h.line.entries[h.random.IntN(len(h.line.entries))]
		if h.do("XDEL", h.key, e.id.String()) == int64(1) {
			h.line.deleted[e.token] = true
		}
	case op < 94:
		h.do("DEL", h.key)
		h.line = nil
	case op < 95:
		n := h.random.IntN(6)
		h.do("XTRIM", h.key, "MAXLEN", n)
		h.trim(n)
	case op < 98:
		text, _ := h.do("DUMP", h.key).(string)
		h.dumps = append(h.dumps, dump{text, h.line.clone()})
	case len(h.dumps) > 0:
		d := h.dumps[h.random.IntN(len(h.dumps))]
		h.do("RESTORE", h.key, 0, d.text, "REPLACE")
		h.line = d.line.clone()
		h.clock -= uint64(h.random.IntN(20))
	}
}

// add adds an entry as `*` would with the history's clock, with a payload that tells nothing.
func (h *streamHistory) add() {
	h.clock += uint64(h.random.IntN(3))
	if h.line == nil {
		h.line = &lineage{deleted: make(map[string]bool)}
	}
	id := stream.ID{Ms: h.clock}
	if n := len(h.line.entries); n > 0 && h.line.entries[n-1].id.Compare(id) >= 0 {
		id, _ = h.line.entries[n-1].id.Next()
	}
	h.made++
	e := told{id, fmt.Sprintf("%d", h.made)}
	args := []any{"XADD", h.key}
	if h.limit > 0 {
		args = append(args, "MAXLEN", h.limit)
	}
	h.do(append(args, id.String(), stream.PayloadField, e.token)...)
	h.line.entries = append(h.line.entries, e)
	if h.limit > 0 {
		h.trim(h.limit)
	}
}

// trim marks what Redis trims so that n entries are left.
func (h *streamHistory) trim(n int) {
	left := 0
	for i := len(h.line.entries) - 1; i >= h.line.trimmed; i-- {
		if h.line.deleted[h.line.entries[i].token] {
			continue
		}
		if left == n {
			h.line.trimmed = i + 1
			return
		}
		left++
	}
}

func (h *streamHistory) subscribe() *returning {
	state, err := h.streams.State(h.t.Context(), h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	r := new(returning)
	h.jump(r, &state)
	return r
}

// jump puts a client at the end of the stream.
func (h *streamHistory) jump(r *returning, state *stream.State) {
	r.at, r.token = state.Cursor(), ""
	if state.Exists != (h.line != nil) {
		h.t.Fatalf("history %d: the model is wrong: there is a stream: %v", h.seed, state.Exists)
	}
	for i := 0; state.Exists && i < len(h.line.entries); i++ {
		if e := h.line.entries[i]; e.id.Compare(r.at.ID) <= 0 {
			r.token = e.token
		}
	}
}

// resume lets a client come back, and judges what it is told.
func (h *streamHistory) resume(r *returning) {
	h.tally.resumes++
	old := h.random.IntN(3) == 0 // a server that counts nothing
	limit := 1 + h.random.IntN(4)
	var heard []string
	was := *r
	for {
		page, err := h.streams.Read(context.Background(), h.key, r.at.ID, limit)
		if err != nil {
			h.t.Fatal(err)
		}
		if old && page.State != nil {
			page.State.Added = -1
		}
		missed, _, ok := page.Follow(r.at, false)
		if !ok {
			h.tally.gaps++
			h.tally.falseGaps += h.excuse(was)
			*r = *h.subscribe()
			return
		}
		for _, e := range missed {
			heard = append(heard, string(e.Payload))
			r.at, r.token = e.Cursor, string(e.Payload)
		}
		if !page.More {
			break
		}
	}
	h.tally.recovered++
	h.judge(was, heard)
}

// find returns how many entries of the lineage a client has behind it.
func (h *streamHistory) find(was returning) (n int, ok bool) {
	if was.at.ID.IsZero() {
		return 0, true
	}
	if h.line == nil {
		return 0, false
	}
	i := slices.IndexFunc(h.line.entries, func(e told) bool { return e.token == was.token })
	return i + 1, i >= 0
}

// excuse returns 1 if a gap was told with nothing missed.
func (h *streamHistory) excuse(was returning) int {
	n, ok := h.find(was)
	if !ok {
		return 0
	}
	if h.line != nil {
		if _, trimmed := h.line.alive(n); trimmed {
			return 0
		}
	}
	return 1
}

func (h *streamHistory) judge(was returning, heard []string) {
	n, ok := h.find(was)
	var want []string
	trimmed := false
	if ok && h.line != nil {
		want, trimmed = h.line.alive(n)
	}
	if ok && !trimmed && slices.Equal(heard, want) {
		return
	}
	// An id that was made twice, because the clock was set back, and whose second entry was deleted: no rule sees that.
	if last := h.line; last != nil && len(last.entries) > 0 && len(heard) == 0 {
		if e := last.entries[len(last.entries)-1]; e.id == was.at.ID && e.token != was.token && last.deleted[e.token] {
			h.tally.twice++
			return
		}
	}
	h.t.Errorf("history %d: a client at %v (%q) heard %q and should have heard %q (known %v, trimmed %v)",
		h.seed, was.at.ID, was.token, heard, want, ok, trimmed)
}
