package protocol

import (
	"bytes"
	"iter"
	"strconv"
)

// AppendMember appends the JSON object of a member of a channel, as in a list of
// members. info is JSON text, or empty.
func AppendMember(b []byte, user string, info []byte) []byte {
	b = appendQuoted(append(b, `{"user":`...), user)
	return append(appendInfo(b, info), '}')
}

// membersOf returns the users, in JSON, and the infos in a list of what
// [AppendMember] appends. It only looks for their ends: clients that return to a
// large channel at once receive its list under a lock.
func membersOf(list []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(user, info []byte) bool) {
		for len(list) > 0 {
			rest, ok := bytes.CutPrefix(list[1:], []byte(`{"user":`)) // after the bracket or a comma
			if !ok {
				return
			}
			user, rest := cutValue(rest)
			var info []byte
			if after, ok := bytes.CutPrefix(rest, []byte(`,"info":`)); ok {
				info, rest = cutValue(bytes.TrimLeft(after, jsonSpace))
				rest = bytes.TrimLeft(rest, jsonSpace)
			}
			if len(rest) == 0 || !yield(user, info) {
				return
			}
			list = rest[1:]
		}
	}
}

func appendInfo(b, info []byte) []byte {
	if len(info) == 0 {
		return b
	}
	return append(append(b, `,"info":`...), info...)
}

// appendMembers appends the members and their number, if they are known.
func appendMembers(b []byte, e Event) []byte {
	if e.Members != nil {
		b = append(append(b, `,"members":`...), e.Members...)
	}
	return appendCount(b, e.Count)
}

func appendCount(b []byte, count int) []byte {
	return strconv.AppendInt(append(b, `,"count":`...), int64(count), 10)
}

// appendPresence appends an event about the members of a channel.
func appendPresence(b []byte, e Event) []byte {
	switch e.Type {
	case EventJoin:
		b = appendField(append(b, `{"type":"join"`...), "channel", e.Channel)
		return appendCount(appendInfo(appendField(b, "user", e.User), e.Info), e.Count)
	case EventLeave:
		b = appendField(append(b, `{"type":"leave"`...), "channel", e.Channel)
		return appendCount(appendField(b, "user", e.User), e.Count)
	}
	return appendMembers(appendField(append(b, `{"type":"members"`...), "channel", e.Channel), e)
}
