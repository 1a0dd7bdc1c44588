package source

import (
	"errors"

	"sidecast/relay/stream"
)

// errStreamReply reports that an answer does not have the form that Redis uses.
var errStreamReply = errors.New("the server's answer is not about a stream")

// page parses the answer to XRANGE. go-redis's own types lose the order of the
// fields, and repeated fields.
func (s *streams) page(reply any, limit int) (page stream.Page, err error) {
	list, ok := reply.([]any)
	if !ok && reply != nil {
		return page, errStreamReply
	}
	for _, raw := range list {
		entry, ok := s.entry(raw)
		if !ok {
			return stream.Page{}, errStreamReply
		}
		page.Entries = append(page.Entries, entry)
	}
	page.More = len(list) >= limit
	return page, nil
}

// entry parses an id with its fields.
func (s *streams) entry(raw any) (e stream.Entry, ok bool) {
	pair, _ := raw.([]any)
	if len(pair) != 2 {
		return e, false
	}
	text, _ := pair[0].(string)
	id, ok := stream.ParseID(text)
	if !ok {
		return e, false
	}
	values, ok := pair[1].([]any)
	if !ok {
		return e, false
	}
	fields := make([]string, len(values))
	for i, value := range values {
		if fields[i], ok = value.(string); !ok {
			return e, false
		}
	}
	return stream.NewEntry(id, fields, s.maxPayload), true
}

// parseInfo parses the answer to XINFO STREAM.
func parseInfo(fields map[string]any) (stream.State, error) {
	state := stream.State{Exists: true, Added: -1}
	found := 0
	for name, value := range fields {
		number, _ := value.(int64)
		switch name {
		case "length":
			state.Length = number
			found++
		case "entries-added":
			state.Added = number
		case "last-generated-id":
			text, _ := value.(string)
			var ok bool
			if state.Last, ok = stream.ParseID(text); ok {
				found++
			}
		}
	}
	if found != 2 {
		return stream.State{}, errStreamReply
	}
	return state, nil
}
