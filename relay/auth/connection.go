package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Problems that callers compare errors with.
var (
	errConnectTimeout = &problem{
		text: "no connection in time",
		do:   "check that a firewall or network policy lets this host reach the server, and that https:// is right for the port",
	}
	errAnswerTimeout = &problem{
		text: "no complete answer in time",
		do:   "look for what delays the server, such as a slow page that holds the user's session; SIDECAST_AUTH_TIMEOUT sets the time",
	}
	errTooLarge = &problem{text: "the answer is too large", do: "correct the URL, or the answer"}
)

// connectionProblem says why there is no answer to a request. connected says
// whether there was a connection. The text of err is not used, because it
// contains the URL.
func connectionProblem(ctx context.Context, err error, connected bool) *problem {
	if p := tlsProblem(err); p != nil {
		return p
	}
	timeout, isNet := errors.AsType[net.Error](err)
	name, isName := errors.AsType[*net.DNSError](err)
	switch {
	case isName && name.IsNotFound:
		return &problem{text: "the host name cannot be resolved", do: "check the host in the URL"}
	case isName:
		return &problem{text: "the name server does not answer", do: "check the DNS configuration of this host"}
	case ctx.Err() != nil && connected:
		return errAnswerTimeout
	case ctx.Err() != nil, isNet && timeout.Timeout():
		return errConnectTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return &problem{text: "nothing listens at this address", do: "start the application, or correct the URL"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return &problem{text: "there is no route to the server", do: "check the host in the URL, and the network"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &problem{text: "the server closed the connection before the end of its answer", do: "check the server's log"}
	case strings.Contains(err.Error(), "headers exceeded"):
		return errTooLarge
	case strings.Contains(err.Error(), "malformed HTTP"):
		return &problem{text: "the server does not speak HTTP on this port", do: "correct the port; write https:// if it is a TLS port"}
	}
	return &problem{text: "the connection failed", do: "check the URL, and the server's log"}
}

// tlsProblem explains the errors of TLS. It returns nil for any other error.
func tlsProblem(err error) *problem {
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	host, wrongHost := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case plain, errors.Is(err, http.ErrSchemeMismatch):
		return &problem{text: "the server does not use TLS on this port", do: "write http:// in the URL, or the server's TLS port"}
	case authority:
		return &problem{
			text: "the server's certificate is signed by an authority that this host does not trust" + issuer(err),
			do: "install this authority's certificate on this host (in a container, SSL_CERT_FILE can name its file), " +
				"and let the server send its intermediate certificates",
		}
	case wrongHost && len(host.Certificate.DNSNames)+len(host.Certificate.IPAddresses) == 0:
		return &problem{
			text: "the server's certificate has no subject alternative name", do: "renew it: a common name (CN) alone does not count",
		}
	case wrongHost:
		return &problem{
			text: "the server's certificate is for another host: " + firstHost(host.Certificate), do: "write a host in the URL that the certificate names",
		}
	case isInvalid:
		return &problem{text: invalidText(invalid), do: "renew it, or correct this host's clock"}
	case alert:
		return &problem{text: "the TLS handshake failed", do: "check the server's log, and whether it requires a client certificate"}
	}
	return nil
}

// firstHost returns a host that a certificate names.
func firstHost(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return quoteName(c.DNSNames[0])
	}
	return c.IPAddresses[0].String()
}

// invalidText says why a certificate is not valid.
func invalidText(err x509.CertificateInvalidError) string {
	whose := "the server's certificate"
	if err.Cert != nil && err.Cert.IsCA {
		whose = "the certificate of the authority that signed the server's"
	}
	const day = "2006-01-02 15:04 MST"
	switch now := time.Now(); {
	case err.Reason != x509.Expired || err.Cert == nil:
		return whose + " is not valid"
	case now.Before(err.Cert.NotBefore):
		return whose + " is not valid before " + err.Cert.NotBefore.UTC().Format(day)
	}
	return whose + " expired on " + err.Cert.NotAfter.UTC().Format(day)
}

// issuer names the authority that signed the last certificate that the server
// sent.
func issuer(err error) string {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(failed.UnverifiedCertificates) == 0 {
		return ""
	}
	last := failed.UnverifiedCertificates[len(failed.UnverifiedCertificates)-1]
	return ": " + quoteName(last.Issuer.String())
}

// plainHTTPAnswers are in the answers of web servers to plain HTTP on a TLS
// port: Go, nginx and Apache.
var plainHTTPAnswers = []string{
	"HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port", "plain HTTP to an SSL-enabled server port",
}

// schemeProblem returns a problem if a response says that its URL has to begin
// with https. It returns nil for any other response.
func schemeProblem(response *http.Response, body []byte) *problem {
	if response.StatusCode != http.StatusBadRequest || response.Request.URL.Scheme != "http" {
		return nil
	}
	for _, text := range plainHTTPAnswers {
		if bytes.Contains(body, []byte(text)) {
			return &problem{text: "the server requires TLS on this port", do: "write https:// in the URL"}
		}
	}
	return nil
}
