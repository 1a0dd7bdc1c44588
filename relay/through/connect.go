package through

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"sidecast/relay/source"
)

// soonExpired is the time before the end of a certificate from which on it should
// have been renewed.
const soonExpired = 14 * 24 * time.Hour

// noProtocol is the alert of a server that does not support any protocol that the
// client offers (RFC 7301).
const noProtocol = tls.AlertError(120)

// dial connects to the host of the URL, and verifies its certificate as a browser
// does.
func (c *check) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	port := c.URL.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[c.URL.Scheme]
	}
	dialer := net.Dialer{KeepAlive: 45 * time.Second} // as Chromium
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(c.URL.Hostname(), port))
	if err != nil || c.URL.Scheme == "ws" {
		return conn, err
	}
	encrypted := tls.Client(conn, &tls.Config{ServerName: c.URL.Hostname(), NextProtos: []string{"http/1.1"}})
	if err := encrypted.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return encrypted, nil
}

// checkCertificate reports a certificate that is valid, once.
func (c *check) checkCertificate(ctx context.Context, conn net.Conn) {
	encrypted, ok := conn.(*tls.Conn)
	if !ok || c.certified {
		return
	}
	c.certified = true
	leaf := encrypted.ConnectionState().PeerCertificates[0]
	left := time.Until(leaf.NotAfter)
	f := source.Finding{Subject: "certificate", Text: "valid until " + leaf.NotAfter.UTC().Format(time.DateOnly)}
	if left < min(soonExpired, leaf.NotAfter.Sub(leaf.NotBefore)/4) {
		f.Level = source.LevelWarn
		f.Text = fmt.Sprintf("expires in %v, %s", left.Round(time.Hour), leaf.NotAfter.UTC().Format(time.RFC3339))
		f.Do = "renew it, reload the proxy, and find out why it is not renewed automatically"
	}
	c.report(ctx, f)
}

// connectProblem explains why a browser would not get a connection, or would not
// use it.
func (c *check) connectProblem(err error) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: "connection"}
	if text, do := c.tlsProblem(err); text != "" {
		f.Subject, f.Text, f.Do = "certificate", text, do
		return f
	}
	timeout, isNet := errors.AsType[net.Error](err)
	name, isName := errors.AsType[*net.DNSError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	alert, _ := errors.AsType[tls.AlertError](err)
	switch {
	case isName && name.IsNotFound:
		f.Text, f.Do = fmt.Sprintf("the name %q cannot be resolved", c.URL.Hostname()), "correct the URL, or add the name to the DNS"
	case isName:
		f.Text, f.Do = "the name server does not answer", "check the network of this machine"
	case plain:
		f.Text, f.Do = "the server does not use TLS on this port", "write ws:// in the URL, or the port with TLS"
	case alert == noProtocol:
		f.Text, f.Do = "the server does not speak HTTP/1.1 with TLS, which a WebSocket needs", "allow it beside HTTP/2: in HAProxy, alpn h2,http/1.1"
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		f.Text, f.Do = fmt.Sprintf("no connection within %v", dialTime), "check that a firewall lets this machine reach the server"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Text, f.Do = "nothing listens at this address", "start the web server, or correct the host and the port of the URL"
	default:
		f.Text, f.Do = "there is no connection: "+short(err.Error()), "check the URL and the web server's log"
	}
	return f
}

// tlsProblem explains errors of TLS. text is empty for other errors.
func (c *check) tlsProblem(err error) (text, do string) {
	host, wrongHost := errors.AsType[x509.HostnameError](err)
	unknown, authority := errors.AsType[x509.UnknownAuthorityError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	alert, isAlert := errors.AsType[tls.AlertError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return "is valid only from " + invalid.Cert.NotBefore.UTC().Format(time.RFC3339), "set the clocks of this machine and of the server"
	case isInvalid && invalid.Reason == x509.Expired:
		return "expired on " + invalid.Cert.NotAfter.UTC().Format(time.RFC3339), "renew it, and reload the proxy, which keeps the old one until then"
	case isInvalid:
		return "is not valid: " + short(err.Error()), "renew it"
	case wrongHost && len(host.Certificate.DNSNames)+len(host.Certificate.IPAddresses) == 0:
		return "has no subject alternative name", "renew it: a common name (CN) alone does not count"
	case wrongHost:
		return fmt.Sprintf("is for %s, not for %s", names(host.Certificate), c.URL.Hostname()),
			"let the proxy use a certificate for this name, or correct the URL:\n" + c.fix(fixCertificate)
	case authority:
		issuer := ""
		if unknown.Cert != nil {
			issuer = fmt.Sprintf(": %q", short(unknown.Cert.Issuer.String()))
		}
		return "is signed by an authority that this machine does not trust" + issuer,
			"let the proxy send its intermediate certificates, too, or use an authority that browsers trust:\n" + c.fix(fixCertificate)
	case isAlert && alert == noProtocol:
		return "", "" // another fault than the certificate
	case isAlert:
		return "the TLS handshake fails: " + short(err.Error()), "check the web server's log, and whether it requires a client certificate"
	}
	return "", ""
}

// names returns at most three of the names for which a certificate is valid.
func names(cert *x509.Certificate) string {
	list := cert.DNSNames
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) > 3 {
		list = append(list[:3:3], "others")
	}
	return short(strings.Join(list, ", "))
}

// short returns at most the first 150 bytes of a text that a server may have
// written.
func short(text string) string {
	const limit = 150
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}
