package through_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/relaytest/webserver"
)

// expired returns a certificate that has expired, and its key.
func expired(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", der), block("PRIVATE KEY", secret)
}

// startTLS runs nginx with a certificate in front of a relay, and returns the
// host:port for TLS and the one without.
func startTLS(t *testing.T, relay string, cert, key []byte) (encrypted, plain string) {
	encrypted = redistest.FreeAddr(t)
	plain = webserver.Nginx.Start(t, fmt.Sprintf("listen %s ssl; ssl_certificate %s; ssl_certificate_key %s;\n%s", encrypted,
		redistest.WriteFile(t, "cert.pem", cert), redistest.WriteFile(t, "key.pem", key), strings.ReplaceAll(nginxRight, "OFTEN", relay)))
	return encrypted, plain
}

// readmeCommand returns the arguments of the command in the README, for another
// URL.
func readmeCommand(t *testing.T, url string) []string {
	t.Helper()
	text, err := os.ReadFile("../auth/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, command, begun := strings.Cut(string(text), "\nsidecast check --through ")
	command, _, ended := strings.Cut(command, "\n")
	if !begun || !ended {
		t.Fatal("the README has no command")
	}
	arguments := append([]string{"check", "--through"}, strings.Fields(command)...)
	arguments[2] = url
	return arguments
}

// Certificates that browsers reject are named, and the right one is verified.
func TestCertificates(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	relay := relaytest.Start(t, map[string]string{"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*"})
	relay.AwaitReady()
	ca, right, rightKey := redistest.Certificates(t, "127.0.0.1")
	_, other, otherKey := redistest.Certificates(t, "other.example")
	old, oldKey := expired(t)
	trusting := map[string]string{"SSL_CERT_FILE": redistest.WriteFile(t, "ca.pem", ca), "SSL_CERT_DIR": t.TempDir()}
	for _, tt := range []struct {
		comment   string
		cert, key []byte
		env       map[string]string
		code      int
		wants     []string
	}{
		{"expired", old, oldKey, nil, 1, []string{"fail  certificate: expired on ", "renew it, and reload the proxy"}},
		{"of another name", other, otherKey, nil, 1, []string{"fail  certificate: is for other.example, not for 127.0.0.1", "ssl_certificate /path/fullchain.pem"}},
		{"of an unknown authority", right, rightKey, nil, 1, []string{
			`fail  certificate: is signed by an authority that this machine does not trust: "CN=redistest CA"`, "intermediate certificates",
		}},
		{"valid", right, rightKey, trusting, 0, []string{
			"ok    certificate: valid until ", "ok    WebSocket: works: a page of https://127.0.0.1:", "ok    event stream: begins at once",
		}},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			encrypted, plain := startTLS(t, relay.Addr(), tt.cert, tt.key)
			run := func(url string) (string, int) {
				p := relaytest.Start(t, tt.env, append(readmeCommand(t, url), "--idle", "0")...)
				code := p.Wait()
				return p.Log(), code
			}
			out, code := run("https://" + encrypted + "/ws")
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.wants {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if tt.code != 0 {
				return
			}
			if out, _ := run("http://" + encrypted + "/ws"); !strings.Contains(out, "fail  WebSocket: the server requires TLS on this port") {
				t.Errorf("without TLS:\n%s", out)
			}
			if out, _ := run("https://" + plain + "/ws"); !strings.Contains(out, "fail  connection: the server does not use TLS on this port") {
				t.Errorf("with TLS:\n%s", out)
			}
		})
	}
}
