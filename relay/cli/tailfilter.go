package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// A tailFilter selects messages by their payload. The zero value selects all.
type tailFilter struct {
	path  []string // names of fields, from the outermost object; nil to search text in the whole payload
	value string
}

// filterUsage says how a filter is written.
const filterUsage = "write .field=value for a field of JSON, such as .type=order or .user.id=42, or a text that the payload contains"

// parseTailFilter reads a filter. A dot at the beginning distinguishes a field
// from a text, which may contain anything else.
func parseTailFilter(text string) (tailFilter, error) {
	field, isField := strings.CutPrefix(text, ".")
	if text == "" {
		return tailFilter{}, usageError("it is empty: " + filterUsage)
	}
	if !isField {
		return tailFilter{value: text}, nil
	}
	names, value, hasValue := strings.Cut(field, "=")
	path := strings.Split(names, ".")
	if !hasValue || slices.Contains(path, "") {
		return tailFilter{}, usageError(filterUsage)
	}
	return tailFilter{path, value}, nil
}

// matches reports whether a filter selects a payload.
func (f tailFilter) matches(payload []byte) bool {
	if f.path == nil {
		return bytes.Contains(payload, []byte(f.value))
	}
	for _, name := range f.path {
		var object map[string]json.RawMessage
		if json.Unmarshal(payload, &object) != nil {
			return false
		}
		field, ok := object[name]
		if !ok {
			return false
		}
		payload = field
	}
	var text string
	if payload[0] == '"' && json.Unmarshal(payload, &text) == nil {
		return text == f.value
	}
	return string(payload) == f.value // a number, true, false or null, as the payload writes it
}

// tailFilters are filters that all have to match.
type tailFilters []tailFilter

// add is the value of an option that may be repeated.
func (f *tailFilters) add(text string) error {
	filter, err := parseTailFilter(text)
	if err == nil {
		*f = append(*f, filter)
	}
	return err
}

func (f tailFilters) match(payload []byte) bool {
	return !slices.ContainsFunc(f, func(filter tailFilter) bool { return !filter.matches(payload) })
}
