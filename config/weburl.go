package config

import (
	"net/url"
	"strings"

	"sidecast/relay/loopback"
	"sidecast/relay/syntax"
)

// A WebURL is an http or https URL without a user name. It is shown without its
// query, which may contain a secret.
type WebURL string

// A KeysURL is the [WebURL] of a set of public keys.
type KeysURL struct{ WebURL }

// A HookURL is the [WebURL] to which events are posted.
type HookURL struct{ WebURL }

const (
	hintWebURL  = "write a URL like http://app.internal/live-auth"
	hintHookURL = "write a URL like http://app.internal/events"
	hintKeysURL = "write a URL like https://id.example.com/jwks.json"
)

// Decode reads a URL. Its errors do not repeat the value, which may contain a
// password.
func (u *WebURL) Decode(value string) error { return u.decode(value, hintWebURL) }

// Decode reads a URL, like [WebURL.Decode].
func (u *KeysURL) Decode(value string) error { return u.decode(value, hintKeysURL) }

// Decode reads a URL, like [WebURL.Decode].
func (u *HookURL) Decode(value string) error { return u.decode(value, hintHookURL) }

func (u *WebURL) decode(value, hint string) error {
	value = strings.TrimSpace(value)
	parsed, err := url.Parse(value)
	switch {
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "":
		return syntax.New("is not an http or https URL", hint)
	case parsed.User != nil:
		return syntax.New("contains a user name", hint)
	case strings.Contains(value, "#"):
		return syntax.New("contains a #", hint)
	case parsed.Port() != "" && !syntax.ValidPort(parsed.Port()):
		return syntax.New("has a port that is not 1 to 65535", hint)
	}
	*u = WebURL(value)
	return nil
}

// String returns the URL without its query.
func (u WebURL) String() string {
	if address, _, ok := strings.Cut(string(u), "?"); ok {
		return address + "?" + redacted
	}
	return string(u)
}

// GoString returns what String returns.
func (u WebURL) GoString() string { return u.String() }

// MarshalText returns what String returns.
func (u WebURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// secure reports whether a response cannot be changed on its way: the URL is
// https, or its host is this machine.
func (u WebURL) secure() bool {
	parsed, err := url.Parse(string(u))
	return err == nil && (parsed.Scheme == "https" || loopback.Host(parsed.Hostname()))
}
