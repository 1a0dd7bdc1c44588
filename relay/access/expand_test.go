package access_test

import (
	"strings"
	"testing"

	"sidecast/relay/access"
)

// TestExpandPattern checks that no byte of a user's id acts as a wildcard,
// and that a placeholder in a class is rejected.
func TestExpandPattern(t *testing.T) {
	for _, tt := range []struct {
		source, user string
		open, closed []string
	}{
		{"inbox:{user}:*", "42", []string{"inbox:42:a"}, []string{"inbox:43:a"}},
		{"inbox:{user}", "*", []string{"inbox:*"}, []string{"inbox:42"}},
		{"{user}{user}", "?", []string{"??"}, []string{"ab", "?"}},
		{"room:[a]{user}", "*", []string{"room:a*"}, []string{"room:ab"}},
		{`room:[a-\]{user}`, "*", []string{"room:a*", `room:\*`}, []string{"room:ab", "room:-*"}},
		{`room:[\{user}]`, "*", []string{"room:u", "room:{"}, []string{"room:*"}},
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
	for _, source := range []string{
		"[{user}]", "room:[{user}]", "[^{user}]", "[x{user}]", "[{user}z]", "[{user}-z]", "[a-c{user}]", "[a-{user}]", "[{-{user}]",
		`[\]{user}]`, "[[{user}]", "[ab]{user}[{user}]", "[{user}", `{user}\`, "",
	} {
		if p, err := access.ExpandPattern(source, "{user}", "42"); err == nil {
			t.Errorf("%q is accepted as %q", source, p)
		}
	}
}

// FuzzExpandPattern checks that a user's id matches only itself, whatever other
// characters are in the pattern, and that none is accepted in a class.
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
		if p, err = access.ExpandPattern(class.String()+"{user}]", "{user}", user); err == nil {
			t.Errorf("%s{user}] is accepted as %q", class.String(), p)
		}
	})
}
