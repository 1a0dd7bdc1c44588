package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// explain returns why Redis could not be used, and how the operator can correct
// that. Neither text contains a secret.
func explain(err error) (problem, do string) {
	if problem, do = explainReply(err); problem != "" {
		return problem, do
	}
	if problem, do = explainTLS(err); problem != "" {
		return problem, do
	}
	if announced, ok := errors.AsType[*announcedError](err); ok {
		return explainAnnounced(announced)
	}
	return explainNetwork(err)
}

// explainNetwork explains errors of the network, according to what the relay
// was doing.
func explainNetwork(err error) (problem, do string) {
	_, noName := errors.AsType[*net.DNSError](err)
	_, subscribing := errors.AsType[*lossError](err)
	switch {
	case noName:
		return "the host name cannot be resolved", "check the host in SIDECAST_REDIS_URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at this address", "start Redis, or correct SIDECAST_REDIS_URL"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to this address", "check the address, and the network of this host"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
		return "the socket does not exist or cannot be opened",
			"check the path in SIDECAST_REDIS_URL and its permissions"
	case isTimeout(err) && isDialError(err):
		return "no answer in time", "check the address, and that a firewall or network policy lets this host reach Redis"
	case isTimeout(err):
		return "the server accepts the connection, but does not answer the login",
			"check that the server is Redis and is not stopped or overloaded, " +
				"and that the URL begins with rediss:// if Redis requires TLS"
	case isClosed(err) && subscribing:
		return "the connection was closed before the subscriptions were confirmed", "check Redis's log"
	case isClosed(err):
		return "the connection was closed during the login", "use a rediss:// URL if Redis requires TLS, " +
			"and check Redis's log"
	case errors.Is(err, errUnconfirmed):
		return "the subscriptions were not confirmed", "check Redis's log"
	}
	return "the connection failed", "check the error and Redis's log"
}

func isTimeout(err error) bool {
	timeout, isNet := errors.AsType[net.Error](err)
	return isNet && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// isClosed reports whether the server, or a proxy, closed the connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// advise returns what the operator can do about an error: grant if the user
// lacks a right, and otherwise the advice of explain.
func advise(err error, grant string) string {
	if isDenied(replyOf(err)) {
		return grant
	}
	_, do := explain(err)
	return do
}

// explainReply explains the errors that the server or a Sentinel returned. For
// any other error it returns empty strings.
func explainReply(err error) (problem, do string) {
	text, reply := err.Error(), replyOf(err)
	has := func(word string) bool { return strings.Contains(text, word) || strings.Contains(reply, word) }
	_, denied := errors.AsType[*deniedError](err)
	if sentinel, ok := errors.AsType[*sentinelError](err); ok {
		return explainSentinel(sentinel)
	}
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return "user and password cannot be read", "check the file that SIDECAST_REDIS_PASSWORD_FILE names"
	}
	if _, ok := errors.AsType[*certificateError](err); ok {
		return "the client certificate cannot be read", "check the files that SIDECAST_REDIS_CERT and SIDECAST_REDIS_KEY name"
	}
	if c, ok := conditionOf(reply); ok {
		return c.problem, c.do
	}
	switch {
	case errors.Is(err, errReplica):
		return "the server is a replica", "point SIDECAST_REDIS_URL at the master"
	case errors.Is(err, errSlotMoved):
		return "the nodes of the cluster do not agree on the owners of the slots", "wait, or run redis-cli --cluster check"
	case errors.Is(err, errSentinelRole):
		return "the server is a Sentinel",
			"point SIDECAST_REDIS_URL at the Redis master that it watches, or set SIDECAST_REDIS_MODE=sentinel"
	case denied:
		return "a subscription was refused", "grant the right: run `sidecast check`"
	case has("WRONGPASS"), has("invalid password"), has("AUTH failed"), has("without any password configured"):
		return "user and password were refused", "check SIDECAST_REDIS_USERNAME and SIDECAST_REDIS_PASSWORD"
	case has("NOAUTH"):
		return "the server requires a password",
			"set SIDECAST_REDIS_PASSWORD (and SIDECAST_REDIS_USERNAME for an ACL user)"
	case has("DENIED"):
		return "the server is in protected mode", "set a password for Redis, or bind it to a specific address"
	case has("max number of clients"):
		return "the server has reached its limit of clients", "raise maxclients in Redis, or close other clients"
	case has("cluster support disabled"):
		return "the server is not part of a cluster", "unset SIDECAST_REDIS_MODE, or correct SIDECAST_REDIS_URL"
	case has("DB index is out of range"):
		return "the server does not have this database", "lower the database number in SIDECAST_REDIS_URL"
	case has("NOPERM"):
		return "the user lacks the rights to log in",
			"grant +hello +auth +ping +subscribe +psubscribe: run `sidecast check`"
	}
	return explainCommand(err)
}

// explainCommand explains why the server does not execute or know a command.
// For any other error it returns empty strings.
func explainCommand(err error) (problem, do string) {
	reply := replyOf(err)
	switch {
	case strings.HasPrefix(reply, "WRONGTYPE"):
		return "the key is not a stream", "delete the key, or give the channel another name"
	case strings.HasPrefix(reply, "MOVED"):
		return "the key is at another node of a cluster",
			"set SIDECAST_REDIS_MODE=cluster; if it is set, run redis-cli --cluster check"
	case strings.HasPrefix(strings.ToLower(reply), "err unknown "), errors.Is(err, errStreamReply),
		errors.Is(err, errRoleUnsupported), errors.Is(err, errNodeUnsupported):
		return "the server lacks a command or an answer that Redis has", "use Redis 7.0 or newer, or Valkey"
	}
	return "", ""
}

// explainSentinel explains errors of Sentinels, as opposed to those of the
// servers that they watch.
func explainSentinel(err *sentinelError) (problem, do string) {
	text := err.Error()
	switch {
	case errors.Is(err, errNoMaster):
		return "the Sentinels do not know a master with this name", "check master_name in SIDECAST_REDIS_URL"
	case isUnauthenticated(text), strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"):
		return "the Sentinels refused the user and password, or require them",
			"check SIDECAST_REDIS_SENTINEL_USERNAME and SIDECAST_REDIS_SENTINEL_PASSWORD"
	case strings.Contains(text, "unknown command"):
		return "the server is not a Sentinel", "point SIDECAST_REDIS_URL at the Sentinels, or unset SIDECAST_REDIS_MODE"
	}
	return "no Sentinel answers", "check the addresses in SIDECAST_REDIS_URL, and that the Sentinels are running"
}

// explainTLS explains errors of TLS. For any other error it returns empty
// strings.
func explainTLS(err error) (problem, do string) {
	failed, isTLS := errors.AsType[*tlsError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	hostname, host := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	alert := tlsAlert(err)
	switch {
	case alert != "":
		return explainAlert(alert)
	case authority:
		return "the server's certificate is signed by an unknown authority", "set SIDECAST_REDIS_CA"
	case host && len(hostname.Certificate.DNSNames)+len(hostname.Certificate.IPAddresses) == 0:
		return "the server's certificate names a host only in its common name, which is no longer used",
			"issue a certificate with a subjectAltName for the host in SIDECAST_REDIS_URL"
	case host:
		return "the server's certificate names another host",
			"use the host in SIDECAST_REDIS_URL that the certificate names"
	case isInvalid:
		return explainInvalid(invalid), "renew it, or correct the clock"
	case plain:
		return "the server does not use TLS on this port", "use a redis:// URL, or the server's TLS port"
	case isTLS && failed.established:
		return "the server closed the connection after the TLS handshake",
			setCertificate + " if it requires a client certificate, and check Redis's log"
	case isTLS && errors.Is(err, context.DeadlineExceeded):
		return "the TLS handshake was not answered", "use a redis:// URL, or the server's TLS port"
	case isTLS:
		return "the TLS handshake failed",
			"check that the port is the server's TLS port, and set SIDECAST_REDIS_CERT if the server requires a client certificate"
	}
	return "", ""
}

// explainInvalid says why a certificate is not valid.
func explainInvalid(err x509.CertificateInvalidError) string {
	whose := "the server's certificate"
	if err.Cert != nil && err.Cert.IsCA {
		whose = "the certificate of the authority that signed the server's"
	}
	switch now := time.Now(); {
	case err.Reason != x509.Expired || err.Cert == nil:
		return whose + " is not valid"
	case now.Before(err.Cert.NotBefore):
		return whose + " is not valid before " + day(err.Cert.NotBefore)
	}
	return whose + " expired on " + day(err.Cert.NotAfter)
}

// tlsAlert returns the alert with which the server ended TLS, or an empty
// string. With TLS 1.3 the server verifies the client certificate after the
// handshake, so the alert is the answer to the login.
func tlsAlert(err error) string {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return ""
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}

const setCertificate = "set SIDECAST_REDIS_CERT and SIDECAST_REDIS_KEY"

// explainAlert explains why the server ended TLS.
func explainAlert(alert string) (problem, do string) {
	switch {
	case alert == "certificate required":
		return "the server requires a client certificate", setCertificate
	case alert == "handshake failure": // the answer to a missing certificate with TLS 1.2
		return "the server refuses the TLS handshake", setCertificate + " if the server requires a client certificate"
	case strings.Contains(alert, "certificate"), alert == "error decrypting message": // of a CA with the same name
		return "the server rejects the client certificate",
			"check that SIDECAST_REDIS_CERT is signed by a CA in Redis's tls-ca-cert-file, and has not expired"
	case alert == "protocol version not supported":
		return "the server does not support TLS 1.2 or newer", "update Redis, or change its tls-protocols"
	}
	return "the server ended TLS", "check Redis's log"
}

// adviseStreams is [advise] for commands about a stream, before which a cluster
// that moves the stream needs an ASKING.
func adviseStreams(err error, grant string) string {
	if isAskingDenied(err) {
		return grantAsking
	}
	return advise(err, grant)
}

// grantAsking tells how to grant the right to use streams while they move.
const grantAsking = "grant +asking"

// grantBus tells how to grant the right to watch the bus of a cluster.
const grantBus = "grant +cluster|links; it needs Redis 7.0"

// grantPattern tells how to grant the right to subscribe to a pattern.
func grantPattern(pattern string) string {
	return "grant it with ACL SETUSER <user> &" + pattern + " (Redis compares the pattern literally, " +
		"so a grant of a wider pattern does not include it)"
}

// grantStreams tells how to grant the right to read the streams that a pattern
// matches.
func grantStreams(pattern string) string {
	return "grant %R~" + pattern + " and +xrange +xrevrange +xinfo"
}
