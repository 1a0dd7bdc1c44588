package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/publickey"
)

// Algorithms are all algorithms with which a token can be signed.
var Algorithms = []string{"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"}

var (
	errKeyUnknown = &problem{
		text: "unknown key id (kid)", do: "sign with a key that SIDECAST_JWT_JWKS_URL serves, whose alg, use and key_ops allow it",
	}
	errKeysUnavailable = errors.New("the keys cannot be fetched")
)

// Keys finds the keys that verify tokens. Each kind of key is used only for its
// own algorithms: a public key is never used as a secret, whatever a token's
// header says.
type Keys struct {
	algorithms []string
	// find returns the keys to try on a token with this kid, which is empty if
	// the token has no kid. It returns errKeyUnknown if there is no such key,
	// and errKeysUnavailable if that cannot be decided now. It does not wait.
	find func(kid string) ([]jwt.VerificationKey, error)

	// update fetches the keys if they may contain one that find did not find.
	// It and run are nil if the keys never change.
	update func(context.Context)
	run    func(context.Context, *slog.Logger) error // refreshes the keys
}

// SecretKeys verifies by secrets that are shared with the application. Several
// are tried in order, so that a secret can be replaced while tokens signed with
// the previous one are still valid.
func SecretKeys(secrets ...string) *Keys {
	keys := make([]jwt.VerificationKey, len(secrets))
	for i, secret := range secrets {
		keys[i] = []byte(secret)
	}
	return &Keys{algorithms: Algorithms[:3], find: fixed(keys)}
}

// PublicKey verifies by one public key in PEM, as [publickey.Parse] reads it.
func PublicKey(text []byte) (*Keys, error) {
	key, err := publickey.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the public key %w", err)
	}
	return &Keys{algorithms: []string{key.Algorithm}, find: fixed([]jwt.VerificationKey{key.Public})}, nil
}

func fixed(keys []jwt.VerificationKey) func(string) ([]jwt.VerificationKey, error) {
	return func(string) ([]jwt.VerificationKey, error) { return keys, nil }
}

// Restrict allows only the given algorithms and returns those that the keys
// cannot verify.
func (k *Keys) Restrict(algorithms []string) (foreign []string) {
	for _, name := range algorithms {
		if !slices.Contains(k.algorithms, name) {
			foreign = append(foreign, name)
		}
	}
	k.algorithms = slices.Clone(algorithms)
	return foreign
}

// Algorithms returns the algorithms with which tokens may be signed.
func (k *Keys) Algorithms() []string { return k.algorithms }
