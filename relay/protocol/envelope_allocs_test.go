//go:build !race

package protocol

import "testing"

// The source's goroutine parses each message. With the race detector, the memory
// that a pool keeps is sometimes not used again.
func TestParseEnvelopeAllocatesNothing(t *testing.T) {
	payload := []byte(envelopeTests[0].payload)
	if n := testing.AllocsPerRun(20, func() { ParseEnvelope(payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
