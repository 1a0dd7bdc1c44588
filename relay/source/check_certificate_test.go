package source_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

func TestCertificateFinding(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	cert := func(age, left time.Duration, hosts ...string) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: "some CA"}, DNSNames: hosts, NotBefore: now.Add(-age), NotAfter: now.Add(left),
		}
	}
	chain := func(list ...*x509.Certificate) []*x509.Certificate { return list }
	for _, tt := range []struct {
		why   string
		chain []*x509.Certificate
		want  string
	}{
		{"a year left", chain(cert(day, 365*day, "a.example")), "ok TLS: the certificate for a.example is valid until 2027-05-04 12:00 UTC, for 365 days"},
		{"90 days, renewed in time", chain(cert(60*day, 30*day, "a.example")), "ok TLS: "},
		{"90 days, not renewed", chain(cert(77*day, 13*day, "a.example")), "warn TLS: the certificate for a.example expires on 2026-05-17 12:00 UTC, in 13 days; renew it"},
		{"6 days, half of them left", chain(cert(3*day, 3*day)), "ok TLS: the certificate is valid until 2026-05-07 12:00 UTC, for 3 days"},
		{"6 days, not renewed", chain(cert(5*day, day)), "warn TLS: the certificate expires on 2026-05-05 12:00 UTC, in 24 h"},
		{"expired", chain(cert(9*day, 0, "a.example")), "fail TLS: the certificate for a.example expired on 2026-05-04 12:00 UTC; renew it, or correct the clock"},
		{"not yet valid", chain(cert(-day, 9*day)), "fail TLS: the certificate is not valid before 2026-05-05 12:00 UTC; correct the clock"},
		{"an authority that expires first", chain(cert(day, 90*day, "a.example"), cert(900*day, day)),
			"warn TLS: the certificate of the authority CN=some CA expires on 2026-05-05 12:00 UTC"},
		{"many names", chain(cert(day, 90*day, "a", "b", "c", "d")), "ok TLS: the certificate for a, b, c, ... is valid"},
		{"an address", chain(&x509.Certificate{IPAddresses: []net.IP{net.IPv6loopback}, NotBefore: now, NotAfter: now.Add(90 * day)}),
			"ok TLS: the certificate for ::1 is valid"},
		{"none", nil, "fail TLS: there is no certificate"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			expectFindings(t, []source.Finding{source.CertificateFinding("TLS", tt.chain, now)}, tt.want)
		})
	}
}

// The check says how long the certificates of a real server, and of the relay as
// its client, are valid.
func TestCheckCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	unverified := func(c *source.Config) {
		c.Server.TLS = c.Server.TLS.Clone()
		c.Server.TLS.InsecureSkipVerify = true
	}
	for _, tt := range []struct {
		why    string
		begin  time.Time
		life   time.Duration
		change func(*source.Config)
		want   string
	}{
		{"valid", now.Add(-time.Hour), 90 * time.Minute, // before that of its authority, which Redis sends, too
			nil, "ok TLS: the certificate for localhost, 127.0.0.1 is valid until "},
		{"soon expired", now.Add(-99 * time.Hour), 100 * time.Hour, nil, "warn TLS: the certificate for localhost, 127.0.0.1 expires on "},
		{"expired", now.Add(-2 * time.Hour), time.Hour, nil, "fail server: the server's certificate expired on "},
		{"not yet valid", now.Add(time.Hour), time.Hour, nil, "fail server: the server's certificate is not valid before "},
		{"expired, and not verified", now.Add(-2 * time.Hour), time.Hour, unverified, "warn TLS: the certificate for localhost, 127.0.0.1 expired on "},
	} {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			ca, cert, key := redistest.CertificatesFrom(t, tt.begin, tt.life, "localhost", "127.0.0.1")
			server, _ := redistest.StartTLS(t, "--tls-cert-file", redistest.WriteFile(t, "cert.pem", cert),
				"--tls-key-file", redistest.WriteFile(t, "key.pem", key), "--tls-ca-cert-file", redistest.WriteFile(t, "ca.pem", ca))
			changes := []func(*source.Config){useTLS(t, server.Addr, ca)}
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			found := "\n" + strings.Join(report(source.Check(t.Context(), checkConfig("", []string{"chat:*"}, changes...))), "\n")
			if !strings.Contains(found, "\n"+tt.want) {
				t.Errorf("the check reports%s\nwant %s", found, tt.want)
			}
		})
	}
	t.Run("of the client", func(t *testing.T) {
		t.Parallel()
		ca, cert, key := redistest.CertificatesFrom(t, now.Add(-99*time.Hour), 100*time.Hour)
		server, serverCA, _, _ := redistest.StartMutualTLS(t, "--tls-ca-cert-file", redistest.WriteFile(t, "ca.pem", ca))
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		found := checkOnly(t, checkConfig("", []string{"chat:*"}, useTLS(t, server.Addr, serverCA), func(c *source.Config) {
			c.Server.Certificate = func() (tls.Certificate, error) { return pair, nil }
		}), "TLS", "SIDECAST_REDIS_CERT")
		expectFindings(t, found, "ok TLS: the certificate for localhost, 127.0.0.1 is valid", "warn SIDECAST_REDIS_CERT: the certificate expires on ")
	})
}
