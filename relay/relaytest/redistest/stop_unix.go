//go:build unix

package redistest

import "syscall"

// Stop sends SIGSTOP: the server's connections stay open, but it does not
// answer. A stopped server is killed when the test ends, too.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatalf("stopping redis-server: %v", err)
	}
}

// Cont sends SIGCONT to a stopped server.
func (s *Server) Cont() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatalf("continuing redis-server: %v", err)
	}
}
