package publickey

import (
	"bytes"
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

// must returns the value of a call that cannot fail in these tests.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func pkix(key any) []byte { return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key))) }

func rsaKey(bits int) *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, bits)) }

func curveKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

// Each kind of key has exactly one algorithm.
func TestParse(t *testing.T) {
	long, curve := rsaKey(2048), curveKey(elliptic.P256())
	edwards := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, &curve.PublicKey, curve))
	for _, tt := range []struct {
		comment   string
		text      []byte
		key       any
		algorithm string
	}{
		{"RSA", pkix(&long.PublicKey), long.Public(), "RS256"},
		{"RSA, as PKCS 1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&long.PublicKey)), long.Public(), "RS256"},
		{"P-256", pkix(&curve.PublicKey), curve.Public(), "ES256"},
		{"Ed25519", pkix(edwards), edwards, "EdDSA"},
		{"a certificate", block("CERTIFICATE", certificate), curve.Public(), "ES256"},
		{"with text around it", append([]byte("a key\n"), append(pkix(edwards), "the end"...)...), edwards, "EdDSA"},
	} {
		got, err := Parse(tt.text)
		if err != nil || got.Algorithm != tt.algorithm || !bytes.Equal(pkix(got.Public), pkix(tt.key)) {
			t.Errorf("%s: %+v, %v", tt.comment, got, err)
		}
	}
}

func TestParseRejects(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	private := must(x509.MarshalPKCS8PrivateKey(curveKey(elliptic.P256())))
	exchange := must(ecdh.X25519().GenerateKey(rand.Reader))
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
		{"a short RSA key", pkix(&rsaKey(1024).PublicKey), "is an RSA key shorter"},
		{"another curve", pkix(&curveKey(elliptic.P384()).PublicKey), "is neither"},
		{"a key that cannot sign", pkix(exchange.PublicKey()), "is neither"},
	} {
		_, err := Parse(tt.text)
		rejected, ok := errors.AsType[*syntax.Error](err)
		if !ok || !strings.HasPrefix(rejected.Problem, tt.want) || rejected.Hint == "" {
			t.Errorf("%s: %v, want %q", tt.comment, err, tt.want)
		}
	}
}
