// Package redisurl parses the URLs that say where Redis is and how to log in
// there. It imports only the standard library and relay/syntax.
//
// The forms are those of go-redis: redis://, rediss:// for TLS, and unix:// for
// a socket. For Sentinel and Cluster the host is the first node; the option
// addr, which may be repeated, adds others, and the option master_name names
// the master to the Sentinels. The other options are db, protocol and
// skip_verify. Every other option is rejected, because it would change how the
// relay connects.
//
// No error repeats a part of the URL, except a bare host and port that lack a
// scheme: a password may be anywhere in it.
package redisurl

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// redacted replaces credentials where a URL is shown.
const redacted = "[redacted]"

// A URL is a parsed URL. Printing one in any way shows neither user nor
// password. A URL that [Parse] returned is not changed afterwards.
type URL struct {
	TLS        bool
	SkipVerify bool   // do not verify the server's certificate; only with TLS
	Socket     string // absolute path of a Unix socket, or empty
	Host       string // without brackets; empty if there is a Socket
	Port       string // empty if the URL has no port
	DB         int
	Protocol   int      // RESP 2 or 3; 0 if the URL does not say
	Nodes      []string // host:port of the nodes after the first, for Sentinel and Cluster
	MasterName string   // for Sentinel

	// A pointer, because fmt prints an unexported field of another struct
	// without calling its methods, and follows only the first pointer to a
	// struct.
	user      *url.Userinfo
	hasMaster bool   // the URL has the option master_name, possibly empty
	shown     string // without credentials
}

// Username returns the user, or "" if there is no user.
func (u *URL) Username() string { return u.user.Username() }

// Password returns the password, or "" if there is no password.
func (u *URL) Password() string {
	password, _ := u.user.Password()
	return password
}

// Address returns the host:port of the first node, or the path of the socket.
func (u *URL) Address(mode Mode) string {
	if u.Socket != "" {
		return u.Socket
	}
	port := u.Port
	if port == "" {
		port = mode.defaultPort()
	}
	return net.JoinHostPort(u.Host, port)
}

// String returns the URL without user and password.
func (u *URL) String() string {
	if u == nil {
		return ""
	}
	return u.shown
}

// GoString returns what String returns, quoted.
func (u *URL) GoString() string { return strconv.Quote(u.String()) }

// Format writes what String returns, whatever the verb.
func (u *URL) Format(f fmt.State, _ rune) { io.WriteString(f, u.String()) }

// MarshalText returns what String returns; encoding/json uses it.
func (u *URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue returns what String returns.
func (u *URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// shownOptions are all options, in the order in which they are shown. Their
// values cannot be credentials.
var shownOptions = []string{"addr", "master_name", "db", "protocol", "skip_verify"}

// show returns a URL that has been checked, without user and password.
func show(u *url.URL) string {
	var text strings.Builder
	text.WriteString(u.Scheme + "://")
	if u.User != nil {
		text.WriteString(redacted + "@")
	}
	text.WriteString(u.Host + u.EscapedPath())
	separator := "?"
	query := u.Query()
	for _, name := range shownOptions {
		for _, value := range query[name] {
			text.WriteString(separator + name + "=" + url.QueryEscape(value))
			separator = "&"
		}
	}
	return text.String()
}
