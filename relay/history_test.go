package relay

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// What is kept takes as much memory as the setting says, and a tenth more at most: a million messages of 100 bytes over
// 10,000 channels, above an empty hub.
func TestHistoryBytes(t *testing.T) {
	const limit = 64 << 20
	hub := NewHub(HubConfig{HistoryBytes: limit, HistoryAge: time.Hour})
	hub.Online(1)
	inUse := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	empty := inUse()
	payload := make([]byte, 100)
	for i := range 1_000_000 {
		hub.Publish(fmt.Appendf(nil, "channel:%d", i%10_000), payload)
		if i%1000 == 0 {
			hub.Flush()
			hub.Marker(fmt.Appendf(nil, "%8d", i))
		}
	}
	used := inUse() - empty
	t.Logf("%d bytes of heap for %d of history", used, hub.HistoryBytes())
	if used > limit*11/10 || hub.HistoryBytes() > limit || hub.HistoryBytes() < limit*9/10 {
		t.Errorf("a history of %d bytes takes %d, and says %d", limit, used, hub.HistoryBytes())
	}
	runtime.KeepAlive(hub)
}

// Pages that nothing needs any more are given back.
func TestHistoryShrinks(t *testing.T) {
	h := newHistory(16<<20, time.Minute, newChannels())
	for i := range 100_000 {
		h.seq++
		h.add(h.channel(fmt.Sprint("channel:", i%100)), make([]byte, 100), false)
	}
	h.clock = int64(2 * time.Minute)
	h.expire()
	h.mark(MarkID{1})
	pages := 0
	for _, page := range h.log.pages {
		if page != nil {
			pages++
		}
	}
	if !h.log.empty() || pages > 1 || len(h.channels.first) != 0 || h.bytes() > 1000 {
		t.Errorf("after all is too old: %d pages, %d channels, %d bytes", pages, len(h.channels.first), h.bytes())
	}
}

// What was kept is what was said, for random sizes, channels, limits, marks and ages, and what is not kept any more lies
// below a floor.
func TestHistoryModel(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, i))
		if err := historyModel(random); err != nil {
			t.Fatalf("seed %d, history %d: %v", seed, i, err)
		}
	}
}

type told struct {
	point   point
	payload string
	empty   bool
}

func historyModel(random *rand.Rand) error {
	limit := []int{1, 300, 5000, 100_000, 1 << 20}[random.IntN(5)]
	h := newHistory(limit, 10*time.Second, newChannels())
	h.begin(7)
	said := map[string][]told{}
	largest := []int{10, 300, 9000, 60_000}[random.IntN(4)]
	for step := range 400 {
		name := fmt.Sprint(random.IntN(1 + random.IntN(40)))
		switch op := random.IntN(40); {
		case op == 0:
			h.clock += int64(random.IntN(4000)) * int64(time.Millisecond)
			h.expire()
		case op == 1:
			id := MarkID{}
			h.seq++
			copy(id[:], fmt.Sprint(random.Uint64()))
			h.mark(id)
		case op == 2 && random.IntN(8) == 0:
			h.begin(8)
			clear(said)
		default:
			h.seq++
			empty := random.IntN(30) == 0
			payload := make([]byte, random.IntN(largest))
			for k := 0; k < len(payload); k += 1 + k/2 {
				payload[k] = byte(random.Uint32())
			}
			if empty {
				payload = nil
			}
			ch := h.channel(name)
			h.add(ch, payload, empty)
			said[name] = append(said[name], told{ch.at, string(payload), empty || len(payload) > limit/2})
		}
		if step%16 > 0 {
			continue
		}
		if err := sameHistory(&h, said); err != nil {
			return err
		}
	}
	return nil
}

// known returns the channel with that name, or nil.
func known(h *history, name string) *channel {
	return h.channels.find(h.channels.hash([]byte(name)), []byte(name))
}

// sameHistory compares what is kept with what was said.
func sameHistory(h *history, said map[string][]told) error {
	if h.bytes() > h.limit && !h.log.empty() && h.log.head != known(h, newestName(h)).newest {
		return fmt.Errorf("%d bytes are kept of %d", h.bytes(), h.limit)
	}
	for name, all := range said {
		ch := known(h, name)
		var kept []told
		if ch != nil {
			for offset := ch.oldest; offset != 0; {
				e := h.log.at(offset)
				kept = append(kept, told{e.point, string(h.log.payload(nil, offset, e.size)), e.empty})
				offset = h.log.on(offset, e)
			}
			var backwards []point
			for offset := ch.newest; offset != 0; {
				e := h.log.at(offset)
				backwards = append(backwards, e.point)
				offset = h.log.back(offset, e)
			}
			slices.Reverse(backwards)
			if !slices.EqualFunc(kept, backwards, func(a told, b point) bool { return a.point == b }) {
				return fmt.Errorf("channel %s: %d forwards, %d backwards", name, len(kept), len(backwards))
			}
		}
		gone := all[:len(all)-len(kept)]
		for i, k := range kept {
			want := all[len(gone)+i]
			if k.point != want.point || k.empty != want.empty || !k.empty && k.payload != want.payload {
				return fmt.Errorf("channel %s: kept %+v, was %+v", name, k.point, want.point)
			}
		}
		if len(gone) == 0 {
			continue
		}
		last := gone[len(gone)-1].point
		if ch != nil && ch.floor.before(last) || ch == nil && h.floor < last.ord {
			return fmt.Errorf("channel %s: %+v is not kept, and above the floor", name, last)
		}
	}
	return nil
}

// newestName is the channel of the last message.
func newestName(h *history) string {
	newest := slices.MaxFunc(h.slots, func(a, b *channel) int {
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

// A mark that is flooded with others is forgotten, and what was said since with it.
func TestMarksAreBounded(t *testing.T) {
	h := newHistory(64<<20, time.Hour, newChannels())
	h.begin(1)
	for i := range 3 * maxMarks {
		id := MarkID{}
		copy(id[:], fmt.Sprintf("%8d", i))
		h.seq++
		h.mark(id)
		if i%10 == 0 {
			h.seq++
			h.add(h.channel("a"), []byte("x"), false)
		}
	}
	if len(h.marks.list) > maxMarks || len(h.marks.number) != len(h.marks.list) {
		t.Errorf("%d marks and %d numbers are kept", len(h.marks.list), len(h.marks.number))
	}
	if oldest := h.log.at(known(&h, "a").oldest); oldest.ord < h.marks.first {
		t.Errorf("a message since mark %d is kept, the first known is %d", oldest.ord, h.marks.first)
	}
}

// Channels that come and go within one mark do not add up.
func TestLingeringChannelsAreBounded(t *testing.T) {
	h := newHistory(1<<20, time.Hour, newChannels())
	h.begin(1)
	for i := range 200_000 {
		h.seq++
		h.add(h.channel(fmt.Sprint("visitor:", i)), []byte("x"), false)
	}
	if most := 1<<20/channelCharge + 1<<20/entrySize; len(h.channels.first) > most {
		t.Errorf("%d channels are known, want %d at most", len(h.channels.first), most)
	}
	if h.bytes() > 1<<20*5/4 {
		t.Errorf("%d bytes are kept of %d", h.bytes(), 1<<20)
	}
}

// The check is what the cursor's comment says: other relays, of other versions, come to the same.
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
		t.Errorf("one too large: %08x, want %08x", check, want)
	}
}
