package config

import (
	"encoding/pem"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// A PublicKey is a public key in PEM, given itself or as the path of a file. Which kinds of keys there are is for those to
// say who use it. The zero PublicKey is unset.
type PublicKey struct{ shown, text string }

// PEM returns the key, or "" where it is unset.
func (k PublicKey) PEM() string { return k.text }

// IsSet reports whether there is a key.
func (k PublicKey) IsSet() bool { return k.text != "" }

// String returns the path, or a word that stands for a key that was given itself.
func (k PublicKey) String() string { return k.shown }

// MarshalText returns what String returns.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.shown), nil }

const writeKey = "write a PEM block that begins with -----BEGIN PUBLIC KEY-----, or the path of a file that holds one"

// Decode reads a key, or the file that holds it. In a key, \n can stand for a line break. A private key is refused without
// repeating it.
func (k *PublicKey) Decode(value string) error {
	value = strings.TrimSpace(value)
	found := PublicKey{shown: "[PEM]", text: strings.ReplaceAll(value, `\n`, "\n")}
	if !strings.HasPrefix(value, "-----BEGIN") {
		if strings.ContainsAny(value, "\r\n") {
			return &syntaxError{"is neither PEM nor a path", writeKey}
		}
		f, err := os.Open(value)
		if err != nil {
			return &syntaxError{"the file that it names cannot be read: " + reason(err), writeKey}
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
		if err != nil {
			return &syntaxError{"the file that it names cannot be read: " + reason(err), writeKey}
		}
		found = PublicKey{shown: value, text: string(text)}
	}
	block, _ := pem.Decode([]byte(found.text))
	switch {
	case block == nil:
		return &syntaxError{"is not PEM", writeKey}
	case strings.Contains(block.Type, "PRIVATE"):
		return &syntaxError{"is a private key, which only the application should have", writeKey}
	}
	*k = found
	return nil
}

// A WebURL is an http or https URL without a user in it. It is shown without the values of its query.
type WebURL string

const writeWebURL = "write one like http://app.internal/live-auth"

// Decode reads a URL. What does not parse is not repeated, since a password may be in it.
func (u *WebURL) Decode(value string) error {
	value = strings.TrimSpace(value)
	parsed, err := url.Parse(value)
	switch {
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "":
		return &syntaxError{"is not an http or https URL", writeWebURL}
	case parsed.User != nil:
		return &syntaxError{"has a user in it", writeWebURL}
	case parsed.Fragment != "" || strings.Contains(value, "#"):
		return &syntaxError{"has a # in it", writeWebURL}
	case parsed.Port() != "" && !validPort(parsed.Port()):
		return &syntaxError{"has a port that is not 1 to 65535", writeWebURL}
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

// secure reports whether nobody between here and there can change what comes: it is https, or this machine.
func (u WebURL) secure() bool {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return false
	}
	if parsed.Scheme == "https" || parsed.Hostname() == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(parsed.Hostname())
	return err == nil && address.Unmap().IsLoopback()
}

// A CookieName is the name of a cookie (RFC 6265 section 4.1.1).
type CookieName string

// Decode reads a name.
func (c *CookieName) Decode(value string) error {
	value = strings.TrimSpace(value)
	if !plain(value, "!#$%&'*+-.^_`|~") {
		return &syntaxError{echo(value) + " is not a cookie's name", "write letters, digits, - and _"}
	}
	*c = CookieName(value)
	return nil
}

// A Format is how what a client publishes reaches Redis.
type Format string

// The formats.
const (
	FormatRaw  Format = "raw"
	FormatJSON Format = "json"
)

// Decode reads a format; which ones there are is said where it is used.
func (f *Format) Decode(value string) error {
	*f = Format(strings.ToLower(strings.TrimSpace(value)))
	return nil
}
