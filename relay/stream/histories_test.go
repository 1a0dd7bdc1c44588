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

var histories = flag.Int("histories", 3000, "number of random stream histories to check")

// TestStreamHistories applies random changes to streams in Redis: entries are
// added, trimmed and deleted one by one, the key is deleted and created again,
// or restored from an older state with an older clock, as by a failover. A
// client that resumes must receive everything that it missed, or a gap.
func TestStreamHistories(t *testing.T) {
	server := redistest.Start(t, "--enable-debug-command", "no")
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2})
	t.Cleanup(func() { _ = client.Close() })
	var sum totals
	for seed := range *histories {
		h := &randomHistory{
			t: t, seed: seed, random: rand.New(rand.NewPCG(uint64(seed), 7)), client: client, key: fmt.Sprint("s:", seed),
			streams: source.NewStreams(client, source.Config{}), clock: 1000,
		}
		h.limit = []int{0, 0, 20, 20, 20, 20, 3, 1}[h.random.IntN(8)]
		h.run()
		sum.add(h.totals)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d resumes: %d recovered, %d gaps of which %d with nothing missed, %d of a deleted entry whose id was used twice",
		sum.resumes, sum.recovered, sum.gaps, sum.falseGaps, sum.twice)
	if sum.resumes < 3**histories || sum.recovered < sum.resumes/4 {
		t.Error("too few resumes were checked")
	}
	if sum.falseGaps > sum.resumes/10 {
		t.Error("too many gaps although nothing was missed")
	}
}

type totals struct{ resumes, recovered, gaps, falseGaps, twice int }

func (t *totals) add(other totals) {
	t.resumes += other.resumes
	t.recovered += other.recovered
	t.gaps += other.gaps
	t.falseGaps += other.falseGaps
	t.twice += other.twice
}

// An addedEntry is one entry that was added at some time.
type addedEntry struct {
	id    stream.ID
	token string
}

// A keyContents holds all entries that were added to a key since it was
// created.
type keyContents struct {
	entries []addedEntry
	trimmed int             // number of entries that were trimmed from the front
	deleted map[string]bool // entries deleted one by one, by token
}

func (k *keyContents) clone() *keyContents {
	deleted := make(map[string]bool)
	for token := range k.deleted {
		deleted[token] = true
	}
	return &keyContents{slices.Clone(k.entries), k.trimmed, deleted}
}

// remaining returns the tokens of the entries that still exist after the first
// n, and whether any of these were trimmed.
func (k *keyContents) remaining(n int) (tokens []string, trimmed bool) {
	for i, e := range k.entries[n:] {
		switch {
		case k.deleted[e.token]:
		case n+i < k.trimmed:
			trimmed = true
		default:
			tokens = append(tokens, e.token)
		}
	}
	return tokens, trimmed
}

type savedKey struct {
	text     string
	contents *keyContents
}

type randomHistory struct {
	t       *testing.T
	seed    int
	random  *rand.Rand
	client  *redis.Client
	streams stream.Store
	key     string
	totals  totals

	limit     int // MAXLEN of each XADD; 0 for no MAXLEN
	clock     uint64
	added     int
	contents  *keyContents // nil while the key does not exist
	savedKeys []savedKey
	clients   []*resumingClient
}

// A resumingClient has a cursor and the token of its entry, which is empty if
// the stream did not exist.
type resumingClient struct {
	at    stream.Cursor
	token string
}

func (h *randomHistory) run() {
	for range 2 {
		h.clients = append(h.clients, h.subscribe())
		for range h.random.IntN(6) {
			h.step()
		}
	}
	for range 6 {
		for range h.random.IntN(9) {
			h.step()
		}
		r := h.clients[h.random.IntN(len(h.clients))]
		if h.random.IntN(4) == 0 {
			h.resumeDuringChange(r)
			continue
		}
		h.resume(r)
	}
}

func (h *randomHistory) do(args ...any) any {
	h.t.Helper()
	reply, err := h.client.Do(h.t.Context(), args...).Result()
	if err != nil {
		h.t.Fatalf("history %d: %v: %v", h.seed, args, err)
	}
	return reply
}

func (h *randomHistory) step() {
	switch op := h.random.IntN(100); {
	case op < 91 || h.contents == nil:
		h.add()
	case op < 93 && len(h.contents.entries) > 0:
		e := h.contents.entries[h.random.IntN(len(h.contents.entries))]
		if h.do("XDEL", h.key, e.id.String()) == int64(1) {
			h.contents.deleted[e.token] = true
		}
	case op < 94:
		h.do("DEL", h.key)
		h.contents = nil
	case op < 95:
		n := h.random.IntN(6)
		h.do("XTRIM", h.key, "MAXLEN", n)
		h.trim(n)
	case op < 98:
		text, _ := h.do("DUMP", h.key).(string)
		h.savedKeys = append(h.savedKeys, savedKey{text, h.contents.clone()})
	case len(h.savedKeys) > 0:
		d := h.savedKeys[h.random.IntN(len(h.savedKeys))]
		h.do("RESTORE", h.key, 0, d.text, "REPLACE")
		h.contents = d.contents.clone()
		h.clock -= uint64(h.random.IntN(20))
	}
}

// add adds an entry with the id that `*` would give at the history's clock. Its
// payload is a unique token.
func (h *randomHistory) add() {
	h.clock += uint64(h.random.IntN(3))
	if h.contents == nil {
		h.contents = &keyContents{deleted: make(map[string]bool)}
	}
	id := stream.ID{Ms: h.clock}
	if n := len(h.contents.entries); n > 0 && h.contents.entries[n-1].id.Compare(id) >= 0 {
		id, _ = h.contents.entries[n-1].id.Next()
	}
	h.added++
	e := addedEntry{id, fmt.Sprintf("%d", h.added)}
	args := []any{"XADD", h.key}
	if h.limit > 0 {
		args = append(args, "MAXLEN", h.limit)
	}
	h.do(append(args, id.String(), stream.PayloadField, e.token)...)
	h.contents.entries = append(h.contents.entries, e)
	if h.limit > 0 {
		h.trim(h.limit)
	}
}

// trim marks the entries that Redis trims so that n are left.
func (h *randomHistory) trim(n int) {
	left := 0
	for i := len(h.contents.entries) - 1; i >= h.contents.trimmed; i-- {
		if h.contents.deleted[h.contents.entries[i].token] {
			continue
		}
		if left == n {
			h.contents.trimmed = i + 1
			return
		}
		left++
	}
}

func (h *randomHistory) subscribe() *resumingClient {
	state, err := h.streams.State(h.t.Context(), h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	if state.Exists != (h.contents != nil) {
		h.t.Fatalf("history %d: the model is wrong: the stream exists: %v", h.seed, state.Exists)
	}
	r := new(resumingClient)
	h.moveTo(r, state.Cursor())
	return r
}

// moveTo moves a client to a place in the stream.
func (h *randomHistory) moveTo(r *resumingClient, at stream.Cursor) {
	r.at, r.token = at, ""
	for i := 0; h.contents != nil && i < len(h.contents.entries); i++ {
		if e := h.contents.entries[i]; e.id.Compare(r.at.ID) <= 0 {
			r.token = e.token
		}
	}
}

// resume resumes a client and checks the entries that it receives.
func (h *randomHistory) resume(r *resumingClient) {
	h.totals.resumes++
	limit := 1 + h.random.IntN(4)
	var got []string
	gaps, before := 0, *r
	for more := true; more; {
		page, err := h.streams.Read(context.Background(), h.key, r.at.ID, limit)
		if err != nil {
			h.t.Fatal(err)
		}
		entries, gap, end, again := page.Follow(r.at, nil)
		if again {
			h.t.Fatalf("history %d: the stream has changed while it was read", h.seed)
		}
		if gap != "" {
			gaps++
			if len(entries) == 0 {
				h.moveTo(r, end)
			}
		}
		for _, e := range entries {
			got = append(got, string(e.Payload))
			r.at, r.token = e.Cursor, string(e.Payload)
		}
		more = page.More
	}
	switch gaps {
	case 0:
		h.totals.recovered++
		h.check(before, got)
	case 1:
		h.totals.gaps++
		h.totals.falseGaps += h.falseGap(before)
		h.checkRest(before, got)
	default:
		h.t.Errorf("history %d: %d gaps", h.seed, gaps)
	}
}

// checkRest compares what a client received after a gap with the entries that
// the stream still has with higher ids.
func (h *randomHistory) checkRest(before resumingClient, got []string) {
	var want []string
	if h.contents != nil {
		above := slices.IndexFunc(h.contents.entries, func(e addedEntry) bool {
			return e.id.Compare(before.at.ID) > 0 || e.id == before.at.ID && before.at.Check != 0 && e.token != before.token
		})
		if above >= 0 {
			want, _ = h.contents.remaining(above)
		}
	}
	if !slices.Equal(got, want) {
		h.t.Errorf("history %d: after a gap, a client at %v received %q, want %q", h.seed, before.at.ID, got, want)
	}
}

// resumeDuringChange resumes a client with a page whose state is read after the
// stream has changed. The client must receive what followed its entry before or
// after the change, or a gap.
func (h *randomHistory) resumeDuringChange(r *resumingClient) {
	h.totals.resumes++
	before, old := *r, h.contents
	if old != nil {
		old = old.clone()
	}
	page, err := h.streams.Read(context.Background(), h.key, r.at.ID, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for range 1 + h.random.IntN(3) {
		h.step()
	}
	if page.State != nil {
		state, err := h.streams.State(context.Background(), h.key)
		if err != nil {
			h.t.Fatal(err)
		}
		page.State = &state
	}
	entries, gap, end, again := page.Follow(r.at, nil)
	if again {
		h.totals.resumes--
		h.resume(r)
		return
	}
	var got []string
	for _, e := range entries {
		got = append(got, string(e.Payload))
		r.at, r.token = e.Cursor, string(e.Payload)
	}
	if gap != "" {
		h.totals.gaps++
		if len(entries) == 0 {
			h.moveTo(r, end)
		}
		return
	}
	h.totals.recovered++
	if !old.allows(before, got) {
		h.check(before, got)
	}
}

// received returns how many of the entries of the key the client has. ok is
// false if its entry is not one of them.
func (k *keyContents) received(before resumingClient) (n int, ok bool) {
	if before.at.ID.IsZero() {
		return 0, true
	}
	if k == nil {
		return 0, false
	}
	i := slices.IndexFunc(k.entries, func(e addedEntry) bool { return e.token == before.token })
	return i + 1, i >= 0
}

// missed returns the tokens of the entries that a client has missed. ok is
// false if entries may be missing among them.
func (k *keyContents) missed(before resumingClient) (tokens []string, ok bool) {
	n, ok := k.received(before)
	if !ok || k == nil {
		return nil, ok
	}
	tokens, trimmed := k.remaining(n)
	return tokens, !trimmed
}

// allows reports whether a client may receive exactly these entries without a
// gap.
func (k *keyContents) allows(before resumingClient, got []string) bool {
	want, ok := k.missed(before)
	return ok && slices.Equal(got, want)
}

// falseGap returns 1 if the client got a gap although it missed nothing. If
// there was no stream, nothing in Redis proves that.
func (h *randomHistory) falseGap(before resumingClient) int {
	if _, ok := h.contents.missed(before); ok && !before.at.ID.IsZero() {
		return 1
	}
	return 0
}

// check compares the received payloads with the entries that the client missed.
func (h *randomHistory) check(before resumingClient, got []string) {
	if h.contents.allows(before, got) {
		return
	}
	// The id was used twice, because the clock was set back, and the second
	// entry was deleted or trimmed. No rule can detect that.
	if last := h.contents; last != nil && len(last.entries) > 0 && len(got) == 0 {
		if e := last.entries[len(last.entries)-1]; e.id == before.at.ID && e.token != before.token && (last.deleted[e.token] || last.trimmed == len(last.entries)) {
			h.totals.twice++
			return
		}
	}
	want, ok := h.contents.missed(before)
	h.t.Errorf("history %d: a client at %v (%q) received %q, want %q (known %v)",
		h.seed, before.at.ID, before.token, got, want, ok)
}
