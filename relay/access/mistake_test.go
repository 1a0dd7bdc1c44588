package access

import (
	"testing"

	"sidecast/relay/protocol"
)

func TestMistake(t *testing.T) {
	for name, want := range map[string]protocol.CloseReason{
		"chat": 0, "chat:42": 0, "a b": 0, "order[7]": 0, "": 0, "what?": 0,
		"chat ": protocol.ReasonBlank, " chat": protocol.ReasonBlank, "chat\n": protocol.ReasonBlank, " ": protocol.ReasonBlank,
		"a,b": protocol.ReasonComma, "a, b": protocol.ReasonComma, "chat:*,b": protocol.ReasonComma,
		"chat:*": protocol.ReasonPattern, "*": protocol.ReasonPattern,
	} {
		if got := Mistake(name); got != want {
			t.Errorf("Mistake(%q) = %q, want %q", name, got, want)
		}
	}
}
