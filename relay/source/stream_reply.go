package source

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

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

// newInfo returns the command that reads what Redis knows about a stream.
func newInfo(ctx context.Context, key string) *redis.MapStringInterfaceCmd {
	return redis.NewMapStringInterfaceCmd(ctx, "XINFO", "STREAM", key)
}

// isNoKey reports whether XINFO answered that the stream does not exist.
func isNoKey(err error) bool { return err != nil && strings.Contains(err.Error(), "no such key") }

// state returns the answer to info, which was sent to node.
func (s *streams) state(
	ctx context.Context, node streamNode, key string, info *redis.MapStringInterfaceCmd,
) (stream.State, error) {
	switch err := info.Err(); {
	case isNoKey(err):
		return stream.State{Added: -1}, nil
	case err != nil:
		return stream.State{}, err
	}
	state, err := s.parseInfo(info.Val())
	if _, complete := info.Val()["last-entry"]; err != nil || complete {
		return state, err
	}
	return s.addTail(ctx, node, key, state)
}

// addTail adds the last entry to a state, because miniredis does not report it.
// The entry may be newer than the rest: then it is what was added last.
func (s *streams) addTail(
	ctx context.Context, node streamNode, key string, state stream.State,
) (stream.State, error) {
	last := redis.NewCmd(ctx, "XREVRANGE", key, "+", "-", "COUNT", 1)
	if err := node.run(ctx, last); err != nil {
		return state, err
	}
	page, err := s.page(last.Val(), 1)
	if len(page.Entries) > 0 {
		state.Tail = page.Entries[0].Cursor
		if state.Last.Compare(state.Tail.ID) < 0 {
			state.Last = state.Tail.ID
		}
	}
	return state, err
}

// parseInfo parses the answer to XINFO STREAM.
func (s *streams) parseInfo(fields map[string]any) (stream.State, error) {
	state := stream.State{Exists: true, Added: -1}
	var hasLength, hasLast bool
	state.Length, hasLength = fields["length"].(int64)
	if added, ok := fields["entries-added"].(int64); ok {
		state.Added = added
	}
	text, _ := fields["last-generated-id"].(string)
	state.Last, hasLast = stream.ParseID(text)
	if !hasLength || !hasLast {
		return stream.State{}, errStreamReply
	}
	// These are null if the stream is empty.
	if first, ok := s.entry(fields["first-entry"]); ok {
		state.First = first.Cursor
	}
	if last, ok := s.entry(fields["last-entry"]); ok {
		state.Tail = last.Cursor
	}
	return state, nil
}
