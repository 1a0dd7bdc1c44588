package source_test

import (
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// clientCertificate makes a link present the certificate in the files.
func clientCertificate(cert, key string) func(*source.Config) {
	return func(c *source.Config) {
		c.Server.Certificate = func() (tls.Certificate, error) { return tls.LoadX509KeyPair(cert, key) }
	}
}

// TestMutualTLS uses servers that require client certificates, with both
// versions of TLS: with TLS 1.3 the server rejects a certificate only after the
// handshake.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server, ca, cert, key := redistest.StartMutualTLS(t, "--tls-protocols", version)
			_, otherCert, otherKey := redistest.Certificates(t)
			trusting := useTLS(t, server.Addr, ca)
			file := func(content []byte) string { return redistest.WriteFile(t, "pem", content) }
			certFile, keyFile := file(otherCert), file(otherKey)
			for _, tt := range []struct {
				why    string
				change func(*source.Config)
				want   string
			}{
				{"no certificate", func(*source.Config) {}, "SIDECAST_REDIS_CERT and SIDECAST_REDIS_KEY"},
				{"the certificate of another CA", clientCertificate(certFile, keyFile), "is signed by a CA in Redis's tls-ca-cert-file"},
				{"a file that cannot be read", func(c *source.Config) {
					c.Server.Certificate = func() (tls.Certificate, error) { return tls.Certificate{}, errors.New("no such file") }
				}, "check the files that SIDECAST_REDIS_CERT and SIDECAST_REDIS_KEY name"},
			} {
				l := startLink(t, server.Addr, []string{"*"}, trusting, tt.change)
				l.awaitLog(t, "redis cannot be used", tt.want)
				l.stop()
				found := strings.Join(report(source.Check(t.Context(), checkConfig("", []string{"*"}, trusting, tt.change))), "\n")
				if !strings.HasPrefix(found, "fail server: ") || !strings.Contains(found, tt.want) {
					t.Errorf("%s: the check reports %s", tt.why, found)
				}
			}

			l := startLink(t, server.Addr, []string{"*"}, trusting, clientCertificate(certFile, keyFile))
			l.awaitLog(t, "redis cannot be used")
			for name, content := range map[string][]byte{certFile: cert, keyFile: key} {
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			l.awaitEvent(t, "online", 1) // the files are read again
			l.awaitPublishing(t)
		})
	}
}
