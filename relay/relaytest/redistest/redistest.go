// Package redistest runs real Redis servers and Sentinels for tests. Each is
// one process on a free port of 127.0.0.1 with its data in a temporary
// directory, and is killed when the test ends.
//
// A test that needs a program skips if the program is not installed. If CI=true
// it fails instead, so that a pipeline never passes because a package is
// missing.
package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds how long a server may take until it accepts connections.
const startTimeout = 15 * time.Second

// Server is one redis-server process. Its methods may be called by one
// goroutine at a time.
type Server struct {
	// Addr is the server's host:port. Restarts do not change it.
	Addr string

	t     testing.TB
	args  []string
	ready string // the server logs it when it accepts connections

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has exited
	output *output
}

// Start runs redis-server with args after the defaults (no persistence,
// loopback, a free port), and waits until it accepts connections. It reads this
// from the server's log, so args must keep loglevel notice. It skips the test
// if redis-server is not installed, and fails it instead if CI=true.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	Require(t, "redis-server", "redis-server")
	return start(t, serverReady, func(port string) []string {
		return slices.Concat(defaults(t), []string{"--port", port}, args)
	})
}

// At returns a server that already runs at addr. It can only be used for its
// address and [Server.CLI].
func At(t testing.TB, addr string) *Server { return &Server{Addr: addr, t: t} }

// StartClusterNode is [Start] for a node of a Redis Cluster that does not exist
// yet, with a free port for its cluster bus.
func StartClusterNode(t testing.TB, args ...string) *Server {
	t.Helper()
	Require(t, "redis-server", "redis-server")
	return start(t, serverReady, func(port string) []string {
		_, bus, _ := strings.Cut(FreeAddr(t), ":")
		node := []string{
			"--port", port, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-config-file", "nodes.conf",
		}
		return slices.Concat(defaults(t), node, args)
	})
}

// defaults are the arguments of every server but a Sentinel.
func defaults(t testing.TB) []string {
	return []string{
		"--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--loglevel", "notice",
	}
}

// The messages that a server and a Sentinel log when they accept connections.
const (
	serverReady   = "Ready to accept connections"
	sentinelReady = "Sentinel ID is"
)

// start runs a server with the arguments for a free port, and waits until it
// logs ready.
func start(t testing.TB, ready string, args func(port string) []string) *Server {
	t.Helper()
	s := &Server{t: t, ready: ready, output: new(output)}
	t.Cleanup(s.Kill)
	for attempt := range 5 {
		s.Addr = FreeAddr(t)
		s.args = args(s.Port())
		err := s.run()
		if err == nil {
			return s
		}
		// Another process may have taken the port before the server could.
		if attempt == 4 || !strings.Contains(s.output.String(), "Address already in use") {
			t.Fatalf("starting redis-server: %v\n%s", err, s.output)
		}
	}
	return s
}

// Require skips the test if the program is not installed, and fails it instead
// if CI=true. Its message names the Debian package.
func Require(t testing.TB, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: install the Debian package %s", program, debianPackage)
	}
	t.Skipf("%s is not installed: install the Debian package %s", program, debianPackage)
}

// Port returns the port that Addr names.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// URL returns the server as a redis:// URL without credentials.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Log returns the output of the server so far, including the output before
// restarts.
func (s *Server) Log() string { return s.output.String() }

// Kill sends SIGKILL and waits until the process has exited. It does nothing if
// the server is not running.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// Restart kills the server if it is running, and runs it again on the same port
// with the same arguments followed by more.
func (s *Server) Restart(more ...string) {
	s.t.Helper()
	s.Kill()
	s.args = append(s.args, more...)
	if err := s.run(); err != nil {
		s.t.Fatalf("restarting redis-server: %v\n%s", err, s.output)
	}
}

// CLI runs redis-cli against the server and returns its output without the last
// line feed. It fails the test if redis-cli fails or the server answers with an
// error.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.TryCLI(args...)
	if err != nil {
		s.t.Fatalf("redis-cli %q: %v", args, err)
	}
	return out
}

// TryCLI is [Server.CLI] that returns the error instead.
func (s *Server) TryCLI(args ...string) (string, error) {
	s.t.Helper()
	Require(s.t, "redis-cli", "redis-tools")
	args = slices.Concat([]string{"-h", "127.0.0.1", "-p", s.Port(), "-e", "--no-auth-warning"}, args)
	cmd := exec.Command("redis-cli", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	text := strings.TrimSuffix(string(out), "\n")
	if err != nil {
		return text, fmt.Errorf("%w: %s%s", err, text, stderr.Bytes())
	}
	return text, nil
}

// run starts the process and waits until it accepts connections.
func (s *Server) run() error {
	cmd := exec.Command("redis-server", s.args...)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	before := len(s.output.String())
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	if err := s.awaitReady(before, exited); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// awaitReady waits until the server logs that it is ready. A successful
// connection would not prove this: another server could have the port.
func (s *Server) awaitReady(before int, exited <-chan struct{}) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	for !strings.Contains(s.output.String()[before:], s.ready) {
		select {
		case <-tick.C:
		case <-exited:
			return errors.New("redis-server exited")
		case <-limit.C:
			return fmt.Errorf("redis-server is not ready after %v", startTimeout)
		}
	}
	return nil
}

// FreeAddr returns a host:port of 127.0.0.1 on which no program listens now. It
// is outside the range from which systems choose ports for outgoing
// connections, so it is likely to stay free.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000)))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("found no free port")
	return ""
}

// WriteFile writes a file into a temporary directory of the test and returns
// its path, for programs that read their configuration only from files.
func WriteFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// output is the output of a process. It may be written and read concurrently.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
