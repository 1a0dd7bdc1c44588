package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"sidecast/relay/stats"
)

// deniedError is Redis refusing a subscription for lack of a right. It does not wrap go-redis's error, on which go-redis
// would keep the conn.
type deniedError struct{ reply string }

func (e *deniedError) Error() string { return e.reply }

// replyError is any other error reply to a subscription.
type replyError struct{ reply string }

func (e *replyError) Error() string { return e.reply }

// errUntapped says that a message went past the tap. The link ends, so that clients are told.
func errUntapped(channel string) error {
	return fmt.Errorf("go-redis received a message itself, on %q", channel)
}

func isDenied(reply string) bool { return strings.HasPrefix(reply, "NOPERM") }

func isUnauthenticated(reply string) bool {
	return strings.HasPrefix(reply, "NOAUTH") || strings.HasPrefix(reply, "WRONGPASS") ||
		strings.Contains(reply, "invalid password") || strings.Contains(reply, "AUTH failed")
}

// isTransient reports whether the server says that it cannot serve anybody now.
func isTransient(reply string) bool {
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "OOM",
		"ERR max number of clients"} {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	return false
}

// A trouble is what keeps the link down, so that it is logged when it begins and changes, and once a minute.
type trouble struct {
	problem string
	logged  time.Time
}

// remindEvery is how often the same trouble is logged.
const remindEvery = time.Minute

// report logs why an attempt failed and what to do about it.
func (l *Link) report(err error) {
	problem, do := explain(err)
	if problem == l.trouble.problem && time.Since(l.trouble.logged) < remindEvery {
		l.log.Debug("redis is still not reachable", "addr", l.cfg.Server.Address,
			"err", l.cfg.Server.redact(err))
		return
	}
	if problem != l.trouble.problem {
		switch {
		case errors.Is(err, errReplica), errors.Is(err, errRole):
			l.stats.RedisEpochs[stats.CauseReplica].Add(1)
		case causeOf(err) == stats.CauseDenied:
			l.stats.RedisEpochs[stats.CauseDenied].Add(1)
		}
	}
	l.trouble = trouble{problem, time.Now()}
	if denied, ok := errors.AsType[*deniedError](err); ok {
		do = l.nameDenied(denied, do)
	}
	l.log.Error("redis is not reachable", "addr", l.cfg.Server.Address, "problem", problem, "do", do,
		"err", l.cfg.Server.redact(err))
}

// explain says in words what an error means and what to do. Neither contains anything secret.
func explain(err error) (problem, do string) {
	if problem, do = explainReply(err); problem != "" {
		return problem, do
	}
	if problem, do = explainTLS(err); problem != "" {
		return problem, do
	}
	timeout, isNet := errors.AsType[net.Error](err)
	_, noName := errors.AsType[*net.DNSError](err)
	switch {
	case noName:
		return "the host name cannot be resolved", "check the host in SIDECAST_REDIS_URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens at this address", "start Redis, or correct SIDECAST_REDIS_URL"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
		return "the socket does not exist or may not be opened",
			"check the path in SIDECAST_REDIS_URL and its permissions"
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time", "check that a firewall or network policy lets this host reach Redis, " +
			"and that a rediss:// URL is used where Redis wants TLS"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "the connection was closed during the login", "use a rediss:// URL if Redis wants TLS, " +
			"and look into Redis's log"
	case errors.Is(err, errUnconfirmed):
		return "the subscriptions were not confirmed", "look into Redis's log"
	}
	return "the connection failed", "read the error and Redis's log"
}

func explainReply(err error) (problem, do string) {
	text := err.Error()
	has := func(word string) bool { return strings.Contains(text, word) }
	_, denied := errors.AsType[*deniedError](err)
	if sentinel, ok := errors.AsType[*sentinelError](err); ok {
		return explainSentinel(sentinel)
	}
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return "user and password cannot be read", "check the file that SIDECAST_REDIS_PASSWORD_FILE names"
	}
	switch {
	case errors.Is(err, errReplica):
		return "the server is a replica", "point SIDECAST_REDIS_URL at the master"
	case errors.Is(err, errNotOwner):
		return "the nodes of the cluster do not agree on who has which slots", "wait, or look with redis-cli --cluster check"
	case errors.Is(err, errRole):
		return "the server is a Sentinel",
			"point SIDECAST_REDIS_URL at the Redis master that it watches, or set SIDECAST_REDIS_MODE=sentinel"
	case denied:
		return "a subscription was refused", "grant the right: run `sidecast check`"
	case has("WRONGPASS"), has("invalid password"), has("AUTH failed"), has("without any password configured"):
		return "user and password were refused", "check SIDECAST_REDIS_USERNAME and SIDECAST_REDIS_PASSWORD"
	case has("NOAUTH"):
		return "the server wants a password",
			"set SIDECAST_REDIS_PASSWORD (and SIDECAST_REDIS_USERNAME for an ACL user)"
	case has("DENIED"):
		return "the server is in protected mode", "give Redis a password, or bind it to an address of its own"
	case has("max number of clients"):
		return "the server has as many clients as it may have", "raise maxclients in Redis, or close other clients"
	case has("cluster support disabled"):
		return "the server is not part of a cluster", "unset SIDECAST_REDIS_MODE, or correct SIDECAST_REDIS_URL"
	case has("LOADING"):
		return "the server is loading its data", "wait"
	case has("NOPERM"):
		return "the user may not log in like this",
			"grant +hello +auth +ping +subscribe +psubscribe: run `sidecast check`"
	}
	return "", ""
}

// explainSentinel tells the troubles of Sentinels from those of the servers that they watch.
func explainSentinel(err *sentinelError) (problem, do string) {
	text := err.Error()
	switch {
	case errors.Is(err, errNoMaster):
		return "the Sentinels know no master of this name", "check master_name in SIDECAST_REDIS_URL"
	case isUnauthenticated(text), strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"):
		return "the Sentinels refused user and password, or want some",
			"check SIDECAST_REDIS_SENTINEL_USERNAME and SIDECAST_REDIS_SENTINEL_PASSWORD"
	case strings.Contains(text, "unknown command"):
		return "the server is no Sentinel", "point SIDECAST_REDIS_URL at the Sentinels, or unset SIDECAST_REDIS_MODE"
	}
	return "no Sentinel answers", "check the addresses in SIDECAST_REDIS_URL, and that the Sentinels run"
}

func explainTLS(err error) (problem, do string) {
	_, isTLS := errors.AsType[*tlsError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case authority:
		return "the server's certificate is signed by an unknown authority", "set SIDECAST_REDIS_CA"
	case host:
		return "the server's certificate names another host",
			"use the host in SIDECAST_REDIS_URL that the certificate names"
	case invalid:
		return "the server's certificate is not valid", "renew it, or correct the clock"
	case plain:
		return "the server does not speak TLS here", "use a redis:// URL, or the server's TLS port"
	case isTLS && errors.Is(err, context.DeadlineExceeded):
		return "the TLS handshake was not answered", "use a redis:// URL, or the server's TLS port"
	case isTLS:
		return "the TLS handshake failed",
			"check that the port is the server's TLS port, and whether it wants a client certificate"
	}
	return "", ""
}

// nameDenied finds out which subscriptions are refused, because Redis may answer for all at once without a name.
func (l *Link) nameDenied(denied *deniedError, do string) string {
	if strings.Contains(denied.reply, "command") {
		return "grant the command: ACL SETUSER <user> +psubscribe +subscribe"
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	for _, pattern := range l.wanted {
		if err := trySubscribe(ctx, l.commands, "psubscribe", pattern); err != nil && isDenied(err.Error()) {
			return grantPattern(pattern)
		}
	}
	return do
}

// grantPattern says how to allow a pattern.
func grantPattern(pattern string) string {
	return fmt.Sprintf("grant it with ACL SETUSER <user> &%s : Redis wants the pattern literally, so a grant of a wider "+
		"pattern does not include it", pattern)
}

// warnings are those that are given once.
type warnings struct {
	role, node, bus, ping, subscribe, publish, clientPublish, foreign sync.Once
}

func (l *Link) warnRole() {
	if l.cfg.Embedded {
		return
	}
	l.log.Warn("redis does not tell its role, so a replica would not be noticed", "do", "grant +role")
}

func (l *Link) warnNode() {
	if l.cfg.Embedded || l.cfg.MarkersOff {
		return
	}
	l.log.Warn("redis does not tell which server it is, so clients cannot resume at another replica", "do", "grant +info")
}

func (l *Link) warnBus() {
	l.log.Warn("redis does not tell of its cluster's bus, so messages lost between its nodes would not be noticed",
		"do", "grant +cluster|links; it needs Redis 7.0")
}

// warnAway is given once in an epoch.
func (l *Link) warnAway(at, owner string) {
	l.log.Warn("the slot of the marker channel has moved to another node than we listen to, where relays that connect from "+
		"now on listen: clients that change to one of them, or come from there, are told of a gap",
		"addr", at, "owner", owner, "do", "restart this relay when it suits")
}

// warnUnlinked is given at the beginning of each epoch that it is true of.
func (l *Link) warnUnlinked(nodes int) {
	l.log.Warn("some nodes of the cluster have no link to the one that we listen to: what is published there is not heard "+
		"until they have", "nodes", nodes, "do", "check that those nodes live, and that each reaches the bus ports of all others")
}

func (l *Link) warnPing(reply string) {
	l.log.Warn("redis refuses PING, its refusals are taken for answers", "do", "grant +ping", "err", reply)
}

func (l *Link) warnSubscribe(reply string) {
	l.log.Warn("redis refuses the marker channel, so delivery is not probed",
		"do", "grant +subscribe and "+l.grantMarker(), "err", reply)
}

func (l *Link) warnPublish(err error) {
	l.log.Warn("redis refuses to publish markers, so delivery is not probed",
		"do", "grant +publish and "+l.grantMarker(), "err", err)
}

func (l *Link) warnMute(err error) {
	l.log.Warn("markers cannot be published though the link is live, so delivery is not probed",
		"do", "check that Redis accepts more connections", "err", l.cfg.Server.redact(err))
}

func (l *Link) grantMarker() string { return "&" + l.marker }

func (l *Link) warnClientPublish(err error) {
	l.log.Warn("redis refuses what clients publish",
		"do", "grant +publish and the channels of SIDECAST_PUBLISH_CHANNELS", "err", err)
}

func (l *Link) warnForeign() {
	l.log.Warn("another relay with other patterns or prefixes uses the same key prefix",
		"do", "give each application its own SIDECAST_KEY_PREFIX, and all replicas of one the same settings")
}
