package relaytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A Process is a running sidecast. Only the test's goroutine may call its
// methods, because they end the test if the process does not do what they wait
// for within [Patience].
type Process struct {
	t   testing.TB
	cmd *exec.Cmd
	log processLog

	exited chan struct{} // closed when the process has ended and its output was read
}

// Start builds the binary (see [Build]) and runs it with args. env has the
// settings by their full names; the process does not inherit SIDECAST_
// variables of the test. By default both listeners are on free ports of
// 127.0.0.1, and the user's cache directory is a temporary one.
//
// Start does not wait until the process is ready; the methods that need a ready
// process do. When the test ends, the process is killed if it still runs, its
// log is shown if the test failed, and the test fails if the log has a data
// race or a panic.
func Start(t testing.TB, env map[string]string, args ...string) *Process {
	t.Helper()
	return start(t, Build(t), env, args...)
}

func start(t testing.TB, path string, env map[string]string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Env = environment(t.TempDir(), env)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.WaitDelay = time.Second // if a grandchild keeps the output open
	dieWithParent(p.cmd)
	started := make(chan error)
	go func() {
		// On Linux, a child that is killed when its parent ends is killed when
		// the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // ProcessState has the result
			p.log.end()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	t.Cleanup(p.cleanUp)
	return p
}

// environment returns the variables of the process.
func environment(dir string, env map[string]string) []string {
	set := map[string]string{
		"SIDECAST_LISTEN": "127.0.0.1:0", "SIDECAST_ADMIN_LISTEN": "127.0.0.1:0",
		"XDG_CACHE_HOME": dir, "LocalAppData": dir,
	}
	if runtime.GOOS == "darwin" {
		set["HOME"] = dir
	}
	maps.Copy(set, env)
	var list []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if _, isSet := set[name]; !isSet && !strings.HasPrefix(strings.ToUpper(name), "SIDECAST_") {
			list = append(list, variable)
		}
	}
	for name, value := range set {
		list = append(list, name+"="+value)
	}
	return list
}

// crashTexts are the texts that a Go program prints when it crashes or has a
// data race.
var crashTexts = []string{"WARNING: DATA RACE", "panic: ", "fatal error: "}

func (p *Process) cleanUp() {
	p.Kill()
	log := p.Log()
	for _, text := range crashTexts {
		if strings.Contains(log, text) {
			p.t.Errorf("the process printed %q", text)
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of %s:\n%s", filepath.Base(p.cmd.Path), shorten(log))
	}
}

// shownLog is how many bytes of a log are shown from its beginning and its end:
// a relay logs every connection.
const shownLog = 32 << 10

// shorten removes the middle of a long log.
func shorten(log string) string {
	if len(log) <= 2*shownLog {
		return log
	}
	return log[:shownLog] + "\n[...]\n" + log[len(log)-shownLog:]
}

// Log returns what the process has printed so far, on standard output and
// standard error.
func (p *Process) Log() string { return p.log.String() }

// AwaitLog returns the first line of the log for which match holds, and waits
// for it if necessary.
func (p *Process) AwaitLog(match func(line string) bool) string {
	p.t.Helper()
	line, err := p.log.lines.await(context.Background(), 0, match)
	if errors.Is(err, errLogEnded) {
		err = fmt.Errorf("the process ended (%v)", p.cmd.ProcessState)
	}
	if err != nil {
		p.t.Fatalf("awaiting a line of the log: %v; the log is:\n%s", err, shorten(p.Log()))
	}
	return line
}

// AwaitMessage is [Process.AwaitLog] for lines with this message; [LogField]
// reads their other fields.
func (p *Process) AwaitMessage(msg string) string {
	p.t.Helper()
	return p.AwaitLog(func(line string) bool { return LogField(line, "msg") == msg })
}

// Addr returns the host:port of the public listener, once it listens.
func (p *Process) Addr() string {
	p.t.Helper()
	return LogField(p.AwaitMessage("listening"), "addr")
}

// AdminAddr returns the host:port of the admin listener, once it listens.
func (p *Process) AdminAddr() string {
	p.t.Helper()
	return LogField(p.AwaitMessage("admin listening"), "addr")
}

// URL returns the address for a [Dialer], without a base path.
func (p *Process) URL() string {
	p.t.Helper()
	return "ws://" + p.Addr() + "/ws"
}

// AwaitReady waits until /readyz of the public listener returns 200.
func (p *Process) AwaitReady() {
	p.t.Helper()
	p.AwaitStatus("http://"+p.Addr()+"/readyz", http.StatusOK)
}

// AwaitStatus requests url until the answer has this status.
func (p *Process) AwaitStatus(url string, status int) {
	p.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: Patience}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	for {
		response, err := client.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == status {
				return
			}
			err = errors.New(response.Status)
		}
		select {
		case <-tick.C:
		case <-p.exited:
			p.t.Fatalf("awaiting %d of %s: the process ended (%v); the log is:\n%s",
				status, url, p.cmd.ProcessState, shorten(p.Log()))
		case <-limit.C:
			p.t.Fatalf("awaiting %d of %s: %v; the log is:\n%s", status, url, err, shorten(p.Log()))
		}
	}
}

// Signal sends a signal. On Windows, which has no signals, it skips the test.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if runtime.GOOS == "windows" && sig != os.Kill {
		p.t.Skip("Windows has no signals")
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("sending %v: %v", sig, err)
	}
}

// Wait waits until the process has ended and returns its exit code, -1 if a
// signal ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-limit.C:
		p.t.Fatalf("the process does not end; the log is:\n%s", shorten(p.Log()))
		return 0
	}
}

// Kill ends the process as kill -9 does, and waits until it has ended. It may
// be called again.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }
