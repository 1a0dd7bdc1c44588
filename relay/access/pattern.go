package access

import (
	"errors"
	"fmt"
	"strings"
)

// MaxPattern is the maximum length of a pattern, in bytes.
const MaxPattern = 512

// A Pattern is a Redis glob: `*` matches any bytes, `?` matches one byte,
// `[ab]`, `[a-z]` and `[^a]` are classes, and `\x` matches the character x. It
// matches exactly the names that PSUBSCRIBE matches. So `*` also matches `:`,
// and `?` matches one byte, not one character. Settings and grants use the same
// matcher. The zero Pattern matches nothing. A Pattern is immutable.
type Pattern struct {
	source string
	prefix string  // literal bytes before the first wildcard
	rest   []token // the tokens after the prefix; nil for a pattern without wildcards
}

// A token matches one byte, or any number of bytes (tokenStar).
type token struct {
	kind tokenKind
	char byte
	set  *[4]uint64 // for a class: one bit for each byte
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

// ParsePattern compiles a glob. It rejects an empty pattern and one longer than
// [MaxPattern]. It also rejects a backslash at the end and an unclosed class:
// Redis accepts both, but with a meaning that is not obvious.
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

// MustPattern is like [ParsePattern], but panics if the pattern is invalid.
func MustPattern(source string) Pattern {
	p, err := ParsePattern(source)
	if err != nil {
		panic(fmt.Sprintf("access.MustPattern(%q): %v", source, err))
	}
	return p
}

// EscapePattern returns a pattern that matches only s.
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

// classToken parses a class as Redis does: `]` ends the class even as its first
// character, `\x` is x, the ends of a range may be in either order, and an
// escaped character does not begin a range.
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

// String returns the source of the pattern.
func (p Pattern) String() string { return p.source }

// Match reports whether the pattern matches name. In the worst case the time is
// proportional to the product of both lengths.
func (p Pattern) Match(name string) bool { return match(&p, name) }

// MatchBytes is like [Pattern.Match] for a name in a buffer. It does not
// allocate.
func (p Pattern) MatchBytes(name []byte) bool { return match(&p, name) }

func match[T string | []byte](p *Pattern, name T) bool {
	if p.source == "" || len(name) < len(p.prefix) || string(name[:len(p.prefix)]) != p.prefix {
		return false
	}
	name = name[len(p.prefix):]
	if len(p.rest) == 0 {
		return len(name) == 0
	}
	// Only the last star may have to match more bytes: all bytes that an
	// earlier star could match, the last one can match too.
	star, starEnd := -1, 0
	t := 0
	for i := 0; i < len(name); {
		switch {
		case t < len(p.rest) && p.rest[t].kind == tokenStar:
			if t == len(p.rest)-1 {
				return true
			}
			star, starEnd = t, i
			t++
		case t < len(p.rest) && p.rest[t].matches(name[i]):
			t++
			i++
		case star >= 0:
			starEnd++
			t, i = star+1, starEnd
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
