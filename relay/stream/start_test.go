package stream

import "testing"

// TestSinceOfAnIDThatIsUsedAgain: the application has read an entry with the id
// of since, whichever one. If the relay remembers another entry with this id, it
// must not look for that one in Redis.
func TestSinceOfAnIDThatIsUsedAgain(t *testing.T) {
	id := ID{Ms: 4, Seq: 2}
	for _, tt := range []struct {
		why  string
		move func(*Position)
		byID bool
	}{
		{"nothing is remembered", func(*Position) {}, true},
		{"an entry is remembered", func(p *Position) { p.identify(Cursor{ID: id, Check: 1}) }, true},
		{"the client has received an entry", func(p *Position) { p.Move(Cursor{ID: ID{Ms: 5}, Check: 1}) }, false},
		{"it has received one with the same id", func(p *Position) { p.Move(Cursor{ID: id, Check: 1}) }, false},
	} {
		var p Position
		p.Since(id)
		tt.move(&p)
		p.forgetCheck()
		if p.byID != tt.byID || p.byID != (p.At.Check == 0) {
			t.Errorf("%s: at %v, by id %v", tt.why, p.At, p.byID)
		}
	}
}
