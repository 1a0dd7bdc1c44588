package access

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		comment, pattern, name, want string
		edits                        int
	}{
		{"it matches", "chat:*", "chat:1", "chat:1", 0},
		{"a letter too many", "chat:*", "chats:1", "chat:1", 1},
		{"a letter too few", "chat:*", "cat:1", "chat:1", 1},
		{"another letter", "chat:*", "chet:1", "chat:1", 1},
		{"another separator", "chat:*", "chat.1", "chat:1", 1},
		{"no separator", "chat:*", "chat", "chat:", 1},
		{"a suffix", "order:*:done", "order:7:don", "order:7:done", 1},
		{"a star in the middle keeps its text", "a*z", "aby", "abz", 1},
		{"a class", "room[0-9]", "rooma", "room1", 1},
		{"any byte", "room?", "room", "roomm", 1},
		{"an escaped star", `a\*`, "ab", "a*", 1},
		{"a class that matches nothing", `a[]`, "ab", "ax", 1},
		{"everything is different", "abc", "xyz", "abc", 3},
		{"an empty name", "abc", "", "abc", 3},
		{"bytes of one character", "é", "è", "é", 1},
	} {
		p := MustPattern(tt.pattern)
		got, edits := p.Nearest(tt.name)
		if got != tt.want || edits != tt.edits {
			t.Errorf("%s: %q, %d, want %q, %d", tt.comment, got, edits, tt.want, tt.edits)
		}
	}
	if _, edits := (Pattern{}).Nearest("a"); edits < 1000 {
		t.Errorf("the zero pattern needs %d edits", edits)
	}
}

// The pattern matches the nearest name, and needs no edit exactly if it matches.
func FuzzNearest(f *testing.F) {
	for _, seed := range [][2]string{{"chat:*", "chats:1"}, {"[a-c]?*", ""}, {`\*[^x]*y`, "*y"}, {"a[]", "a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, source, name string) {
		p, err := ParsePattern(source)
		if err != nil || len(name) > MaxChannelName {
			return
		}
		nearest, edits := p.Nearest(name)
		impossible := strings.Contains(source, "[") && !p.Match(nearest) // a class that matches nothing
		if (edits == 0) != p.Match(name) || edits == 0 && nearest != name || !p.Match(nearest) && !impossible {
			t.Errorf("%q, %q: %q, %d", source, name, nearest, edits)
		}
		if edits > max(len(name), len(source)) {
			t.Errorf("%q, %q: %d edits", source, name, edits)
		}
	})
}

func BenchmarkNearest(b *testing.B) {
	p, name := MustPattern(strings.Repeat("a", MaxPattern-1)+"*"), strings.Repeat("b", MaxChannelName)
	for b.Loop() {
		p.Nearest(name)
	}
}
