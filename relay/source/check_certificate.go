package source

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"time"
)

// expirySoon is how long before its end a certificate should have been renewed.
// One with a short life is renewed later: in the last quarter of it.
const expirySoon = 14 * 24 * time.Hour

// CertificateFinding describes how long the certificate of a server, or of a
// client, is valid. chain begins with this certificate.
func CertificateFinding(subject string, chain []*x509.Certificate, now time.Time) Finding {
	if len(chain) == 0 {
		return Finding{Level: LevelFail, Subject: subject, Text: "there is no certificate", Do: "name a file with one"}
	}
	first, who := chain[0], "the certificate"+forHosts(chain[0])
	for _, c := range chain[1:] {
		if c.NotAfter.Before(first.NotAfter) {
			first, who = c, "the certificate of the authority "+c.Subject.String()
		}
	}
	const renew = "renew it"
	left, life := first.NotAfter.Sub(now), first.NotAfter.Sub(first.NotBefore)
	switch {
	case left <= 0:
		return Finding{LevelFail, subject, fmt.Sprintf("%s expired on %s", who, day(first.NotAfter)), renew + ", or correct the clock"}
	case now.Before(first.NotBefore):
		return Finding{LevelFail, subject, fmt.Sprintf("%s is not valid before %s", who, day(first.NotBefore)), "correct the clock, or renew it"}
	case left < min(expirySoon, life/4):
		return Finding{LevelWarn, subject, fmt.Sprintf("%s expires on %s, in %s", who, day(first.NotAfter), days(left)),
			renew + ", and check what should have renewed it"}
	}
	return Finding{Subject: subject, Text: fmt.Sprintf("%s is valid until %s, for %s", who, day(first.NotAfter), days(left))}
}

// forHosts names the hosts of a certificate, the first ones of many.
func forHosts(c *x509.Certificate) string {
	hosts := c.DNSNames
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	if len(hosts) > 3 {
		hosts = append(hosts[:3:3], "...")
	}
	if len(hosts) == 0 {
		return ""
	}
	return " for " + strings.Join(hosts, ", ")
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func days(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// certificates collects what servers send when connections are opened.
type certificates struct {
	mu    sync.Mutex
	chain []*x509.Certificate // the one that expires first
}

// watch returns a configuration that collects certificates.
func (c *certificates) watch(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		chain := state.PeerCertificates
		if len(chain) > 0 && (c.chain == nil || chain[0].NotAfter.Before(c.chain[0].NotAfter)) {
			c.chain = chain
		}
		return nil
	}
	return config
}

// first returns the chain whose certificate expires first.
func (c *certificates) first() []*x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chain
}

// checkCertificates checks how long the certificates of the servers that the
// check has connected to, and of the relay as their client, are valid.
func (c *check) checkCertificates() {
	server := c.cfg.Server
	if server.TLS == nil {
		return
	}
	f := CertificateFinding("TLS", c.sent.first(), time.Now())
	if f.Level == LevelFail { // but the connection was opened
		f.Level, f.Text = LevelWarn, f.Text+", and the relay does not verify it"
	}
	c.findings = append(c.findings, f)
	if server.Certificate == nil {
		return
	}
	pair, err := server.Certificate()
	if err != nil || pair.Leaf == nil {
		return // the connections were opened with one
	}
	c.findings = append(c.findings, CertificateFinding("SIDECAST_REDIS_CERT", []*x509.Certificate{pair.Leaf}, time.Now()))
}
