package relay_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// suffixes turn any payload of one length into one whose checksum is 0, by its
// checksum without them.
var suffixes = sync.OnceValue(func() (columns [32]uint32) {
	zero := crc32.Checksum(make([]byte, 12), castagnoli)
	for bit := range columns {
		payload := make([]byte, 12)
		binary.LittleEndian.PutUint32(payload[8:], 1<<bit)
		columns[bit] = crc32.Checksum(payload, castagnoli) ^ zero
	}
	return columns
})

// collide appends the 4 bytes that make the checksum of 8 bytes 0.
func collide(payload []byte) []byte {
	payload = append(payload, 0, 0, 0, 0)
	want, columns := crc32.Checksum(payload, castagnoli), suffixes()
	var suffix uint32
	basis, combos := [32]uint32{}, [32]uint32{}
	for bit, column := range columns {
		combo := uint32(1) << bit
		for top := 31; top >= 0; top-- {
			if column>>top&1 == 0 {
				continue
			}
			if basis[top] == 0 {
				basis[top], combos[top] = column, combo
				break
			}
			column, combo = column^basis[top], combo^combos[top]
		}
	}
	for top := 31; top >= 0; top-- {
		if want>>top&1 == 1 {
			want, suffix = want^basis[top], suffix^combos[top]
		}
	}
	binary.LittleEndian.PutUint32(payload[8:], suffix)
	return payload
}

// The colliding payloads have the same checksum and differ.
func TestCollide(t *testing.T) {
	var all []string
	for n := range 100 {
		payload := collide(fmt.Appendf(nil, "#%06d:", n))
		if sum := crc32.Checksum(payload, castagnoli); sum != 0 {
			t.Fatalf("%q has the checksum %08x", payload, sum)
		}
		all = append(all, string(payload))
	}
	if slices.Sort(all); len(slices.Compact(all)) != 100 {
		t.Error("they are not different")
	}
}
