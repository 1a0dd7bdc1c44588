package access

// Overlaps reports whether any name matches both patterns. The time is
// proportional to the product of both lengths.
func (p Pattern) Overlaps(q Pattern) bool {
	if p.source == "" || q.source == "" {
		return false
	}
	a, b := p.tokens(), q.tokens()
	// reached[j] reports whether some text matches the tokens of a before the
	// current one and the tokens of b before j.
	reached := make([]bool, len(b)+1)
	reached[0] = true
	for i := 0; ; i++ {
		for j := range b { // a star of b may match nothing
			reached[j+1] = reached[j+1] || reached[j] && b[j].kind == tokenStar
		}
		if i == len(a) {
			return reached[len(b)]
		}
		next := make([]bool, len(b)+1)
		for j := range reached {
			switch {
			case !reached[j]:
			case a[i].kind == tokenStar: // it may match nothing, or what b has next
				next[j] = true
				if j < len(b) && a[i].meets(b[j]) {
					reached[j+1] = true
				}
			case j < len(b) && b[j].kind == tokenStar && a[i].meets(b[j]):
				next[j] = true
			case j < len(b) && b[j].kind != tokenStar && a[i].meets(b[j]):
				next[j+1] = true
			}
		}
		reached = next
	}
}

// tokens returns the tokens of the whole pattern.
func (p *Pattern) tokens() []token {
	list := make([]token, 0, len(p.prefix)+len(p.rest))
	for _, c := range []byte(p.prefix) {
		list = append(list, token{kind: tokenChar, char: c})
	}
	return append(list, p.rest...)
}

// meets reports whether any byte matches both tokens. A class can be empty.
func (t *token) meets(other token) bool {
	for c := range 256 {
		if (t.kind == tokenStar || t.matches(byte(c))) && (other.kind == tokenStar || other.matches(byte(c))) {
			return true
		}
	}
	return false
}
