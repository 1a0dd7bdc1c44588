package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted replaces a secret where it would be shown.
const redacted = "[redacted]"

// A Secret is a value that is never shown: not by fmt with any verb, not in
// JSON and not through slog. Only Reveal returns it. The zero Secret is unset.
type Secret struct {
	// A pointer, because fmt prints an unexported field of another struct
	// without calling its methods. For a pointer in such a field it prints only
	// the address.
	text *string
}

// NewSecret returns a Secret with this text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the secret itself, or "" if it is unset.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.text != nil }

// String returns a placeholder, or "" if the secret is unset.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return redacted
}

// GoString returns what String returns, quoted.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format writes what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText returns what String returns; encoding/json uses it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Decode uses the whole value, including white space.
func (s *Secret) Decode(value string) error {
	*s = NewSecret(value)
	return nil
}

func (Secret) hide() {}
