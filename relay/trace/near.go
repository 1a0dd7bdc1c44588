package trace

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"sidecast/relay/access"
)

// A Likeness says how two names differ, if one of them is probably a mistake for
// the other.
type Likeness string

// The likenesses, the most certain first.
const (
	Unlike        Likeness = ""
	LikeBlank     Likeness = "blank"     // one has blanks around it
	LikeCase      Likeness = "case"      // capital letters
	LikeSeparator Likeness = "separator" // colons, dots, dashes, slashes or underscores, or their number
	LikePrefix    Likeness = "prefix"    // one has a prefix that the other lacks
	LikeCharacter Likeness = "character" // one character is missing, added, another one, or swapped with the next
)

// likenesses is their order.
var likenesses = []Likeness{LikeBlank, LikeCase, LikeSeparator, LikePrefix, LikeCharacter}

// minLike is the length, in bytes, of the shortest names that can be alike: of
// shorter ones, all are.
const minLike = 3

// separators are the characters between the parts of a name.
const separators = ":.-_/|"

// Compare returns how two names differ. Names that differ only in their numbers
// are those of different things, and not alike.
func Compare(a, b string) Likeness {
	if a == b {
		return Unlike
	}
	if strings.TrimSpace(a) == strings.TrimSpace(b) {
		return LikeBlank
	}
	if min(len(a), len(b)) < minLike {
		return Unlike
	}
	switch {
	case strings.EqualFold(a, b):
		return LikeCase
	case sameWithoutSeparators(a, b):
		return LikeSeparator
	case extraPrefix(a, b) != "", extraPrefix(b, a) != "":
		return LikePrefix
	case oneCharacter(a, b) && !sameWithoutNumbers(a, b):
		return LikeCharacter
	}
	return Unlike
}

// sameWithoutSeparators compares names whose parts may be separated by others,
// or not at all.
func sameWithoutSeparators(a, b string) bool {
	for {
		a, b = strings.TrimLeft(a, separators), strings.TrimLeft(b, separators)
		switch {
		case a == "" || b == "":
			return a == b
		case a[0] != b[0]:
			return false
		}
		digits := isDigit(a[0])
		a, b = a[1:], b[1:]
		// 1:23 and 12:3 are two numbers each.
		if digits && startsWithDigit(a) != startsWithDigit(b) {
			return false
		}
	}
}

// extraPrefix returns what long has before short, if that is probably a prefix
// of its own.
func extraPrefix(long, short string) string {
	prefix, ok := strings.CutSuffix(long, short)
	if !ok || prefix == "" {
		return ""
	}
	if strings.Contains(separators, prefix[len(prefix)-1:]) && !startsWithDigit(short) {
		return prefix
	}
	if guess := LibraryPrefix(long); guess == prefix {
		return prefix
	}
	return ""
}

// oneCharacter reports whether one character is missing, added, replaced or
// swapped with its neighbor.
func oneCharacter(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0] {
		return true
	}
	// The rest can begin and end within a character.
	return len(a) <= utf8.UTFMax && len(b) <= utf8.UTFMax && utf8.RuneCountInString(a) <= 1 && utf8.RuneCountInString(b) <= 1
}

// sameWithoutNumbers compares names of which each number may be another one.
func sameWithoutNumbers(a, b string) bool {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			a, b = strings.TrimLeft(a, digits), strings.TrimLeft(b, digits)
			continue
		}
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
	return a == b
}

const digits = "0123456789"

func isDigit(c byte) bool              { return c >= '0' && c <= '9' }
func startsWithDigit(name string) bool { return name != "" && isDigit(name[0]) }

var (
	databasePrefix = regexp.MustCompile(`^.*?[-_]database[-_]`)
	insidePrefix   = regexp.MustCompile(`^(.*?[-_:])(private-|presence-)`)
)

// LibraryPrefix returns the prefix that a library has probably added to the name
// of a channel, or "".
func LibraryPrefix(name string) string {
	if access.KindOf(name).Guarded() {
		return ""
	}
	if prefix := databasePrefix.FindString(name); prefix != "" {
		return prefix
	}
	if found := insidePrefix.FindStringSubmatch(name); found != nil {
		return found[1]
	}
	return ""
}

// A PatternMiss is a pattern that almost matches a name.
type PatternMiss struct {
	Pattern string   `json:"pattern"`
	Setting string   `json:"setting"`
	How     Likeness `json:"how"`
	Name    string   `json:"name"` // that the pattern does match
}

// minPattern is how many bytes of a name a pattern must fix to miss another name
// by one of them: a pattern of one letter misses every letter.
const minPattern = 3

// nearestPattern returns the pattern of a list that misses the name by the
// least, or false.
func nearestPattern(patterns access.Patterns, name string) (PatternMiss, bool) {
	var best PatternMiss
	for _, p := range patterns {
		if miss, ok := missOf(p, name); ok && (best.How == Unlike || rank(miss.How) < rank(best.How)) {
			best = miss
		}
	}
	return best, best.How != Unlike
}

func rank(l Likeness) int {
	for i, other := range likenesses {
		if l == other {
			return i
		}
	}
	return len(likenesses)
}

// missOf returns how a pattern misses a name that it does not match.
func missOf(p access.Pattern, name string) (PatternMiss, bool) {
	miss := PatternMiss{Pattern: p.String()}
	if p.Literals() < minPattern {
		return miss, false
	}
	if trimmed := strings.TrimSpace(name); trimmed != name && p.Match(trimmed) {
		miss.How, miss.Name = LikeBlank, trimmed
		return miss, true
	}
	if folded := withCaseOf(p, name); folded != "" {
		miss.How, miss.Name = LikeCase, folded
		return miss, true
	}
	// Of two patterns that a prefix misses, such as *:a and b:*, only the second
	// says where the name begins.
	for i := 1; i < len(name) && p.Prefix() != ""; i++ {
		if strings.Contains(separators, name[i-1:i]) && p.Match(name[i:]) {
			miss.How, miss.Name = LikePrefix, name[i:]
			return miss, true
		}
	}
	if nearest, edits := p.Nearest(name); edits == 1 && utf8.ValidString(nearest) {
		miss.How, miss.Name = LikeCharacter, nearest
		if Compare(nearest, name) == LikeSeparator {
			miss.How = LikeSeparator
		}
		return miss, true
	}
	return miss, false
}

// withCaseOf returns a name that the pattern matches and that differs from this
// one in capital letters only, or "".
func withCaseOf(p access.Pattern, name string) string {
	folded, err := access.ParsePattern(strings.ToLower(p.String()))
	if err != nil || !folded.Match(strings.ToLower(name)) {
		return ""
	}
	if lower := strings.ToLower(name); p.Match(lower) {
		return lower
	}
	if n := len(p.Prefix()); n <= len(name) && p.Match(p.Prefix()+name[n:]) {
		return p.Prefix() + name[n:]
	}
	return ""
}
