package config

import (
	"strings"

	"sidecast/relay/publickey"
	"sidecast/relay/syntax"
)

// A PublicKey is a public key in PEM, or the path of a file that contains one.
// The zero PublicKey is unset.
type PublicKey struct{ shown, text string }

// PEM returns the key, or "" if it is unset.
func (k PublicKey) PEM() string { return k.text }

// IsSet reports whether there is a key.
func (k PublicKey) IsSet() bool { return k.text != "" }

// String returns the path, or a placeholder for a key that was not read from a
// file.
func (k PublicKey) String() string { return k.shown }

// MarshalText returns what String returns.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.shown), nil }

const hintPublicKey = "write a PEM block that begins with -----BEGIN PUBLIC KEY-----, or the path of a file that contains one"

// Decode reads a key, or the file that contains it. In a key, \n can replace a
// line break. A private key is rejected, and the error does not repeat it.
func (k *PublicKey) Decode(value string) error {
	value = strings.TrimSpace(value)
	found := PublicKey{shown: "[PEM]", text: strings.ReplaceAll(value, `\n`, "\n")}
	if !isPEM(value) {
		if strings.ContainsAny(value, "\r\n") {
			return syntax.New("is neither PEM nor a path", hintPublicKey)
		}
		text, err := readFile(value, maxSecretFile)
		if err != nil {
			return syntax.New("is not PEM, and cannot be read as a file: "+reason(err), hintPublicKey)
		}
		if syntax.HasBOM(string(text)) {
			return syntax.New("is a file that begins with a byte order mark (BOM)", hintBOM)
		}
		found = PublicKey{shown: value, text: string(text)}
	}
	if _, err := publickey.Parse([]byte(found.text)); err != nil {
		return err
	}
	*k = found
	return nil
}
