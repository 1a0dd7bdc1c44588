package publickey

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"sidecast/relay/syntax"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkix(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PUBLIC KEY", der)
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func curveKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Each kind of key has exactly one algorithm.
func TestParse(t *testing.T) {
	long, curve := rsaKey(t, 2048), curveKey(t, elliptic.P256())
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &curve.PublicKey, curve)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		comment   string
		text      []byte
		key       any
		algorithm string
	}{
		{"RSA", pkix(t, &long.PublicKey), long.Public(), "RS256"},
		{"RSA, as PKCS 1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&long.PublicKey)), long.Public(), "RS256"},
		{"P-256", pkix(t, &curve.PublicKey), curve.Public(), "ES256"},
		{"Ed25519", pkix(t, edwards), edwards, "EdDSA"},
		{"a certificate", block("CERTIFICATE", certificate), curve.Public(), "ES256"},
		{"with text around it", append([]byte("a key\n"), append(pkix(t, edwards), "the end"...)...), edwards, "EdDSA"},
	} {
		got, err := Parse(tt.text)
		if err != nil || got.Algorithm != tt.algorithm || !sameKey(got.Public, tt.key) {
			t.Errorf("%s: %+v, %v", tt.comment, got, err)
		}
	}
}

// sameKey compares two public keys of any kind by their encoding.
func sameKey(a, b any) bool {
	derA, errA := x509.MarshalPKIXPublicKey(a)
	derB, errB := x509.MarshalPKIXPublicKey(b)
	return errA == nil && errB == nil && string(derA) == string(derB)
}

func TestParseRejects(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	private, err := x509.MarshalPKCS8PrivateKey(curveKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		comment string
		text    []byte
		want    string // the beginning of the problem
	}{
		{"empty", nil, "is not PEM"},
		{"no PEM", []byte("MIIB"), "is not PEM"},
		{"a private key", block("PRIVATE KEY", private), "is a private key"},
		{"an encrypted private key", block("ENCRYPTED PRIVATE KEY", private), "is a private key"},
		{"a private key of OpenSSH", block("OPENSSH PRIVATE KEY", private), "is a private key"},
		{"garbage in a public key", block("PUBLIC KEY", []byte("x")), "is not a public key"},
		{"garbage in a PKCS 1 key", block("RSA PUBLIC KEY", []byte("x")), "is not a public key"},
		{"garbage in a certificate", block("CERTIFICATE", []byte("x")), "is not a public key"},
		{"a block of another kind", block("CERTIFICATE REQUEST", []byte("x")), "is not a public key"},
		{"a short RSA key", pkix(t, &rsaKey(t, 1024).PublicKey), "is an RSA key shorter"},
		{"another curve", pkix(t, &curveKey(t, elliptic.P384()).PublicKey), "is neither"},
		{"a key that cannot sign", pkix(t, exchange.PublicKey()), "is neither"},
	} {
		_, err := Parse(tt.text)
		rejected, ok := errors.AsType[*syntax.Error](err)
		if !ok || !strings.HasPrefix(rejected.Problem, tt.want) || rejected.Hint == "" {
			t.Errorf("%s: %v, want %q", tt.comment, err, tt.want)
		}
	}
}
