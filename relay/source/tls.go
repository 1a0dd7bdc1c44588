package source

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// tlsConfig returns the configuration for one connection to addr.
func (s Server) tlsConfig(addr string) (*tls.Config, error) {
	config := s.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName = addr
		if host, _, err := net.SplitHostPort(addr); err == nil {
			config.ServerName = host
		}
	}
	if s.Certificate == nil {
		return config, nil
	}
	certificate, err := s.Certificate()
	if err != nil {
		return nil, &certificateError{err}
	}
	// tls.Config.Certificates would send none if the server does not name its
	// CA, and then the server's error would not tell that this one is wrong.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	return config, nil
}

// tlsError reports that TLS failed on an open connection.
type tlsError struct {
	err         error
	established bool // it failed after the handshake
}

func (e *tlsError) Error() string {
	if e.established {
		return "after the TLS handshake: " + e.err.Error()
	}
	return "TLS handshake: " + e.err.Error()
}
func (e *tlsError) Unwrap() error { return e.err }

// A tlsConn is a connection after the TLS handshake. With TLS 1.3 the server
// verifies the client certificate after the handshake, and may close the
// connection while the client sends its first command. The tlsConn then returns
// the server's alert, which says why, and not that writing failed.
type tlsConn struct {
	*tls.Conn
	answered atomic.Bool // the server has sent something
}

// alertTimeout bounds the wait for the alert of a server that has closed the
// connection.
const alertTimeout = time.Second

func (c *tlsConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, c.explain(err)
}

func (c *tlsConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || c.answered.Load() {
		return n, err
	}
	_ = c.SetReadDeadline(time.Now().Add(alertTimeout))
	if _, alert := c.Conn.Read(make([]byte, 1)); tlsAlert(alert) != "" {
		return n, alert
	}
	return n, c.explain(err)
}

// explain says that the connection was closed before the server sent anything.
func (c *tlsConn) explain(err error) error {
	if err == nil || !isClosed(err) || c.answered.Load() {
		return err
	}
	return &tlsError{err, true}
}
