package redistest_test

import (
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

func TestErrorRepliesAreErrors(t *testing.T) {
	s := redistest.Start(t)
	if out, err := s.TryCLI("NOSUCHCOMMAND"); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Fatalf("got %q, %v", out, err)
	}
}
