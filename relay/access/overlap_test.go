package access

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestOverlaps(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"chat:*", "chat:*", true},
		{"chat", "chat", true},
		{"chat", "chats", false},
		{"chat", "chat:*", false},
		{"*", "chat", true},
		{"chat:*", "*:42", true},
		{"chat:*", "news:*", false},
		{"a*b", "ac*", true},
		{"a*b", "*c", false},
		{"?", "??", false},
		{"?*", "**", true},
		{"[ab]", "[bc]", true},
		{"[ab]", "[cd]", false},
		{"[^a]", "a", false},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"*a*", "*b*", true},
		{"[]", "*", false},
		{"a*", "*", true},
		{"a", "a*a", false},
	} {
		a, b := MustPattern(tt.a), MustPattern(tt.b)
		if a.Overlaps(b) != tt.want || b.Overlaps(a) != tt.want {
			t.Errorf("%s and %s overlap: %v and %v, want %v", tt.a, tt.b, a.Overlaps(b), b.Overlaps(a), tt.want)
		}
	}
	if (Pattern{}).Overlaps(MustPattern("*")) || MustPattern("*").Overlaps(Pattern{}) {
		t.Error("the pattern that matches nothing overlaps")
	}
}

// Random short patterns overlap if, and only if, a short name matches both.
func TestOverlapsAsMatch(t *testing.T) {
	names := append(longer("", 7), "")
	pieces := []string{"a", "b", "*", "?", "[ab]", "[^a]"}
	random := func() Pattern {
		var source strings.Builder
		for range 1 + rand.IntN(4) {
			source.WriteString(pieces[rand.IntN(len(pieces))])
		}
		return MustPattern(source.String())
	}
	for range 2000 {
		a, b := random(), random()
		want := false
		for _, name := range names {
			want = want || a.Match(name) && b.Match(name)
		}
		if got := a.Overlaps(b); got != want {
			t.Fatalf("%s and %s overlap: %v, want %v", a, b, got, want)
		}
	}
}

// longer returns all names of the letters a and b that begin with prefix and
// have up to n letters more.
func longer(prefix string, n int) (names []string) {
	if n == 0 {
		return nil
	}
	for _, letter := range []string{"a", "b"} {
		names = append(names, prefix+letter)
		names = append(names, longer(prefix+letter, n-1)...)
	}
	return names
}
