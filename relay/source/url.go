package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"sidecast/relay/redisurl"
)

// Mode is the kind of servers at the addresses of a [Server].
type Mode = redisurl.Mode

// The modes.
const (
	Standalone = redisurl.Standalone
	Sentinel   = redisurl.Sentinel
	Cluster    = redisurl.Cluster
)

// ParseMode reads standalone, sentinel or cluster.
func ParseMode(name string) (Mode, error) { return redisurl.ParseMode(name) }

// Server says where Redis is and how to log in there. Printing one shows the
// address only.
type Server struct {
	Mode     Mode
	Address  string   // host:port, or the absolute path of a Unix socket; with Sentinel and Cluster the first of several
	More     []string // with Sentinel and Cluster: further addresses, as host:port
	Username string
	Password string
	DB       int         // has no effect on pub/sub
	TLS      *tls.Config // nil for no TLS. If ServerName is empty, the host of the dialed address replaces it
	Protocol int         // RESP 2 or 3; 0 means 2

	// Credentials, if set, is called at each dial and replaces Username and
	// Password. It may be called concurrently. Its errors must not contain a
	// secret.
	Credentials func() (username, password string, err error)

	// Certificate, if set, is called at each dial with TLS and returns the
	// client certificate, which a server may require. It may be called
	// concurrently. Its errors must not contain a secret.
	Certificate func() (tls.Certificate, error)

	// With Sentinel only.
	MasterName       string // the name under which the Sentinels know the master
	SentinelUsername string // of the Sentinels, which have their own users
	SentinelPassword string
}

// ParseURL reads a URL as [redisurl.Parse] does and checks that it can be used
// in the mode. User and password in the URL belong to the Redis servers, never
// to the Sentinels. An error never contains a part of the URL, except a bare
// host and port that lack a scheme.
func ParseURL(raw string, mode Mode) (Server, error) {
	u, err := redisurl.Parse(raw)
	if err != nil {
		return Server{}, fmt.Errorf("the Redis URL %w", err)
	}
	if err := u.Check(mode); err != nil {
		return Server{}, fmt.Errorf("the Redis URL %w", err)
	}
	s := Server{
		Mode: mode, Address: u.Address(mode), More: u.Nodes, MasterName: u.MasterName,
		Username: u.Username(), Password: u.Password(), DB: u.DB, Protocol: u.Protocol,
	}
	if u.TLS {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: u.SkipVerify}
		if mode == Standalone { // elsewhere each node has its own name
			s.TLS.ServerName = u.Host
		}
	}
	return s, s.validate()
}

// addresses returns all configured addresses.
func (s Server) addresses() []string { return append([]string{s.Address}, s.More...) }

// credentials calls Credentials, which must be set.
func (s Server) credentials() (username, password string, err error) {
	if username, password, err = s.Credentials(); err != nil {
		return "", "", &credentialsError{err}
	}
	return username, password, nil
}

// credentialsError reports that user and password could not be read.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "reading user and password: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// certificateError reports that the client certificate could not be read.
type certificateError struct{ err error }

func (e *certificateError) Error() string { return "reading the client certificate: " + e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

// TrustCA trusts only the given PEM-encoded certificates to sign the server's
// certificate. It returns an error for a server without TLS.
func (s *Server) TrustCA(pem []byte) error {
	if s.TLS == nil {
		return errors.New("a CA file needs TLS; write the URL with rediss://")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("the CA file contains no PEM certificate")
	}
	s.TLS = s.TLS.Clone()
	s.TLS.RootCAs = pool
	return nil
}

// validate reports a Server that cannot be used, however it was made.
func (s Server) validate() error {
	switch {
	case s.Address == "":
		return errors.New("the address of Redis is missing")
	case s.Protocol != 0 && s.Protocol != 2 && s.Protocol != 3:
		return errors.New("the Redis protocol is neither 2 nor 3")
	case !s.Mode.Valid():
		return fmt.Errorf("there is no %v", s.Mode)
	case s.Mode == Sentinel && s.MasterName == "":
		return errors.New("the name of the master that the Sentinels know is missing")
	}
	return nil
}
