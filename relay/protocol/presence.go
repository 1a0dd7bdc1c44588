package protocol

import "strconv"

// AppendMember appends the JSON object of a member of a channel, as in a list of
// members. info is JSON text, or empty.
func AppendMember(b []byte, user string, info []byte) []byte {
	b = appendQuoted(append(b, `{"user":`...), user)
	return append(appendInfo(b, info), '}')
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
