//go:build unix

package redistest

import "syscall"

// Stop freezes the process as SIGSTOP does: its connections stay open and nothing answers. The test's cleanup kills a
// stopped server too.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatalf("stopping redis-server: %v", err)
	}
}

// Cont lets a stopped process run on.
func (s *Server) Cont() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatalf("continuing redis-server: %v", err)
	}
}
