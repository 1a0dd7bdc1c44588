package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	secret         = "correct horse battery staple, 32+"
	previousSecret = "the secret before that, 32 bytes +"
)

func newTokens(t *testing.T, keys *Keys, options ...func(*TokensConfig)) *Tokens {
	t.Helper()
	c := TokensConfig{Keys: keys, Grants: Grants{UserChannels: []string{"user:{user}"}}, Logger: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(&c)
	}
	return NewTokens(c)
}

// validClaims returns the claims of a valid token, with changes.
func validClaims(changes ...func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "42", "exp": time.Now().Add(time.Hour).Unix(), "channels": []string{"chat:*"}}
	for _, change := range changes {
		change(c)
	}
	return c
}

func with(name string, value any) func(jwt.MapClaims) {
	return func(c jwt.MapClaims) { c[name] = value }
}

func without(name string) func(jwt.MapClaims) { return func(c jwt.MapClaims) { delete(c, name) } }

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims, header ...map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for _, h := range header {
		maps.Copy(token.Header, h)
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signHMAC(t *testing.T, c jwt.MapClaims, header ...map[string]any) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), c, header...)
}

// rawToken signs a token with a header and claims that the library would not
// create.
func rawToken(t *testing.T, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := jwt.SigningMethodHS256.Sign(text, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func publicPEM(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
