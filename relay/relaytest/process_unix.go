//go:build unix

package relaytest

import (
	"io"
	"os/exec"
	"syscall"
)

// Stop sends SIGTERM, waits, and returns the exit code; see [Process.Wait]. On
// Windows it skips the test.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Pause sends SIGSTOP. On Windows it skips the test.
func (p *Process) Pause() {
	p.t.Helper()
	p.Signal(syscall.SIGSTOP)
}

// Continue sends SIGCONT. On Windows it skips the test.
func (p *Process) Continue() {
	p.t.Helper()
	p.Signal(syscall.SIGCONT)
}

// openPipes has the ends of pipes that close when this process ends.
var openPipes []io.Closer

// removeAtExit removes dir when this process ends, even by kill -9: a shell
// waits for the end of a pipe that only this process keeps open.
func removeAtExit(dir string) error {
	cmd := exec.Command("sh", "-c", `read -r _; rm -rf -- "$1"`, "sh", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal must not end it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	openPipes = append(openPipes, pipe)
	return cmd.Start()
}
