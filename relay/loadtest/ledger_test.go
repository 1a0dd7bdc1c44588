package main

import "testing"

// told stands for a gap notice in the tables below.
const told = 0

func TestLedger(t *testing.T) {
	tests := []struct {
		name  string
		floor uint64
		heard []uint64
		final uint64
		want  score
	}{
		{name: "everything in order", heard: []uint64{1, 2, 3}, final: 3},
		{name: "nothing was published"},
		{name: "nothing was heard", final: 3, want: score{lost: 3}},
		{name: "joined later", floor: 5, heard: []uint64{6, 7}, final: 7},
		{name: "joined with messages on their way", floor: 5, heard: []uint64{3, 4, 5, 6}, final: 6},
		{name: "joined, and the first is missing", floor: 5, heard: []uint64{7}, final: 7, want: score{lost: 1}},
		{name: "joined, on their way, and then one is missing", floor: 5, heard: []uint64{4, 6}, final: 6, want: score{lost: 1}},
		{name: "joined after the last", floor: 5, final: 5},
		{name: "joined, and hears nothing", floor: 5, final: 7, want: score{lost: 2}},
		{name: "one lost", heard: []uint64{1, 3}, final: 3, want: score{lost: 1}},
		{name: "many lost", heard: []uint64{1, 10, 20}, final: 20, want: score{lost: 17}},
		{name: "the end lost", heard: []uint64{1, 2}, final: 5, want: score{lost: 3}},
		{name: "the first lost", heard: []uint64{2, 3}, final: 3, want: score{lost: 1}},
		{name: "doubled", heard: []uint64{1, 2, 2, 3}, final: 3, want: score{doubled: 1}},
		{name: "an old one again", heard: []uint64{1, 2, 3, 1}, final: 3, want: score{doubled: 1}},
		{name: "two swapped", heard: []uint64{1, 3, 2, 4}, final: 4, want: score{reordered: 1}},
		{name: "swapped at the very beginning", heard: []uint64{2, 1, 3}, final: 3, want: score{reordered: 1}},
		{name: "swapped on the way in", floor: 5, heard: []uint64{5, 4, 6}, final: 6, want: score{reordered: 1}},
		{name: "late out of the middle of a hole", heard: []uint64{1, 6, 3, 4}, final: 6, want: score{lost: 2, reordered: 2}},
		{name: "late, and then doubled", heard: []uint64{1, 3, 2, 2}, final: 3, want: score{reordered: 1, doubled: 1}},
		{name: "a gap excuses what is missing", heard: []uint64{1, told, 5, 6}, final: 6, want: score{excused: 3}},
		{name: "a gap excuses nothing after the next message", heard: []uint64{1, told, 2, 4}, final: 4, want: score{lost: 1}},
		{name: "a gap comes too late", heard: []uint64{1, 3, told, 4}, final: 4, want: score{lost: 1}},
		{name: "a gap before the end", heard: []uint64{1, told}, final: 4, want: score{excused: 3}},
		{name: "a gap before the first", heard: []uint64{told, 4}, final: 4, want: score{excused: 3}},
		{name: "late although excused", heard: []uint64{1, told, 4, 2}, final: 4, want: score{excused: 1, reordered: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := ledger{floor: test.floor}
			var got score
			for _, sequence := range test.heard {
				if sequence == told {
					l.told = true
					continue
				}
				v, h := l.hear(sequence)
				got.note(v, h.excused, h.size())
			}
			h := l.tail(test.final)
			got.miss(h.excused, h.size())
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestLedgerHolesAreBounded(t *testing.T) {
	var l ledger
	for i := range uint64(10_000) {
		l.hear(2*i + 2)
	}
	if len(l.holes) != maxHoles {
		t.Errorf("%d holes are remembered", len(l.holes))
	}
}

func TestLedgerInOrderDoesNotAllocate(t *testing.T) {
	l, sequence := new(ledger), uint64(0)
	if n := testing.AllocsPerRun(100, func() { sequence++; l.hear(sequence) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzLedger compares the ledger with the plain rule on short runs, where holes cannot overflow.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(0))
	f.Add([]byte{3, 1, 2, 2, 9}, uint8(4))
	f.Fuzz(func(t *testing.T, heard []byte, floor uint8) {
		if len(heard) > maxHoles {
			return
		}
		l, final := ledger{floor: uint64(floor)}, uint64(floor)
		var got score
		counts := map[uint64]int{}
		for _, b := range heard {
			sequence := uint64(b) + 1
			final = max(final, sequence)
			counts[sequence]++
			v, h := l.hear(sequence)
			got.note(v, h.excused, h.size())
		}
		h := l.tail(final)
		got.miss(h.excused, h.size())
		var lost, twice uint64
		from := uint64(floor) + 1
		if len(heard) > 0 {
			from = min(from, uint64(heard[0])+1)
		}
		for sequence := from; sequence <= final; sequence++ {
			if counts[sequence] == 0 {
				lost++
			}
			twice += uint64(max(counts[sequence]-1, 0))
		}
		if got.lost != lost || got.doubled > twice || got.excused != 0 {
			t.Errorf("floor %d, heard %v: %+v, but %d are lost and %d twice", floor, heard, got, lost, twice)
		}
	})
}
