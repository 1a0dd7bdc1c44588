package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sidecast/relay/why"
)

// printWhyJSON prints one JSON object for each line, and for each relay that did
// not answer.
func printWhyJSON(w io.Writer, answers []whyAnswer) error {
	out := json.NewEncoder(w)
	for _, a := range answers {
		if a.err != nil {
			a.lines = []why.Line{{Result: noAnswer, Text: a.err.Error()}}
		}
		for _, line := range a.lines {
			if err := out.Encode(jsonLine{a.relay, line}); err != nil {
				return err
			}
		}
	}
	return nil
}

// printWhy prints answers for people, after the relays that did not answer.
func printWhy(w io.Writer, answers []whyAnswer) error {
	var out strings.Builder
	for _, a := range answers {
		if a.err != nil && len(answers) > 1 { // otherwise the command fails with it
			fmt.Fprintf(&out, "%s\n", printableLines(a.err.Error()))
		}
	}
	for _, a := range answers {
		switch {
		case a.err != nil:
			continue
		case a.relay != "":
			fmt.Fprintf(&out, "Relay %s:\n", printable(a.relay))
		}
		if len(a.lines) == 0 {
			fmt.Fprintf(&out, "Nothing is recorded about this.\n")
		}
		list := sections(a.lines)
		for _, s := range list[:min(len(list), maxSections)] {
			s.print(&out)
		}
		if more := len(list) - maxSections; more > 0 {
			fmt.Fprintf(&out, "And %d more messages: --json lists them all, and --user or --session selects some.\n", more)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// maxSections is how many messages are listed.
const maxSections = 50

// A section has all lines about one message, or all others.
type section struct {
	head  why.Line
	lines []why.Line
}

// sections returns the sections in the order in which they begin.
func sections(lines []why.Line) (list []section) {
	type key struct {
		message string
		at      int64
	}
	index := make(map[key]int)
	for _, line := range lines {
		k := key{line.Message, 0}
		if line.Message != "" {
			k.at = line.At.UnixMilli()
		}
		i, ok := index[k]
		if !ok {
			i = len(list)
			index[k], list = i, append(list, section{head: line})
		}
		list[i].lines = append(list[i].lines, line)
	}
	return list
}

// maxListed is how many different answers with the same result are listed for
// one message.
const maxListed = 10

// print prints the lines of a section: those with the same text as one, and not
// too many with the same result.
func (s *section) print(out *strings.Builder) {
	if m := s.head; m.Message != "" {
		fmt.Fprintf(out, "Message %s on %q at %s, %d bytes:\n",
			printable(m.Message), m.Channel, m.At.Local().Format("15:04:05.000"), m.Bytes)
	}
	for _, same := range groups(s.lines, func(l why.Line) groupKey { return groupKey{result: l.Result} }) {
		result, rest := printable(string(same[0].Result)), len(same)
		for i, g := range groups(same, func(l why.Line) groupKey { return groupKey{text: l.Text, do: l.Do} }) {
			if i == maxListed {
				fmt.Fprintf(out, "  %-11s and %d more: --json lists them\n", result, rest)
				break
			}
			rest -= len(g)
			fmt.Fprintf(out, "  %-11s %s%s\n", result, who(g), printable(g[0].Text))
			if g[0].Do != "" {
				fmt.Fprintf(out, "  %-11s %s\n", "", printable(g[0].Do))
			}
		}
	}
}

// A groupKey has the fields that are equal in all lines of a group.
type groupKey struct {
	result   why.Result
	text, do string
}

// groups returns groups of lines with the same key, in the order in which they
// begin.
func groups(lines []why.Line, key func(why.Line) groupKey) (list [][]why.Line) {
	index := make(map[groupKey]int)
	for _, line := range lines {
		k := key(line)
		i, ok := index[k]
		if !ok {
			i = len(list)
			index[k], list = i, append(list, nil)
		}
		list[i] = append(list[i], line)
	}
	return list
}

// who names the sessions of lines that say the same, if they are few, or counts
// them.
func who(lines []why.Line) string {
	switch n := len(lines); {
	case lines[0].Session == "" && n == 1:
		return ""
	case lines[0].Session == "":
		return fmt.Sprintf("%d times: ", n)
	case n > 3:
		return fmt.Sprintf("%d sessions: ", n)
	}
	names := make([]string, len(lines))
	for i, line := range lines {
		names[i] = "session " + printable(line.Session)
		if line.User != "" {
			names[i] += fmt.Sprintf(" of user %q", line.User)
		}
	}
	return strings.Join(names, ", ") + ": "
}
