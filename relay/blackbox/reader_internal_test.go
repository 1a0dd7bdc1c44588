package blackbox

import (
	"testing"
	"time"
)

// A reader holds a small part of a segment, however large the ring is, and its
// buffer does not grow while the box is locked.
func TestReaderIsSmall(t *testing.T) {
	box, err := Open(64<<20, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1_000_000 {
		box.Own(uint32(i), "chat", false, uint64(i), Place{})
	}
	r, n := box.NewReader(time.Time{}), 0
	for _, ok := r.Next(); ok; _, ok = r.Next() {
		n++
		if held := cap(r.lanes[laneMain].data); held > 2*maxCopy {
			t.Fatalf("it holds %d bytes after %d records", held, n)
		}
	}
	if n != 1_000_000 || r.Missed() {
		t.Errorf("%d records", n)
	}
}

// Clients who are refused cannot make a reader miss other records.
func TestMissedRefusals(t *testing.T) {
	box, err := Open(MinBytes, "")
	if err != nil {
		t.Fatal(err)
	}
	box.CaughtUp(1)
	box.Refused(Refusal{Channel: "chat"})
	r := box.NewReader(time.Time{})
	r.Next()
	for range 100_000 {
		box.Refused(Refusal{Channel: "chat"})
	}
	for _, ok := r.Next(); ok; _, ok = r.Next() {
	}
	if r.Missed() {
		t.Error("it has missed something")
	}
	for range 1_000_000 {
		box.CaughtUp(1)
	}
	for _, ok := r.Next(); ok; _, ok = r.Next() {
	}
	if !r.Missed() {
		t.Error("it has missed nothing")
	}
}
