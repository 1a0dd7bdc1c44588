package relaytest

import "os"

// Stop skips the test: Windows has no signals.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(os.Interrupt)
	return 0
}

// Pause skips the test: Windows has no signals.
func (p *Process) Pause() {
	p.t.Helper()
	p.Signal(os.Interrupt)
}

// Continue skips the test: Windows has no signals.
func (p *Process) Continue() {
	p.t.Helper()
	p.Signal(os.Interrupt)
}

// removeAtExit does nothing: Windows cannot remove a running binary.
func removeAtExit(string) error { return nil }
