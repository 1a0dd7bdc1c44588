package config

import (
	"strings"

	"sidecast/relay/access"
	"sidecast/relay/syntax"
)

// userPlaceholder stands for the user's id in USER_CHANNELS and in grants.
const userPlaceholder = "{user}"

// A List is written with commas. Items are trimmed, empty items are ignored,
// and at least one item must remain. An item cannot contain a comma; in a
// pattern, `?` can replace it.
type List []string

// Decode reads a list.
func (l *List) Decode(value string) error {
	var items List
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return syntax.New("is a list without items", "separate items with commas, or unset it")
	}
	*l = items
	return nil
}

// String returns the list in the form that Decode reads.
func (l List) String() string { return strings.Join(l, ",") }

// A PatternList is a [List] of channel patterns. Its order matters: if several
// patterns match a channel, the first counts.
type PatternList []access.Pattern

// Decode reads a list of patterns.
func (l *PatternList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	patterns := make(PatternList, len(items))
	for i, item := range items {
		// Here {user} stands for itself, but in a class it is a mistake as well.
		pattern, err := access.ExpandPattern(item, userPlaceholder, userPlaceholder)
		if err != nil {
			return syntax.New(syntax.Quote(item)+": "+err.Error(), "write Redis globs, as for PSUBSCRIBE")
		}
		patterns[i] = pattern
	}
	*l = patterns
	return nil
}

// String returns the list in the form that Decode reads.
func (l PatternList) String() string {
	items := make([]string, len(l))
	for i, pattern := range l {
		items[i] = pattern.String()
	}
	return strings.Join(items, ",")
}

// MarshalText returns what String returns.
func (l PatternList) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
