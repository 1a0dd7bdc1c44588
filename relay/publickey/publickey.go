// Package publickey parses the public keys that verify tokens. It imports only
// the standard library and relay/syntax.
package publickey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"sidecast/relay/syntax"
)

// minRSA is the smallest size of an RSA key, in bits.
const minRSA = 2048

const (
	hintPEM  = "write a PEM block that begins with -----BEGIN PUBLIC KEY-----"
	hintKind = "write an RSA key of 2048 bits or more, an elliptic-curve key on P-256, or an Ed25519 key"
)

// A Key is a public key together with the only algorithm for which it may be
// used.
type Key struct {
	Public    crypto.PublicKey
	Algorithm string // RS256, ES256 or EdDSA
}

// Parse reads the first PEM block of a text: a public key, or a certificate
// that contains one. It rejects a private key. Errors are [syntax.Error] and
// repeat nothing of the text.
func Parse(text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, syntax.New("is not PEM", hintPEM)
	}
	if strings.Contains(block.Type, "PRIVATE") {
		return Key{}, syntax.New("is a private key, which only the application should have", hintPEM)
	}
	public := decode(block)
	if public == nil {
		return Key{}, syntax.New("is not a public key in PEM", hintPEM)
	}
	algorithm, err := AlgorithmOf(public)
	if err != nil {
		return Key{}, err
	}
	return Key{Public: public, Algorithm: algorithm}, nil
}

// decode returns the public key in a PEM block, or nil if it contains no key.
func decode(block *pem.Block) crypto.PublicKey {
	switch block.Type {
	case "PUBLIC KEY":
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			return key
		}
	case "RSA PUBLIC KEY":
		if key, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
			return key
		}
	case "CERTIFICATE":
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			return certificate.PublicKey
		}
	}
	return nil
}

// AlgorithmOf returns the only algorithm for which a public key may be used, or
// a [syntax.Error] if the key is of another kind or too short.
func AlgorithmOf(key crypto.PublicKey) (string, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return "", syntax.New("is an RSA key shorter than 2048 bits", hintKind)
		}
		return "RS256", nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return "ES256", nil
		}
	case ed25519.PublicKey:
		return "EdDSA", nil
	}
	return "", syntax.New("is neither an RSA key, nor on the curve P-256, nor Ed25519", hintKind)
}
