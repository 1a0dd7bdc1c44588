package access

import (
	"strings"
	"testing"
	"time"
)

var patternTests = []struct {
	pattern, name string
	want          bool
	why           string
}{
	{"chat", "chat", true, "a literal"},
	{"chat", "chats", false, "a literal matches the whole name"},
	{"chat:*", "chat:42", true, "star at the end"},
	{"chat:*", "chat:", true, "star matches nothing"},
	{"chat:*", "chat:a:b", true, "star matches the separator"},
	{"chat:*", "chat", false, "the literal part is missing"},
	{"*:x", "a:b:x", true, "star at the start"},
	{"a*b*c", "aXbYbZc", true, "two stars"},
	{"a*b*c", "aXbYbZ", false, "two stars, no end"},
	{"a**c", "abc", true, "two stars in a row are one"},
	{"?", "a", true, "one byte"},
	{"?", "é", false, "one byte, not one character"},
	{"??", "é", true, "a character of two bytes"},
	{"[ab]", "b", true, "a class"},
	{"[^ab]", "c", true, "a negated class"},
	{"[^ab]", "a", false, "a negated class"},
	{"[a-c]x", "bx", true, "a range"},
	{"[c-a]x", "bx", true, "a range in reverse order"},
	{`[\]]`, "]", true, "an escape in a class"},
	{`[\^a]`, "^", true, "an escaped caret"},
	{"[]", "a", false, "an empty class matches nothing"},
	{"[^]", "a", true, "an empty negated class matches anything"},
	{"[a-]x]", "ax]", false, "a range up to the bracket, so that the class is not closed"},
	{`\*`, "*", true, "an escaped star"},
	{`\*`, "a", false, "an escaped star is not a wildcard"},
	{`a\bc`, "abc", true, "an escaped letter is the letter itself"},
	{"*[0-9]", "room9", true, "a class after a star"},
	{"h[^e]llo", "hello", false, "the example of the Redis manual"},
	{"chat:[a-z]*", "chat:room", true, "a literal, a class and a star"},
	{"\xff*", "\xffx", true, "a byte that is not UTF-8"},
}

func TestPattern(t *testing.T) {
	for _, test := range patternTests {
		p, err := ParsePattern(test.pattern)
		if err != nil {
			if test.want {
				t.Errorf("ParsePattern(%q): %v: %s", test.pattern, err, test.why)
			}
			continue
		}
		if got := p.Match(test.name); got != test.want {
			t.Errorf("%q: Match(%q) = %v, want %v: %s", test.pattern, test.name, got, test.want, test.why)
		}
		if got := p.MatchBytes([]byte(test.name)); got != test.want {
			t.Errorf("%q: MatchBytes(%q) = %v, want %v: %s", test.pattern, test.name, got, test.want, test.why)
		}
		if p.String() != test.pattern {
			t.Errorf("String() = %q, want %q", p.String(), test.pattern)
		}
	}
}

func TestParsePatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                       "empty",
		`chat\`:                  "backslash",
		"chat[":                  "without its ]",
		"[a":                     "without its ]",
		strings.Repeat("x", 513): "longer",
	} {
		if _, err := ParsePattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePattern(%.20q) = %v, want an error with %q", pattern, err, want)
		}
	}
	if (Pattern{}).Match("x") {
		t.Error("the zero pattern matches something")
	}
}

func TestPatternsOwner(t *testing.T) {
	list, err := ParsePatterns([]string{"chat:vip", "chat:*", "*"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"chat:vip": 0, "chat:1": 1, "x": 2} {
		if got := list.Owner(name); got != want {
			t.Errorf("Owner(%q) = %d, want %d: the first that matches", name, got, want)
		}
		if got := list.OwnerBytes([]byte(name)); got != want {
			t.Errorf("OwnerBytes(%q) = %d, want %d", name, got, want)
		}
	}
	if got := list[:2].Owner("x"); got != -1 {
		t.Errorf("Owner of a name that no pattern matches = %d", got)
	}
}

// TestPatternMatchTime checks that a pattern with many stars does not take
// exponential time. Tokens may contain patterns.
func TestPatternMatchTime(t *testing.T) {
	p := MustPattern(strings.Repeat("*a", 250) + "b")
	done := make(chan bool, 1)
	go func() { done <- p.Match(strings.Repeat("a", MaxChannelName)) }()
	select {
	case got := <-done:
		if got {
			t.Error("the pattern matches, want no match")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("matching takes longer than 30 s")
	}
}

// referenceMatch is the algorithm of Redis, implemented by recursion.
func referenceMatch(p, s string) bool {
	for len(p) > 0 {
		switch p[0] {
		case '*':
			for i := 0; i <= len(s); i++ {
				if referenceMatch(p[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
			p, s = p[1:], s[1:]
		case '[':
			if s == "" {
				return false
			}
			in, rest := referenceClass(p[1:], s[0])
			if !in {
				return false
			}
			p, s = rest, s[1:]
		default:
			if p[0] == '\\' && len(p) > 1 {
				p = p[1:]
			}
			if s == "" || p[0] != s[0] {
				return false
			}
			p, s = p[1:], s[1:]
		}
	}
	return s == ""
}

func referenceClass(p string, c byte) (in bool, rest string) {
	not := p[0] == '^'
	if not {
		p = p[1:]
	}
	for p[0] != ']' {
		switch {
		case p[0] == '\\' && len(p) > 1:
			in = in || p[1] == c
			p = p[2:]
		case len(p) > 2 && p[1] == '-':
			in = in || min(p[0], p[2]) <= c && c <= max(p[0], p[2])
			p = p[3:]
		default:
			in = in || p[0] == c
			p = p[1:]
		}
	}
	return in != not, p[1:]
}

// FuzzPattern compares Match with referenceMatch.
func FuzzPattern(f *testing.F) {
	f.Add("*", "")
	for _, test := range patternTests {
		f.Add(test.pattern, test.name)
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := ParsePattern(pattern)
		if err != nil || len(pattern) > 24 || len(name) > 24 || strings.Count(pattern, "*") > 4 {
			return
		}
		if got, want := p.Match(name), referenceMatch(pattern, name); got != want {
			t.Errorf("%q: Match(%q) = %v, want %v", pattern, name, got, want)
		}
		if literal := EscapePattern(name); name != "" && !MustPattern(literal).Match(name) {
			t.Errorf("EscapePattern(%q) = %q does not match it", name, literal)
		}
	})
}
