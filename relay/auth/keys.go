package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithms are all that tokens can be signed with.
var Algorithms = []string{"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"}

// minRSA is the least size of an RSA key, in bits.
const minRSA = 2048

var (
	errKeyUnknown = errors.New("no key fits the token")
	errKeysAway   = errors.New("the keys cannot be fetched")
)

// A Keys is where the keys are that verify tokens. Each kind of key serves its own algorithms only: a public key is never
// taken for a secret, whatever a token's header says.
type Keys struct {
	algorithms []string
	// find returns the keys to try on a token with this kid (empty if it has none): errKeyUnknown, or errKeysAway where
	// there is no telling now.
	find func(ctx context.Context, kid string) ([]jwt.VerificationKey, error)
	run  func(context.Context, *slog.Logger) error // keeps the keys fresh; nil where they do not change
}

// SecretKeys verifies by secrets that the application shares. Several are tried in order, so that one can be replaced
// while tokens of the one before are still about.
func SecretKeys(secrets ...string) *Keys {
	keys := make([]jwt.VerificationKey, len(secrets))
	for i, secret := range secrets {
		keys[i] = []byte(secret)
	}
	return &Keys{algorithms: Algorithms[:3], find: fixed(keys)}
}

// PublicKey verifies by one public key in PEM: RSA of 2048 bits or more, an elliptic curve P-256, or Ed25519.
func PublicKey(text []byte) (*Keys, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("this is not PEM")
	}
	key, err := parsePublic(block)
	if err != nil {
		return nil, err
	}
	algorithm, err := algorithmOf(key)
	if err != nil {
		return nil, err
	}
	return &Keys{algorithms: []string{algorithm}, find: fixed([]jwt.VerificationKey{key})}, nil
}

func parsePublic(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			return key, nil
		}
	case "RSA PUBLIC KEY":
		if key, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
			return key, nil
		}
	case "CERTIFICATE":
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			return certificate.PublicKey, nil
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, errors.New("this is a private key, which only the application should have")
	}
	return nil, errors.New("this is not a public key in PEM")
}

// algorithmOf returns the one algorithm that a public key serves.
func algorithmOf(key any) (string, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return "", errors.New("the RSA key is shorter than 2048 bits")
		}
		return "RS256", nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return "ES256", nil
		}
	case ed25519.PublicKey:
		return "EdDSA", nil
	}
	return "", errors.New("the key is neither RSA, nor of the curve P-256, nor Ed25519")
}

func fixed(keys []jwt.VerificationKey) func(context.Context, string) ([]jwt.VerificationKey, error) {
	return func(context.Context, string) ([]jwt.VerificationKey, error) { return keys, nil }
}

// Restrict leaves only the given algorithms, and reports which of them the keys do not serve.
func (k *Keys) Restrict(algorithms []string) (foreign []string) {
	for _, name := range algorithms {
		if !slices.Contains(k.algorithms, name) {
			foreign = append(foreign, name)
		}
	}
	k.algorithms = slices.Clone(algorithms)
	return foreign
}

// Algorithms returns what tokens may be signed with.
func (k *Keys) Algorithms() []string { return k.algorithms }
