package access_test

import (
	"strings"
	"testing"

	"sidecast/relay/access"
)

// TestExpandPattern checks that no byte of a user's id acts as a wildcard or
// makes a range, wherever the placeholder stands.
func TestExpandPattern(t *testing.T) {
	for _, tt := range []struct {
		source, user string
		open, closed []string
	}{
		{"inbox:{user}:*", "42", []string{"inbox:42:a"}, []string{"inbox:43:a"}},
		{"inbox:{user}", "*", []string{"inbox:*"}, []string{"inbox:42"}},
		{"{user}{user}", "?", []string{"??"}, []string{"ab", "?"}},
		{"room:[{user}]", "a-z", []string{"room:a", "room:-", "room:z"}, []string{"room:b", `room:\`, "room:[", "room:"}},
		{"room:[{user}]", "^a", []string{"room:^", "room:a"}, []string{"room:b"}},
		{"room:[{user}]", "]*", []string{"room:]", "room:*"}, []string{"room:a", "room:]*", `room:\`}},
		{"room:[x{user}]", "-z", []string{"room:x", "room:-", "room:z"}, []string{"room:y"}},
		{"room:[x{user}z]", "-", []string{"room:x", "room:-", "room:z"}, []string{"room:y"}},
		{"room:[{user}-z]", "a", []string{"room:a", "room:-", "room:z"}, []string{"room:b"}},
		{"room:[^{user}]", "a-c", []string{"room:b", "room:x"}, []string{"room:a", "room:-", "room:c"}},
		{"room:[a-c{user}]", "x", []string{"room:b", "room:x"}, []string{"room:d"}},
		{"room:[a]{user}", "*", []string{"room:a*"}, []string{"room:ab"}},
		{`room:[\]{user}]`, "a-z", []string{"room:]", "room:a"}, []string{"room:b"}},
		{`room:\[{user}`, "a-z", []string{"room:[a-z"}, []string{"room:b", "room:[a"}},
		{`room:\{user}`, "*", []string{"room:{user}"}, []string{"room:*", "room:a", `room:\a`}},
		{"room:{user}", "{user}", []string{"room:{user}"}, []string{"room:a"}},
	} {
		p, err := access.ExpandPattern(tt.source, "{user}", tt.user)
		if err != nil {
			t.Errorf("%q for %q: %v", tt.source, tt.user, err)
			continue
		}
		for _, name := range tt.open {
			if !p.Match(name) {
				t.Errorf("%q for %q does not match %q", tt.source, tt.user, name)
			}
		}
		for _, name := range tt.closed {
			if p.Match(name) {
				t.Errorf("%q for %q matches %q", tt.source, tt.user, name)
			}
		}
	}
	for _, source := range []string{"[a-{user}]", "[{-{user}]", "[{user}", `{user}\`, ""} {
		if p, err := access.ExpandPattern(source, "{user}", "42"); err == nil {
			t.Errorf("%q is accepted as %q", source, p)
		}
	}
}

// FuzzExpandPattern checks that a user's id matches only itself, and in a class
// only its bytes, whatever other characters are in the pattern.
func FuzzExpandPattern(f *testing.F) {
	f.Add("room:", "a-z", "room:b")
	f.Add("[", "]", "a")
	f.Add("a", "-z", "b")
	f.Fuzz(func(t *testing.T, others, user, name string) {
		if strings.Contains(others, "{user}") {
			return
		}
		p, err := access.ExpandPattern(access.EscapePattern(others)+"{user}", "{user}", user)
		if err == nil && p.Match(name) != (name == others+user) {
			t.Errorf("%q{user} for %q: Match(%q) = %v", others, user, name, p.Match(name))
		}
		var class strings.Builder
		class.WriteString("[")
		for _, c := range []byte(others) {
			class.WriteString(`\` + string([]byte{c}))
		}
		p, err = access.ExpandPattern(class.String()+"{user}]", "{user}", user)
		want := len(name) == 1 && strings.IndexByte(others+user, name[0]) >= 0
		if err == nil && p.Match(name) != want {
			t.Errorf("%s{user}] for %q: Match(%q) = %v", class.String(), user, name, p.Match(name))
		}
	})
}
