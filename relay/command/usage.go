package command

import "strings"

// HelpOn returns what a help text says of one command: the line that begins with "  sidecast NAME", and those below that go
// on with it. It returns "" for a command that the text does not have.
func HelpOn(text, name string) string {
	var b strings.Builder
	found := false
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(line, "  sidecast "); ok {
			first, _, _ := strings.Cut(command, " ")
			found = strings.Trim(first, "[]") == name
		} else if !strings.HasPrefix(line, "    ") {
			found = false
		}
		if found {
			b.WriteString(line)
		}
	}
	return b.String()
}
