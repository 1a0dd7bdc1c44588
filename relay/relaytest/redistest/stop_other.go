//go:build !unix

package redistest

// Stop skips the test: the system has no SIGSTOP.
func (s *Server) Stop() {
	s.t.Helper()
	s.t.Skip("this system cannot stop a process")
}

// Cont does nothing.
func (s *Server) Cont() {}
