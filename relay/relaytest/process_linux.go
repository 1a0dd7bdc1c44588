package relaytest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the process when the test process ends,
// even by a panic or kill -9.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
