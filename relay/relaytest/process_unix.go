//go:build unix

package relaytest

import (
	"io"
	"os/exec"
	"syscall"
)

// Stop sends SIGTERM, waits, and returns the exit code; see [Process.Wait]. On Windows it skips the test.
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

// held keeps the ends of pipes that close with this process.
var held []io.Closer

// removeAtExit removes dir when this process is gone, however it goes: a shell waits for the end of a pipe that only we
// hold open.
func removeAtExit(dir string) error {
	cmd := exec.Command("sh", "-c", `read -r _; rm -rf -- "$1"`, "sh", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	held = append(held, pipe)
	return cmd.Start()
}
