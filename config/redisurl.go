package config

import (
	"strings"

	"sidecast/relay/redisurl"
)

// A RedisURL is a URL that [redisurl.Parse] accepts. The methods of
// [redisurl.URL] show it without its credentials; only Reveal returns the whole
// URL. The zero RedisURL is unset.
type RedisURL struct {
	text Secret
	*parsedURL
}

type parsedURL = redisurl.URL

// Reveal returns the URL with its credentials, or "" if it is unset.
func (u RedisURL) Reveal() string { return u.text.Reveal() }

// IsSet reports whether there is a URL.
func (u RedisURL) IsSet() bool { return u.text.IsSet() }

func (RedisURL) hide() {}

// Decode reads a URL of any mode. [Config.Validate] checks that it can be used
// in the mode that is set.
func (u *RedisURL) Decode(value string) error {
	value = strings.TrimSpace(value)
	parsed, err := redisurl.Parse(value)
	if err != nil {
		return err
	}
	*u = RedisURL{text: NewSecret(value), parsedURL: parsed}
	return nil
}
