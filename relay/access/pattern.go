package access

import (
	"errors"
	"fmt"
	"strings"
)

// MaxPattern bounds the length of a pattern in bytes.
const MaxPattern = 512

// A Pattern is a Redis glob: `*` any bytes, `?` one byte, `[ab]`, `[a-z]` and `[^a]` classes, `\x` the letter x. It
// matches byte for byte what PSUBSCRIBE matches, so `*` crosses `:` and `?` is one byte, not one rune. One matcher serves
// settings, grants and control. The zero Pattern matches nothing. A Pattern is immutable.
type Pattern struct {
	source string
	prefix string  // literal bytes in front of the first wildcard
	rest   []token // what follows the prefix; nil for a pattern without wildcards
}

// A token matches one byte, or any number of them (star).
type token struct {
	kind tokenKind
	char byte
	set  *[4]uint64 // for a class: one bit a byte
}

type tokenKind uint8

const (
	tokenChar tokenKind = iota
	tokenAny
	tokenSet
	tokenStar
)

var (
	errPatternEmpty    = errors.New("pattern is empty")
	errPatternLong     = fmt.Errorf("pattern is longer than %d bytes", MaxPattern)
	errPatternEscape   = errors.New(`pattern ends in a backslash; write \\ for a backslash`)
	errPatternUnclosed = errors.New(`pattern has a [ without its ]; write \[ for a bracket`)
)

// ParsePattern compiles a glob. It refuses empty and overlong ones, a trailing backslash and an unclosed class, which
// Redis would take and read in a way that nobody means.
func ParsePattern(source string) (Pattern, error) {
	switch {
	case source == "":
		return Pattern{}, errPatternEmpty
	case len(source) > MaxPattern:
		return Pattern{}, errPatternLong
	}
	var tokens []token
	for i := 0; i < len(source); {
		t, n, err := nextToken(source[i:])
		if err != nil {
			return Pattern{}, err
		}
		i += n
		if t.kind == tokenStar && len(tokens) > 0 && tokens[len(tokens)-1].kind == tokenStar {
			continue
		}
		tokens = append(tokens, t)
	}
	p := Pattern{source: source}
	var literal strings.Builder
	for len(tokens) > 0 && tokens[0].kind == tokenChar {
		literal.WriteByte(tokens[0].char)
		tokens = tokens[1:]
	}
	p.prefix = literal.String()
	if len(tokens) > 0 {
		p.rest = tokens
	}
	return p, nil
}

// MustPattern is [ParsePattern] for patterns known to be good; it panics on others.
func MustPattern(source string) Pattern {
	p, err := ParsePattern(source)
	if err != nil {
		panic(fmt.Sprintf("relay.MustPattern(%q): %v", source, err))
	}
	return p
}

// EscapePattern returns a pattern that matches exactly s.
func EscapePattern(s string) string {
	if !strings.ContainsAny(s, `*?[]^\`) {
		return s
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(`*?[]^\`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

func nextToken(s string) (t token, n int, err error) {
	switch s[0] {
	case '*':
		return token{kind: tokenStar}, 1, nil
	case '?':
		return token{kind: tokenAny}, 1, nil
	case '[':
		return classToken(s)
	case '\\':
		if len(s) == 1 {
			return token{}, 0, errPatternEscape
		}
		return token{kind: tokenChar, char: s[1]}, 2, nil
	}
	return token{kind: tokenChar, char: s[0]}, 1, nil
}

// classToken reads a class as Redis does: a `]` ends it even as the first letter, `\x` is x, a range may run backwards,
// and an escape does not begin a range.
func classToken(s string) (t token, n int, err error) {
	set := new([4]uint64)
	add := func(c byte) { set[c>>6] |= 1 << (c & 63) }
	i := 1
	negated := i < len(s) && s[i] == '^'
	if negated {
		i++
	}
	for ; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			add(s[i])
		case s[i] == ']':
			if negated {
				for k := range set {
					set[k] = ^set[k]
				}
			}
			return token{kind: tokenSet, set: set}, i + 1, nil
		case i+2 < len(s) && s[i+1] == '-':
			low, high := min(s[i], s[i+2]), max(s[i], s[i+2])
			for c := int(low); c <= int(high); c++ {
				add(byte(c))
			}
			i += 2
		default:
			add(s[i])
		}
	}
	return token{}, 0, errPatternUnclosed
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.source }

// Match reports whether name matches, in time proportional to the product of both lengths at worst.
func (p Pattern) Match(name string) bool { return match(&p, name) }

// MatchBytes is [Pattern.Match] for a name that is still in a buffer.
func (p Pattern) MatchBytes(name []byte) bool { return match(&p, name) }

func match[T string | []byte](p *Pattern, name T) bool {
	if p.source == "" || len(name) < len(p.prefix) || string(name[:len(p.prefix)]) != p.prefix {
		return false
	}
	name = name[len(p.prefix):]
	if len(p.rest) == 0 {
		return len(name) == 0
	}
	// Only the last star seen can still have to grow: whatever an earlier one could take, the later one can too.
	star, mark := -1, 0
	t := 0
	for i := 0; i < len(name); {
		switch {
		case t < len(p.rest) && p.rest[t].kind == tokenStar:
			if t == len(p.rest)-1 {
				return true
			}
			star, mark = t, i
			t++
		case t < len(p.rest) && p.rest[t].matches(name[i]):
			t++
			i++
		case star >= 0:
			mark++
			t, i = star+1, mark
		default:
			return false
		}
	}
	for t < len(p.rest) && p.rest[t].kind == tokenStar {
		t++
	}
	return t == len(p.rest)
}

func (t *token) matches(c byte) bool {
	switch t.kind {
	case tokenAny:
		return true
	case tokenSet:
		return t.set[c>>6]&(1<<(c&63)) != 0
	}
	return t.char == c
}

// Patterns is a list in configuration order; where several match, the first owns the channel.
type Patterns []Pattern

// ParsePatterns compiles a list and names the pattern that is wrong.
func ParsePatterns(sources []string) (Patterns, error) {
	list := make(Patterns, 0, len(sources))
	for _, source := range sources {
		p, err := ParsePattern(source)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", source, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// Match reports whether any pattern of the list matches name.
func (l Patterns) Match(name string) bool { return l.Owner(name) >= 0 }

// Owner returns the index of the first pattern that matches name, or -1.
func (l Patterns) Owner(name string) int {
	for i := range l {
		if l[i].Match(name) {
			return i
		}
	}
	return -1
}

// OwnerBytes is [Patterns.Owner] for a name that is still in a buffer.
func (l Patterns) OwnerBytes(name []byte) int {
	for i := range l {
		if l[i].MatchBytes(name) {
			return i
		}
	}
	return -1
}
