package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// certificateInterval is the minimum time between two checks of the files.
const certificateInterval = time.Second

// ErrKeyMismatch means that a private key belongs to another certificate.
var ErrKeyMismatch = errors.New("the private key does not belong to the certificate")

// A Certificate is a TLS certificate that is reloaded when its files change. It
// is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   fileStamps // of the last load, successful or not
	checked time.Time
}

// fileStamps identifies a version of the two files.
type fileStamps [2]struct {
	modified time.Time
	size     int64
}

// LoadCertificate loads a certificate and its key from PEM files. It returns
// [ErrKeyMismatch] if they do not belong together.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger, checked: time.Now()}
	var err error
	if c.stamp, err = c.stamps(); err == nil {
		c.current, err = c.load()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificate and its key: %w", err)
	}
	return c, nil
}

// load reads both files.
func (c *Certificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil && strings.Contains(err.Error(), "does not match") { // package tls has no type for this error
		err = ErrKeyMismatch
	}
	return &pair, err
}

// Config returns the configuration for a listener. Browsers use HTTP/1.1 for
// WebSocket connections all the same, because the relay does not offer them over
// HTTP/2.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

// get returns the certificate, and reloads it first if its files have changed.
// If the files do not match, for example while they are being replaced, it
// returns the previous certificate.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateInterval {
		return c.current
	}
	c.checked = time.Now()
	stamp, err := c.stamps()
	if err != nil || stamp == c.stamp {
		return c.current
	}
	c.stamp = stamp
	loaded, err := c.load()
	if err != nil {
		c.logger.Warn("TLS certificate changed but cannot be loaded; using the previous certificate",
			"setting", "SIDECAST_TLS_CERT", "err", err)
		return c.current
	}
	c.logger.Info("TLS certificate reloaded")
	c.current = loaded
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
