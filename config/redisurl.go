package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// A RedisURL is an URL as go-redis parses it: redis://, rediss:// or unix://. It is shown without its credentials and
// without the values of options that could be some. Only Reveal returns it whole. The zero RedisURL is unset.
type RedisURL struct {
	secret      Secret
	shown       string
	tls         bool
	hasUser     bool
	hasPassword bool
}

// Reveal returns the URL with its credentials, or "" where it is unset.
func (u RedisURL) Reveal() string { return u.secret.Reveal() }

// IsSet reports whether there is an URL.
func (u RedisURL) IsSet() bool { return u.secret.IsSet() }

// String returns the URL without credentials, or "" where it is unset.
func (u RedisURL) String() string { return u.shown }

// GoString returns what String returns, quoted.
func (u RedisURL) GoString() string { return strconv.Quote(u.shown) }

// Format writes what String returns, whatever the verb.
func (u RedisURL) Format(f fmt.State, _ rune) { io.WriteString(f, u.shown) }

// MarshalText returns what String returns; encoding/json uses it.
func (u RedisURL) MarshalText() ([]byte, error) { return []byte(u.shown), nil }

// LogValue returns what String returns.
func (u RedisURL) LogValue() slog.Value { return slog.StringValue(u.shown) }

func (RedisURL) hide() {}

const (
	writeURL     = "write redis://host:6379, rediss://host:6379 for TLS, or unix:///path"
	writeEncoded = "percent-encode / ? # @ and % in the password, or give it as " + Prefix + "REDIS_PASSWORD"
)

// Decode takes an URL whose parts are all where they belong. Its errors repeat nothing of it but a bare host and port.
func (u *RedisURL) Decode(value string) error {
	value = strings.TrimSpace(value)
	if !strings.Contains(value, "://") {
		return withoutScheme(value)
	}
	parsed, err := url.Parse(value)
	if err != nil {
		// The error repeats the URL.
		return &syntaxError{"is not a URL", writeURL + "; " + writeEncoded}
	}
	switch parsed.Scheme {
	case "redis", "rediss":
		err = checkTCP(parsed)
	case "unix":
		err = checkUnix(parsed)
	case "tls", "valkeys":
		err = &syntaxError{"has a scheme that go-redis does not know", "write rediss:// for TLS"}
	default:
		err = &syntaxError{"has a scheme that go-redis does not know", writeURL}
	}
	if err != nil {
		return err
	}
	password, _ := parsed.User.Password()
	*u = RedisURL{
		secret:      NewSecret(value),
		shown:       show(parsed),
		tls:         parsed.Scheme == "rediss",
		hasUser:     parsed.User.Username() != "",
		hasPassword: password != "",
	}
	return nil
}

// withoutScheme repeats what is certainly a host and a port, because then the answer can be copied.
func withoutScheme(value string) error {
	host, port, _ := strings.Cut(value, ":")
	if host != "" && plain(host, ".-_") && validPort(port) {
		return &syntaxError{"has no scheme", "write redis://" + host + ":" + port}
	}
	return &syntaxError{"has no scheme", writeURL}
}

func checkTCP(u *url.URL) error {
	database := strings.TrimPrefix(u.Path, "/")
	_, notIP := netip.ParseAddr(u.Hostname())
	_, err := strconv.ParseUint(database, 10, 31)
	switch {
	case u.Hostname() == "":
		// go-redis would take localhost, and an empty shell variable would go unnoticed.
		return &syntaxError{"names no host", writeURL}
	case notIP != nil && !plain(u.Hostname(), ".-_"):
		return &syntaxError{"has more than one host, or one with letters that no host has", writeURL + "; " + writeEncoded}
	case u.Port() != "" && !validPort(u.Port()):
		return &syntaxError{"has a port that is not 1 to 65535", writeURL}
	case u.Fragment != "" || database != "" && err != nil || misplaced(u):
		return &syntaxError{"has something other than a database number behind the host", writeEncoded}
	}
	return nil
}

func checkUnix(u *url.URL) error {
	switch {
	case u.Host != "":
		return &syntaxError{"has a host before the path", "write unix:///path with three slashes"}
	case u.Path == "" || u.Path == "/":
		return &syntaxError{"names no path", "write unix:///path"}
	case u.Fragment != "" || misplaced(u):
		return &syntaxError{"has a # or an @ where none belongs", writeEncoded}
	}
	return nil
}

// misplaced reports whether there is an @ behind the host: then what stands before it was meant as a password.
func misplaced(u *url.URL) bool {
	return strings.Contains(u.Path, "@") || strings.Contains(u.RawQuery, "@")
}

// shownOptions are the options of go-redis whose values tell an operator something and cannot be credentials.
var shownOptions = []string{"addr", "master_name", "db", "protocol", "pool_size", "dial_timeout", "read_timeout", "write_timeout", "skip_verify"}

// show writes a URL that was found good without its credentials.
func show(u *url.URL) string {
	var b strings.Builder
	b.WriteString(u.Scheme + "://")
	if u.User != nil {
		b.WriteString(redacted + "@")
	}
	b.WriteString(u.Host + u.EscapedPath())
	separator := "?"
	query := u.Query()
	for _, name := range shownOptions {
		for _, value := range query[name] {
			b.WriteString(separator + name + "=" + url.QueryEscape(value))
			separator = "&"
		}
		delete(query, name)
	}
	if len(query) > 0 {
		b.WriteString(separator + redacted)
	}
	return b.String()
}

// A RedisMode says what a RedisURL leads to.
type RedisMode string

// The modes.
const (
	ModeStandalone RedisMode = "standalone"
	ModeSentinel   RedisMode = "sentinel"
	ModeCluster    RedisMode = "cluster"
)

// Decode reads a mode; which ones there are is said where it is used.
func (m *RedisMode) Decode(value string) error {
	*m = RedisMode(strings.ToLower(strings.TrimSpace(value)))
	return nil
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
