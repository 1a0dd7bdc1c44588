package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

// StartTLS is [Start] for a server that accepts only TLS. It also returns, in
// PEM, the CA that signed the server's certificate for 127.0.0.1 and localhost.
// [Server.CLI] does not work with this server.
func StartTLS(t testing.TB, args ...string) (s *Server, ca []byte) {
	t.Helper()
	s, ca, _, _ = StartMutualTLS(t, append([]string{"--tls-auth-clients", "no"}, args...)...)
	return s, ca
}

// StartMutualTLS is [StartTLS] for a server that requires client certificates,
// which is the default of Redis. It also returns, in PEM, a certificate that
// clients can use, and its key.
func StartMutualTLS(t testing.TB, args ...string) (s *Server, ca, cert, key []byte) {
	t.Helper()
	Require(t, "redis-server", "redis-server")
	ca, cert, key = Certificates(t, "localhost", "127.0.0.1")
	s = start(t, serverReady, func(port string) []string {
		return slices.Concat(defaults(t), []string{
			"--port", "0", "--tls-port", port,
			"--tls-ca-cert-file", WriteFile(t, "ca.pem", ca),
			"--tls-cert-file", WriteFile(t, "cert.pem", cert), "--tls-key-file", WriteFile(t, "key.pem", key),
		}, args)
	})
	return s, ca, cert, key
}

// Certificates returns, in PEM, a new CA and a certificate that it signed for
// the hosts. Without hosts, the certificate has only a common name.
func Certificates(t testing.TB, hosts ...string) (ca, cert, key []byte) {
	t.Helper()
	return CertificatesFrom(t, time.Now().Add(-time.Hour), 2*time.Hour, hosts...)
}

// CertificatesFrom is [Certificates] with another life of the certificate.
func CertificatesFrom(t testing.TB, begin time.Time, life time.Duration, hosts ...string) (ca, cert, key []byte) {
	t.Helper()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	root := template(1, "redistest CA")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf := template(2, "redistest")
	leaf.NotBefore, leaf.NotAfter = begin, begin.Add(life)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}

	rootKey, leafKey := newKey(t), newKey(t)
	ca = encode(t, "CERTIFICATE", must(t)(x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)))
	cert = encode(t, "CERTIFICATE", must(t)(x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey)))
	key = encode(t, "PRIVATE KEY", must(t)(x509.MarshalPKCS8PrivateKey(leafKey)))
	return ca, cert, key
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func must(t testing.TB) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func encode(t testing.TB, kind string, der []byte) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
