package stream

import (
	"testing"

	"sidecast/relay/protocol"
)

// TestSinceOfAnIDThatIsUsedAgain: the application has read an entry with the id
// of since, whichever one. After a gap, the entry that has replaced it is not
// for the client.
func TestSinceOfAnIDThatIsUsedAgain(t *testing.T) {
	id := ID{Ms: 4, Seq: 2}
	for _, tt := range []struct {
		why   string
		first ID // the first entry after the gap
		owed  bool
	}{
		{"the id itself", id, false},
		{"a higher id", ID{Ms: 4, Seq: 3}, true},
	} {
		p := Position{Reader: new(Reader)}
		p.Since(id)
		p.looking = true
		p.result = lookupResult{gap: true, why: protocol.GapReset, at: Cursor{ID: tt.first, Check: 1}, owed: true}
		if _, progress, _, _ := p.Next(nil); progress != Gap || p.At.ID != tt.first || p.owed != tt.owed {
			t.Errorf("%s: progress %d, at %v, owed %v", tt.why, progress, p.At, p.owed)
		}
	}
}
