package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often the files are looked at, at most.
const certificateCheck = time.Second

// A Certificate is a TLS certificate in files, read again when they change. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   fileStamps // of what was read last, well or badly
	checked time.Time
}

// fileStamps tell whether either file is another than before.
type fileStamps [2]struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads a certificate and its key, in PEM.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger, checked: time.Now()}
	var err error
	if c.stamp, err = c.stamps(); err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	c.current = &pair
	return c, nil
}

// Config returns what a listener needs. It offers HTTP/1.1 alone, for that is what WebSocket connections begin with.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

// get returns the certificate, read again if its files changed. Files that do not fit together, as while they are being
// replaced, leave the one that is there.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateCheck {
		return c.current
	}
	c.checked = time.Now()
	stamp, err := c.stamps()
	if err != nil || stamp == c.stamp {
		return c.current
	}
	c.stamp = stamp
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.logger.Warn("the certificate changed and cannot be read; keeping the one before", "setting", "SIDECAST_TLS_CERT", "err", err)
		return c.current
	}
	c.logger.Info("the certificate was replaced")
	c.current = &pair
	return c.current
}

func (c *Certificate) stamps() (s fileStamps, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i].modified, s[i].size = info.ModTime(), info.Size()
	}
	return s, nil
}
