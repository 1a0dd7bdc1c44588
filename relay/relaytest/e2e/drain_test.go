package e2e_test

import (
	"syscall"

	"sidecast/relay/relaytest"
)

// terminate asks a relay to drain.
func terminate(relay *relaytest.Process) { relay.Signal(syscall.SIGTERM) }
