package auth_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// TestCheckCallsApplicationWithTLS checks that `sidecast check` says why an
// application cannot be reached over TLS, and until when it can be.
func TestCheckCallsApplicationWithTLS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SSL_CERT_FILE has no effect on this system")
	}
	s := newSetup(t)
	now := time.Now()
	for _, tt := range []struct {
		why, setting string
		begin        time.Time
		life         time.Duration
		host         string
		distrusted   bool
		want         []string
	}{
		{"valid", "AUTH_URL", now.Add(-time.Hour), 100 * time.Hour, "127.0.0.1", false,
			[]string{"ok    SIDECAST_AUTH_URL: the application answers 401"}},
		{"soon expired", "CHANNEL_AUTH_URL", now.Add(-99 * time.Hour), 100 * time.Hour, "127.0.0.1", false, []string{
			"ok    SIDECAST_CHANNEL_AUTH_URL: the application answers 401",
			"warn  SIDECAST_CHANNEL_AUTH_URL: the certificate for 127.0.0.1 expires on ",
		}},
		{"expired", "AUTH_URL", now.Add(-3 * time.Hour), time.Hour, "127.0.0.1", false,
			[]string{"fail  SIDECAST_AUTH_URL: the server's certificate expired on ", "      renew it, or correct this host's clock; until then, logins fail"}},
		{"another host", "AUTH_URL", now.Add(-time.Hour), 100 * time.Hour, "app.example", false,
			[]string{`fail  SIDECAST_AUTH_URL: the server's certificate is for another host: "app.example"`}},
		{"an unknown authority", "AUTH_URL", now.Add(-time.Hour), 100 * time.Hour, "127.0.0.1", true,
			[]string{`fail  SIDECAST_AUTH_URL: the server's certificate is signed by an authority that this host does not trust: "CN=redistest CA"`}},
		{"keys", "JWT_JWKS_URL", now.Add(-time.Hour), 100 * time.Hour, "127.0.0.1", false,
			[]string{"fail  SIDECAST_JWT_JWKS_URL: HTTP status 401"}},
		{"keys with an expired certificate", "JWT_JWKS_URL", now.Add(-3 * time.Hour), time.Hour, "127.0.0.1", false,
			[]string{"fail  SIDECAST_JWT_JWKS_URL: the server's certificate expired on "}},
	} {
		ca, cert, key := redistest.CertificatesFrom(t, tt.begin, tt.life, tt.host)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }))
		app.TLS, app.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{pair}}, log.New(io.Discard, "", 0)
		app.StartTLS()
		t.Cleanup(app.Close)
		command := s.command("check")
		command.Env = append(command.Env, "SIDECAST_"+tt.setting+"="+app.URL, "SIDECAST_MARKERS=false")
		if !tt.distrusted {
			command.Env = append(command.Env, "SSL_CERT_FILE="+redistest.WriteFile(t, "ca.pem", ca))
		}
		out, _ := command.CombinedOutput() // its status is 1 if a line begins with fail
		for _, want := range tt.want {
			if !strings.Contains(string(out), "\n"+want) {
				t.Errorf("%s: want %q in\n%s", tt.why, want, out)
			}
		}
	}
}
