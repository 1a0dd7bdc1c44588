package history

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Pages that nothing needs any more are given back.
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
		t.Errorf("after all is too old: %d pages, %d channels, %d bytes", pages, len(h.table.first), h.Bytes())
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
	point   Point
	payload string
	empty   bool
}

func historyModel(random *rand.Rand) error {
	limit := []int{1, 300, 5000, 100_000, 1 << 20}[random.IntN(5)]
	h := New[struct{}](limit, 10*time.Second)
	h.Begin(7)
	said := map[string][]told{}
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
			clear(said)
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
			said[name] = append(said[name], told{ch.at, string(payload), empty || len(payload) > limit/2})
		}
		if step%16 > 0 {
			continue
		}
		if err := sameHistory(h, said); err != nil {
			return err
		}
	}
	return nil
}

// known returns the channel with that name, or nil.
func known(h *History[struct{}], name string) *Channel[struct{}] {
	return h.Find(h.Hash([]byte(name)), []byte(name))
}

// sameHistory compares what is kept with what was said.
func sameHistory(h *History[struct{}], said map[string][]told) error {
	if h.Bytes() > h.limit && !h.ring.empty() && h.ring.head != known(h, newestName(h)).newest {
		return fmt.Errorf("%d bytes are kept of %d", h.Bytes(), h.limit)
	}
	for name, all := range said {
		ch := known(h, name)
		var kept []told
		if ch != nil {
			for offset := ch.oldest; offset != 0; {
				e := h.ring.at(offset)
				kept = append(kept, told{e.Point, string(h.ring.payload(nil, offset, e.Size)), e.Empty})
				offset = h.ring.on(offset, e)
			}
			var backwards []Point
			for offset := ch.newest; offset != 0; {
				e := h.ring.at(offset)
				backwards = append(backwards, e.Point)
				offset = h.ring.back(offset, e)
			}
			slices.Reverse(backwards)
			if !slices.EqualFunc(kept, backwards, func(a told, b Point) bool { return a.point == b }) {
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
		if ch != nil && ch.floor.Before(last) || ch == nil && h.floor < last.Ord {
			return fmt.Errorf("channel %s: %+v is not kept, and above the floor", name, last)
		}
	}
	return nil
}

// newestName is the channel of the last message.
func newestName(h *History[struct{}]) string {
	newest := slices.MaxFunc(h.slots, func(a, b *Channel[struct{}]) int {
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
	if len(h.markers.list) > maxMarkers || len(h.markers.number) != len(h.markers.list) {
		t.Errorf("%d marks and %d numbers are kept", len(h.markers.list), len(h.markers.number))
	}
	if oldest := h.ring.at(known(h, "a").oldest); oldest.Ord < h.markers.first {
		t.Errorf("a message since mark %d is kept, the first known is %d", oldest.Ord, h.markers.first)
	}
}

// Channels that come and go within one mark do not add up.
func TestLingeringChannelsAreBounded(t *testing.T) {
	h := New[struct{}](1<<20, time.Hour)
	h.Begin(1)
	for i := range 200_000 {
		h.Seq++
		h.Add(h.Channel(fmt.Sprint("visitor:", i)), []byte("x"), false)
	}
	if most := 1<<20/channelCharge + 1<<20/entrySize; len(h.table.first) > most {
		t.Errorf("%d channels are known, want %d at most", len(h.table.first), most)
	}
	if h.Bytes() > 1<<20*5/4 {
		t.Errorf("%d bytes are kept of %d", h.Bytes(), 1<<20)
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
