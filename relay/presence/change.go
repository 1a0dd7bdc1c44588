package presence

import (
	"bytes"
	"strconv"

	"sidecast/relay/access"
	"sidecast/relay/roster"
)

// parseChanges decodes a message that a script has published: the channel in
// the first line, and a change in each other one, whose fields are separated by
// tabs. Neither is in a name or in compact JSON. ok is false if it is anything
// else. The result does not share payload's memory.
func parseChanges(payload []byte) (channel string, changes []roster.Change, ok bool) {
	name, rest, found := bytes.Cut(payload, []byte{'\n'})
	if !found || !access.ValidChannel(name) {
		return "", nil, false
	}
	for line := range bytes.SplitSeq(rest, []byte{'\n'}) {
		change, ok := parseChange(line)
		if !ok {
			return "", nil, false
		}
		changes = append(changes, change)
	}
	return string(name), changes, true
}

// parseChange decodes a line: version, kind, count, user and info.
func parseChange(line []byte) (c roster.Change, ok bool) {
	fields := bytes.SplitN(line, []byte{'\t'}, 5)
	if len(fields) != 5 || len(fields[1]) != 1 || !access.ValidUser(fields[3]) || !validInfo(fields[4]) {
		return c, false
	}
	version, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return c, false
	}
	count, err := strconv.Atoi(string(fields[2]))
	if err != nil || count < 0 {
		return c, false
	}
	switch c.Kind = roster.Kind(fields[1][0]); c.Kind {
	case roster.Joined, roster.Left, roster.Renewed:
	default:
		return c, false
	}
	c.Version, c.Count = version, count
	c.Member = roster.Member{User: string(fields[3]), Info: bytes.Clone(fields[4])}
	return c, true
}
