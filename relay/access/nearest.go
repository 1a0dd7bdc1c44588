package access

import (
	"math"
	"strings"
)

// Nearest returns the name that the pattern matches and that differs from name
// in the fewest bytes, and in how many: those to insert, remove or replace. A
// pattern that matches name returns it, and 0. The zero Pattern matches
// nothing, and returns a number that no name has.
//
// The time is proportional to the product of both lengths.
func (p Pattern) Nearest(name string) (nearest string, edits int) {
	if p.source == "" {
		return "", math.MaxInt
	}
	tokens := make([]token, 0, len(p.prefix)+len(p.rest))
	for i := range len(p.prefix) {
		tokens = append(tokens, token{kind: tokenChar, char: p.prefix[i]})
	}
	tokens = append(tokens, p.rest...)
	g := newEditGrid(tokens, name)
	return g.nearest(), int(g.cost(len(tokens), len(name)))
}

// An editGrid holds for each number of tokens and each number of bytes how many
// edits make these first bytes match these first tokens.
type editGrid struct {
	tokens []token
	name   string
	costs  []uint16
}

func (g *editGrid) at(t, i int) *uint16  { return &g.costs[t*(len(g.name)+1)+i] }
func (g *editGrid) cost(t, i int) uint16 { return *g.at(t, i) }
func (g *editGrid) isStar(t int) bool    { return g.tokens[t].kind == tokenStar }
func (g *editGrid) replaces(t, i int) uint16 {
	if g.tokens[t].matches(g.name[i]) {
		return 0
	}
	return 1
}

func newEditGrid(tokens []token, name string) *editGrid {
	g := &editGrid{tokens: tokens, name: name, costs: make([]uint16, (len(tokens)+1)*(len(name)+1))}
	for i := range len(name) + 1 {
		*g.at(0, i) = uint16(i)
	}
	for t := range tokens {
		for i := range len(name) + 1 {
			*g.at(t+1, i) = g.cheapest(t, i)
		}
	}
	return g
}

// cheapest returns the cost of matching the first i bytes with the tokens up to
// t, from those of fewer tokens and bytes.
func (g *editGrid) cheapest(t, i int) uint16 {
	if g.isStar(t) {
		if i == 0 {
			return g.cost(t, 0)
		}
		return min(g.cost(t, i), g.cost(t+1, i-1))
	}
	best := g.cost(t, i) + 1 // insert a byte for the token
	if i > 0 {
		best = min(best, g.cost(t+1, i-1)+1, g.cost(t, i-1)+g.replaces(t, i-1))
	}
	return best
}

// nearest returns the name after the edits.
func (g *editGrid) nearest() string {
	var reversed []byte
	t, i := len(g.tokens), len(g.name)
	for t > 0 || i > 0 {
		here := g.cost(t, i)
		switch {
		case t == 0:
			i--
		case g.isStar(t-1) && here == g.cost(t-1, i): // rather an edit before the star than an insertion
			t--
		case g.isStar(t - 1):
			i--
			reversed = append(reversed, g.name[i])
		case i > 0 && here == g.cost(t-1, i-1)+g.replaces(t-1, i-1):
			t, i = t-1, i-1
			if g.replaces(t, i) == 0 {
				reversed = append(reversed, g.name[i])
			} else {
				reversed = append(reversed, g.tokens[t].example())
			}
		case i > 0 && here == g.cost(t, i-1)+1:
			i--
		default:
			t--
			reversed = append(reversed, g.tokens[t].example())
		}
	}
	var b strings.Builder
	for k := len(reversed) - 1; k >= 0; k-- {
		b.WriteByte(reversed[k])
	}
	return b.String()
}

// example returns a byte that the token matches, if there is one: a printable
// one if possible.
func (t *token) example() byte {
	if t.kind == tokenChar {
		return t.char
	}
	for _, c := range []byte("x1a0A-:") {
		if t.matches(c) {
			return c
		}
	}
	for c := range 256 {
		if t.matches(byte((c + ' ') % 256)) {
			return byte((c + ' ') % 256)
		}
	}
	return 'x'
}

// Literals returns how many bytes of a name the pattern fixes.
func (p Pattern) Literals() int {
	n := len(p.prefix)
	for i := range p.rest {
		if p.rest[i].kind == tokenChar {
			n++
		}
	}
	return n
}

// Prefix returns the bytes with which all names begin that the pattern matches.
func (p Pattern) Prefix() string { return p.prefix }
