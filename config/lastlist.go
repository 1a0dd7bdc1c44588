package config

import (
	"strconv"
	"strings"

	"sidecast/relay/access"
	"sidecast/relay/syntax"
)

// A LastList is a [List] of items PATTERN=N: how many of the newest messages of
// a channel a client first receives. Its order matters: if several patterns
// match a channel, the first counts.
type LastList []LastItem

// A LastItem is one item of a [LastList].
type LastItem struct {
	Pattern access.Pattern
	N       int
}

// maxLast is the largest number in a [LastList]; package protocol has the same
// limit for clients.
const maxLast = 100

// Decode reads a list.
func (l *LastList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	list := make(LastList, len(items))
	for i, text := range items {
		item, err := decodeLastItem(text)
		if err != nil {
			return err
		}
		list[i] = item
	}
	*l = list
	return nil
}

// decodeLastItem reads one item. A pattern may contain =, so the last one
// counts.
func decodeLastItem(text string) (item LastItem, err error) {
	i := strings.LastIndexByte(text, '=')
	if i < 0 {
		return item, syntax.New(syntax.Quote(text)+" has no number", "write "+text+"=1 for the newest message")
	}
	var pattern PatternList
	if err := pattern.Decode(text[:i]); err != nil {
		return item, err
	}
	n, err := parseCount(text[i+1:])
	if err == nil && n > maxLast {
		err = syntax.New(syntax.Quote(text)+": the number is above the maximum", "write at most "+strconv.Itoa(maxLast))
	}
	if err != nil {
		return item, err
	}
	return LastItem{pattern[0], n}, nil
}

// For returns how many of the newest messages of a channel a client first
// receives.
func (l LastList) For(channel string) int {
	for _, item := range l {
		if item.Pattern.Match(channel) {
			return item.N
		}
	}
	return 0
}

// String returns the list in the form that Decode reads.
func (l LastList) String() string {
	items := make([]string, len(l))
	for i, item := range l {
		items[i] = item.Pattern.String() + "=" + strconv.Itoa(item.N)
	}
	return strings.Join(items, ",")
}

// MarshalText returns what String returns.
func (l LastList) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
