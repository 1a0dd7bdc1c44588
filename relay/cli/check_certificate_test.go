package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// The certificate of the public listener is examined before browsers see it.
func TestCheckCertificate(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	_, _, otherKey := redistest.Certificates(t)
	for _, tt := range []struct {
		why         string
		begin       time.Time
		life        time.Duration
		change      func(ca, cert, key []byte) (newCert, newKey []byte)
		want        string
		withoutFile bool
	}{
		{why: "no TLS", withoutFile: true, want: ""},
		{why: "valid", begin: now.Add(-day), life: 90 * day, want: "ok    SIDECAST_TLS_CERT: the certificate for app.example is valid until "},
		{why: "not renewed", begin: now.Add(-80 * day), life: 90 * day,
			want: "warn  SIDECAST_TLS_CERT: the certificate for app.example expires on "},
		{why: "expired", begin: now.Add(-80 * day), life: 79 * day,
			want: "fail  SIDECAST_TLS_CERT: the certificate for app.example expired on "},
		{why: "a clock that is behind", begin: now.Add(day), life: 90 * day,
			want: "fail  SIDECAST_TLS_CERT: the certificate for app.example is not valid before "},
		{why: "an authority in the file that expires first", begin: now.Add(-day), life: 90 * day,
			change: func(ca, cert, key []byte) ([]byte, []byte) { return slices.Concat(cert, ca), key },
			want:   "ok    SIDECAST_TLS_CERT: the certificate of the authority CN=redistest CA is valid until "},
		{why: "the key of another certificate", begin: now.Add(-day), life: 90 * day,
			change: func(_, cert, _ []byte) ([]byte, []byte) { return cert, otherKey },
			want:   "fail  SIDECAST_TLS_KEY: it cannot be used with SIDECAST_TLS_CERT: tls: private key does not match public key\n      set it"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			var entries []string
			if !tt.withoutFile {
				ca, cert, key := redistest.CertificatesFrom(t, tt.begin, tt.life, "app.example")
				if tt.change != nil {
					cert, key = tt.change(ca, cert, key)
				}
				entries = []string{"TLS_CERT=" + redistest.WriteFile(t, "cert.pem", cert), "TLS_KEY=" + redistest.WriteFile(t, "key.pem", key)}
			}
			got := lines(checkCertificate(settings(t, entries...)))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
