package access

import "fmt"

// Patterns is a list of patterns in the order of the settings. If several match
// a channel, the first one owns it.
type Patterns []Pattern

// ParsePatterns compiles a list of patterns. Its error contains the pattern
// that is invalid.
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
func (p Patterns) Match(name string) bool { return p.Owner(name) >= 0 }

// Owner returns the index of the first pattern that matches name, or -1.
func (p Patterns) Owner(name string) int {
	for i := range p {
		if p[i].Match(name) {
			return i
		}
	}
	return -1
}

// OwnerBytes is like [Patterns.Owner] for a name in a buffer. It does not
// allocate.
func (p Patterns) OwnerBytes(name []byte) int {
	for i := range p {
		if p[i].MatchBytes(name) {
			return i
		}
	}
	return -1
}
