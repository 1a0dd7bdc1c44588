package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/protocol"
)

// TestPublicKeys checks that a public key accepts its own algorithm only. In
// particular, it is never used as the secret of an HMAC.
func TestPublicKeys(t *testing.T) {
	rsa1, rsa2 := rsaKey(t, 2048), rsaKey(t, 2048)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		public any
		good   string
		bad    map[string]string
	}{
		{"RS256", &rsa1.PublicKey, sign(t, jwt.SigningMethodRS256, rsa1, validClaims()), map[string]string{
			"another key":                  sign(t, jwt.SigningMethodRS256, rsa2, validClaims()),
			"PS256 with the same key":      sign(t, jwt.SigningMethodPS256, rsa1, validClaims()),
			"RS512 with the same key":      sign(t, jwt.SigningMethodRS512, rsa1, validClaims()),
			"HS256 with the PEM as secret": sign(t, jwt.SigningMethodHS256, publicPEM(t, &rsa1.PublicKey), validClaims()),
			"HS256 with the modulus":       sign(t, jwt.SigningMethodHS256, rsa1.N.Bytes(), validClaims()),
			"a key in the header": sign(t, jwt.SigningMethodRS256, rsa2, validClaims(), map[string]any{
				"jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/", "jwk": map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(rsa2.N.Bytes()), "e": "AQAB"}}),
		}},
		{"ES256", &curve.PublicKey, sign(t, jwt.SigningMethodES256, curve, validClaims()), map[string]string{
			"RS256":                        sign(t, jwt.SigningMethodRS256, rsa1, validClaims()),
			"HS256 with the PEM as secret": sign(t, jwt.SigningMethodHS256, publicPEM(t, &curve.PublicKey), validClaims()),
		}},
		{"EdDSA", edPublic, sign(t, jwt.SigningMethodEdDSA, ed, validClaims()), map[string]string{
			"HS256 with the key as secret": sign(t, jwt.SigningMethodHS256, []byte(edPublic), validClaims()),
			"ES256":                        sign(t, jwt.SigningMethodES256, curve, validClaims()),
		}},
	} {
		keys, err := PublicKey(publicPEM(t, tt.public))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		tokens := newTokens(t, keys)
		if _, code := tokens.Verify(t.Context(), tt.good); code != protocol.CodeOK {
			t.Errorf("%s: %v", tt.name, code)
		}
		for comment, token := range tt.bad {
			if _, code := tokens.Verify(t.Context(), token); code != protocol.CodeUnauthorized {
				t.Errorf("%s, %s: %v", tt.name, comment, code)
			}
		}
	}
}

func TestPublicKeyRejectsOtherText(t *testing.T) {
	private, err := x509.MarshalPKCS8PrivateKey(rsaKey(t, 2048))
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	for comment, text := range map[string][]byte{
		"not PEM":          []byte("MIIB"),
		"a private key":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"a short RSA key":  publicPEM(t, &rsaKey(t, 1024).PublicKey),
		"another curve":    publicPEM(t, &p384.PublicKey),
		"garbage in a PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		if _, err := PublicKey(text); err == nil {
			t.Errorf("%s is accepted", comment)
		}
	}
}

// TestRestrict checks that JWT_ALGORITHMS can only reduce the algorithms of a
// key.
func TestRestrict(t *testing.T) {
	keys := SecretKeys(secret)
	if foreign := keys.Restrict([]string{"HS512", "RS256"}); len(foreign) != 1 || foreign[0] != "RS256" {
		t.Errorf("foreign: %v", foreign)
	}
	keys = SecretKeys(secret)
	keys.Restrict([]string{"HS512"})
	if _, code := newTokens(t, keys).Verify(t.Context(), signHMAC(t, validClaims())); code != protocol.CodeUnauthorized {
		t.Errorf("HS256 is accepted: %v", code)
	}
}
