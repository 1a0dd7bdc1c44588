package source

import (
	"errors"
	"sidecast/relay/stream"
)

// errStreamReply says that an answer has not the shape that it has in Redis.
var errStreamReply = errors.New("the server's answer is not about a stream")

// page reads the answer to XRANGE. go-redis's own types lose the order of the fields, and fields of the same name.
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

// entry reads an id with its fields.
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
	return stream.NewEntry(id, fields, s.limit), true
}

// readInfo reads the answer to XINFO STREAM: a list of names and values, or in RESP3 a map.
func readInfo(reply any) (stream.State, error) {
	state := stream.State{Exists: true, Added: -1}
	found := 0
	note := func(name, value any) {
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
	switch reply := reply.(type) {
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			note(reply[i], reply[i+1])
		}
	case map[any]any:
		for name, value := range reply {
			note(name, value)
		}
	}
	if found != 2 {
		return stream.State{}, errStreamReply
	}
	return state, nil
}
