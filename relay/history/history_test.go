package history

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestHistoryShrinks checks that pages and channels are released when their
// messages expire.
func TestHistoryShrinks(t *testing.T) {
	h := New[struct{}](16<<20, time.Minute)
	for i := range 100_000 {
		h.Seq++
		h.Add(h.Channel(fmt.Sprint("channel:", i%100)), make([]byte, 100), false)
	}
	h.clock = int64(2 * time.Minute)
	h.expire()
	h.Mark(MarkerID{1})
	pages := 0
	for _, page := range h.ring.pages {
		if page != nil {
			pages++
		}
	}
	if !h.ring.empty() || pages > 1 || len(h.table.first) != 0 || h.Bytes() > 1000 {
		t.Errorf("after everything has expired: %d pages, %d channels, %d bytes", pages, len(h.table.first), h.Bytes())
	}
}

// TestHistoryModel compares a history with a list of all messages, for random
// sizes, channels, limits, markers and ages. Messages that are not kept must be
// below a floor.
func TestHistoryModel(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, i))
		if err := runModel(random); err != nil {
			t.Fatalf("seed %d, history %d: %v", seed, i, err)
		}
	}
}

type message struct {
	point   Point
	payload string
	empty   bool
	arrival int // in the order of all messages
}

func runModel(random *rand.Rand) error {
	limit := []int{1, 300, 5000, 100_000, 1 << 20}[random.IntN(5)]
	h := New[struct{}](limit, 10*time.Second)
	h.Begin(7)
	added := map[string][]message{}
	largest := []int{10, 300, 9000, 60_000}[random.IntN(4)]
	for step := range 400 {
		name := fmt.Sprint(random.IntN(1 + random.IntN(40)))
		switch op := random.IntN(40); {
		case op == 0:
			h.clock += int64(random.IntN(4000)) * int64(time.Millisecond)
			h.expire()
		case op == 1:
			id := MarkerID{}
			h.Seq++
			copy(id[:], fmt.Sprint(random.Uint64()))
			h.Mark(id)
		case op == 2 && random.IntN(8) == 0:
			h.Begin(8)
			clear(added)
		default:
			h.Seq++
			empty := random.IntN(30) == 0
			payload := make([]byte, random.IntN(largest))
			for k := 0; k < len(payload); k += 1 + k/2 {
				payload[k] = byte(random.Uint32())
			}
			if empty {
				payload = nil
			}
			ch := h.Channel(name)
			h.Add(ch, payload, empty)
			added[name] = append(added[name], message{ch.At(), string(payload), empty || len(payload) > limit/2, step})
		}
		if step%16 > 0 {
			continue
		}
		if err := cmp.Or(compare(h, added), comparePlaces(h, added)); err != nil {
			return err
		}
	}
	return nil
}

// findChannel returns the channel with that name, or nil.
func findChannel(h *History[struct{}], name string) *Channel[struct{}] {
	return h.Find(h.Hash([]byte(name)), []byte(name))
}

// compare compares the kept messages with all messages that were added.
func compare(h *History[struct{}], added map[string][]message) error {
	if h.Bytes() > h.limit && !h.ring.empty() && h.ring.head != findChannel(h, newestChannelName(h)).newest {
		return fmt.Errorf("%d bytes are kept, the limit is %d", h.Bytes(), h.limit)
	}
	for name, all := range added {
		ch := findChannel(h, name)
		var kept []message
		if ch != nil {
			for offset := ch.oldest; offset != 0; {
				e := h.ring.entry(offset)
				kept = append(kept, message{point: e.Point, payload: string(h.ring.payload(nil, offset, e.Size)), empty: e.Empty})
				offset = h.ring.following(offset, e)
			}
			if err := comparePages(h, ch, all); err != nil {
				return fmt.Errorf("channel %s: %w", name, err)
			}
			if err := compareSuffixes(h, ch, kept); err != nil {
				return fmt.Errorf("channel %s: %w", name, err)
			}
		}
		dropped := all[:len(all)-len(kept)]
		for i, k := range kept {
			want := all[len(dropped)+i]
			if k.point != want.point || k.empty != want.empty || !k.empty && k.payload != want.payload {
				return fmt.Errorf("channel %s: kept %+v, want %+v", name, k.point, want.point)
			}
		}
		if len(dropped) == 0 {
			continue
		}
		last := dropped[len(dropped)-1].point
		if ch != nil && ch.floor.Before(last) || ch == nil && h.floor < last.Ord {
			return fmt.Errorf("channel %s: %+v is not kept, but above the floor", name, last)
		}
	}
	return nil
}

// comparePages compares what Locate finds with a search of all messages, and
// checks that the pages follow each other and have about pageSize bytes.
func comparePages(h *History[struct{}], ch *Channel[struct{}], all []message) error {
	for i, m := range all {
		rest := all[i+1:]
		payloads := !slices.ContainsFunc(rest, func(m message) bool { return m.empty })
		wrong, beyond := m.point, m.point
		wrong.Check++
		beyond.Index = math.MaxUint64
		marker := m.point // or the marker after it, if that is before the next message
		if len(rest) == 0 || rest[0].point.Ord > m.point.Ord {
			marker = Point{Ord: m.point.Ord + 1}
		}
		for _, test := range []struct {
			p    Point
			want bool
		}{{m.point, payloads && !m.point.Before(ch.floor)}, {marker, payloads && !marker.Before(ch.floor)}, {wrong, false}, {beyond, false}} {
			last, ok := h.Locate(ch, test.p)
			if next := h.After(ch, last); ok != test.want || ok && len(rest) > 0 && (next == 0 || h.Entry(next).Point != rest[0].point) {
				return fmt.Errorf("Locate(%+v) = %v, want %v", test.p, ok, test.want)
			}
		}
	}
	bytes, first := 0, ch.oldest
	for offset := ch.oldest; offset != 0; {
		e := h.Entry(offset)
		f, next := h.Page(ch, offset)
		if f != offset && f != first || bytes > pageSize+entrySize {
			return fmt.Errorf("a page begins at %d, want %d or %d; it has %d bytes", f, offset, first, bytes)
		}
		if f == offset {
			first, bytes = f, 0
		}
		bytes += entrySize
		if following := h.Next(offset, e); following != 0 || next == 0 {
			offset = following
			continue
		}
		return fmt.Errorf("another page begins at %d, after the newest message", next)
	}
	return nil
}

// comparePlaces compares what LocateAfter finds on each channel, after each held
// message of any channel, with a search of all messages.
func comparePlaces(h *History[struct{}], added map[string][]message) error {
	for anchor, all := range added {
		ch := findChannel(h, anchor)
		if ch == nil || ch.newest == 0 {
			continue
		}
		for offset := ch.oldest; offset != 0; offset = h.Next(offset, h.Entry(offset)) {
			m := all[slices.IndexFunc(all, func(m message) bool { return m.point == h.Entry(offset).Point })]
			for name, all := range added {
				if err := comparePlace(h, h.Channel(name), offset, all, m.arrival); err != nil {
					return fmt.Errorf("channel %s after %+v of %s: %w", name, m.point, anchor, err)
				}
				h.Release(h.Channel(name))
			}
		}
	}
	return nil
}

// comparePlace is comparePlaces for one channel and the entry at offset, which
// arrived as number arrival.
func comparePlace(h *History[struct{}], ch *Channel[struct{}], offset uint64, all []message, arrival int) error {
	n, _ := slices.BinarySearchFunc(all, arrival+1, func(m message, arrival int) int { return cmp.Compare(m.arrival, arrival) })
	want := !slices.ContainsFunc(all[n:], func(m message) bool { return m.empty })
	p, last, ok := h.LocateAfter(ch, offset)
	next := h.After(ch, last)
	switch {
	case ok != want:
		return fmt.Errorf("ok is %v, want %v", ok, want)
	case p.Before(ch.floor), last != 0 && h.Entry(last).Point != p:
		return fmt.Errorf("%+v, at %d", p, last)
	case n < len(all) && (next == 0 || h.Entry(next).Point != all[n].point || !p.Before(all[n].point)):
		return fmt.Errorf("continues after %+v, want %+v next", p, all[n].point)
	case n == len(all) && next != 0:
		return fmt.Errorf("%+v follows, want nothing", h.Entry(next).Point)
	case last != 0 && p != all[n-1].point:
		return fmt.Errorf("%+v, want %+v", p, all[n-1].point)
	}
	return nil
}

// The place where a client with several channels begins is the newest message of
// any of them since the newest marker, or the marker.
func TestNewestOf(t *testing.T) {
	h := New[struct{}](1<<20, time.Hour)
	h.Begin(1)
	a, b, c := h.Channel("a"), h.Channel("b"), h.Channel("c")
	all := []*Channel[struct{}]{a, b, c}
	add := func(ch *Channel[struct{}]) func() { return func() { h.Seq++; h.Add(ch, []byte("x"), false) } }
	for _, step := range []struct {
		why    string
		do     func()
		want   *Channel[struct{}] // of the newest message; nil for the marker
		newest bool               // the marker is newer than all messages
	}{
		{"nothing but the marker", func() { h.Seq++; h.Mark(MarkerID{1}) }, nil, true},
		{"one message", add(b), b, false},
		{"a newer one on another channel", add(a), a, false},
		{"again on the first one", add(b), b, false},
		{"a message on a channel that is not asked about", add(h.Channel("d")), b, false},
		{"another marker", func() { h.Seq++; h.Mark(MarkerID{2}) }, nil, true},
		{"a message after it", add(c), c, false},
	} {
		step.do()
		ch, p := h.NewestOf(slices.Values(all))
		if ch != step.want || ch != nil && p != ch.At() || ch == nil && p != (Point{Ord: h.markers.current()}) {
			t.Errorf("%s: %+v of %v", step.why, p, ch)
		}
		if got := h.MarkerIsNewest(h.Seq, slices.Values(all)); got != step.newest {
			t.Errorf("%s: the marker is newer: %v", step.why, got)
		}
	}
	// What was delivered may end before the newest marker and messages.
	if h.MarkerIsNewest(h.Seq-2, slices.Values(all)) {
		t.Error("the first marker counts as newer than messages after it")
	}
}

// TestLocateReadsOnePage checks how many messages are read to find a point,
// also if the point does not exist.
func TestLocateReadsOnePage(t *testing.T) {
	h := New[struct{}](64<<20, time.Minute)
	h.Begin(1)
	h.Mark(MarkerID{1})
	ch := h.Channel("busy")
	for range 500_000 {
		h.Seq++
		h.Add(ch, []byte("hello"), false)
	}
	for _, index := range []uint64{0, 1, 250_000, 500_000} {
		before := h.walked
		if _, ok := h.Locate(ch, Point{Ord: h.markers.current(), Index: index, Check: 1}); ok && index > 0 {
			t.Errorf("message %d is found with a wrong check", index)
		}
		if n := h.walked - before; n > pageSize/entrySize {
			t.Errorf("to find message %d, %d messages are read", index, n)
		}
	}
	quiet := h.Channel("quiet")
	h.Add(quiet, []byte("hello"), false)
	before := h.walked
	if _, last, ok := h.LocateAfter(ch, quiet.newest); !ok || last != ch.newest || h.walked-before > pageSize/entrySize {
		t.Errorf("after a message of another channel: %d, %v; %d messages are read", last, ok, h.walked-before)
	}
}

// A channel on which nothing follows is found without reading its messages: of
// many channels of a client, most are like that.
func TestQuietChannelsAreNotRead(t *testing.T) {
	h := New[struct{}](1<<20, time.Hour)
	h.Begin(1)
	quiet, other, unused := h.Channel("quiet"), h.Channel("other"), h.Channel("unused")
	for range 100 {
		h.Add(quiet, []byte("hello"), false)
	}
	h.Add(other, []byte("hello"), false)
	h.walked = 0
	if p, last, ok := h.LocateAfter(quiet, other.newest); p != quiet.At() || last != quiet.newest || !ok {
		t.Errorf("after a message of another channel: %v, %d, %v", p, last, ok)
	}
	if p, last, ok := h.LocateAfter(unused, other.newest); p != unused.floor || last != 0 || !ok {
		t.Errorf("on a channel without messages: %v, %d, %v", p, last, ok)
	}
	if last, ok := h.Locate(quiet, quiet.At()); last != quiet.newest || !ok {
		t.Errorf("at the newest message: %d, %v", last, ok)
	}
	if _, ok := h.Locate(quiet, Point{Ord: quiet.lastOrd, Index: 100, Check: quiet.lastCheck + 1}); ok {
		t.Error("the newest message is found with a wrong check")
	}
	if p, last := h.Suffix(quiet, 0); p != h.Now(quiet) || last != quiet.newest {
		t.Errorf("before no message: %v, %d", p, last)
	}
	if h.walked > 0 {
		t.Errorf("%d messages are read", h.walked)
	}
}

// newestChannelName returns the name of the channel of the newest message.
func newestChannelName(h *History[struct{}]) string {
	newest := slices.MaxFunc(h.channels, func(a, b *Channel[struct{}]) int {
		switch {
		case a == nil && b == nil:
			return 0
		case a == nil:
			return -1
		case b == nil:
			return 1
		}
		return cmp.Compare(a.newest, b.newest)
	})
	return newest.name
}

// TestMarkersAreBounded checks that markers above maxMarkers are dropped, and
// the messages that are counted from them.
func TestMarkersAreBounded(t *testing.T) {
	h := New[struct{}](64<<20, time.Hour)
	h.Begin(1)
	for i := range 3 * maxMarkers {
		id := MarkerID{}
		copy(id[:], fmt.Sprintf("%8d", i))
		h.Seq++
		h.Mark(id)
		if i%10 == 0 {
			h.Seq++
			h.Add(h.Channel("a"), []byte("x"), false)
		}
	}
	if len(h.markers.list) > maxMarkers || len(h.markers.ordByID) != len(h.markers.list) {
		t.Errorf("%d markers and %d numbers are kept", len(h.markers.list), len(h.markers.ordByID))
	}
	if oldest := h.ring.entry(findChannel(h, "a").oldest); oldest.Ord < h.markers.firstOrd {
		t.Errorf("a message since marker %d is kept, the first known marker is %d", oldest.Ord, h.markers.firstOrd)
	}
}

// TestLingeringChannelsAreBounded checks that channels that are used once
// between two markers do not accumulate.
func TestLingeringChannelsAreBounded(t *testing.T) {
	h := New[struct{}](1<<20, time.Hour)
	h.Begin(1)
	for i := range 200_000 {
		h.Seq++
		h.Add(h.Channel(fmt.Sprint("session:", i)), []byte("x"), false)
	}
	if most := 1<<20/channelCharge + 1<<20/entrySize; len(h.table.first) > most {
		t.Errorf("%d channels are known, want %d at most", len(h.table.first), most)
	}
	if h.Bytes() > 1<<20*5/4 {
		t.Errorf("%d bytes are kept, the limit is %d", h.Bytes(), 1<<20)
	}
}

// TestUnusedChannelsAreReleased checks that a channel without messages is
// removed at once when it has no references any more, also before the first
// connection to Redis.
func TestUnusedChannelsAreReleased(t *testing.T) {
	for _, connections := range []uint32{0, 1, 2} {
		h := New[struct{}](1<<20, time.Minute)
		for node := range connections {
			h.Begin(node)
		}
		h.Release(h.Channel("a"))
		if findChannel(h, "a") != nil || len(h.lingering) > 0 || h.channelBytes != 0 {
			t.Errorf("after %d connections the channel is kept: %d linger, %d bytes", connections, len(h.lingering), h.channelBytes)
		}
	}
}

// TestCheck compares the check with the definition in the comment of Cursor:
// other versions of the relay must calculate the same.
func TestCheck(t *testing.T) {
	var all []byte
	check := uint32(0)
	for _, payload := range []string{"hello", "", "\x00\xff", string(make([]byte, 70_000))} {
		check = chain(check, []byte(payload), false)
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(payload))), payload...)
		if want := crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)); check != want {
			t.Errorf("after %d bytes: %08x, want %08x", len(all), check, want)
		}
	}
	all = append(all, 0xff, 0xff, 0xff, 0xff)
	if check, want := chain(check, nil, true), crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)); check != want {
		t.Errorf("a message that is too large: %08x, want %08x", check, want)
	}
}

// The check of a position covers all messages since the marker.
func TestCheckOfAPosition(t *testing.T) {
	h := New[struct{}](1<<20, time.Hour)
	h.Begin(1)
	ch := h.Channel("a")
	check := uint32(0)
	for _, payload := range []string{"hello", "", "again"} {
		h.Add(ch, []byte(payload), false)
		check = chain(check, []byte(payload), false)
	}
	if at := ch.At(); at.Index != 3 || at.Check != check {
		t.Errorf("after 3 messages: index %d, check %08x, want %08x", at.Index, at.Check, check)
	}
	h.Mark(MarkerID{1})
	h.Add(ch, []byte("x"), false)
	if at := ch.At(); at.Index != 1 || at.Check != chain(0, []byte("x"), false) {
		t.Errorf("after a marker: index %d, check %08x", at.Index, at.Check)
	}
}
