package config

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"sidecast/relay/redisurl"
)

// A RedisURL is a URL that [redisurl.Parse] accepts. It is shown without its
// credentials; only Reveal returns the whole URL. The zero RedisURL is unset.
type RedisURL struct {
	text   Secret
	parsed *redisurl.URL
}

// Reveal returns the URL with its credentials, or "" if it is unset.
func (u RedisURL) Reveal() string { return u.text.Reveal() }

// IsSet reports whether there is a URL.
func (u RedisURL) IsSet() bool { return u.text.IsSet() }

// String returns the URL without credentials, or "" if it is unset.
func (u RedisURL) String() string { return u.parsed.String() }

// GoString returns what String returns, quoted.
func (u RedisURL) GoString() string { return strconv.Quote(u.String()) }

// Format writes what String returns, whatever the verb.
func (u RedisURL) Format(f fmt.State, _ rune) { io.WriteString(f, u.String()) }

// MarshalText returns what String returns; encoding/json uses it.
func (u RedisURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue returns what String returns.
func (u RedisURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

func (RedisURL) hide() {}

// Decode reads a URL of any mode. [Config.Validate] checks that it can be used
// in the mode that is set.
func (u *RedisURL) Decode(value string) error {
	value = strings.TrimSpace(value)
	parsed, err := redisurl.Parse(value)
	if err != nil {
		return err
	}
	*u = RedisURL{text: NewSecret(value), parsed: parsed}
	return nil
}
