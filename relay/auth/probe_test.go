package auth

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// serveTLS serves answer with a certificate, and returns its URL, with the host
// 127.0.0.1.
func serveTLS(t *testing.T, answer http.HandlerFunc, begin time.Time, life time.Duration, hosts ...string) string {
	t.Helper()
	_, cert, key := redistest.CertificatesFrom(t, begin, life, hosts...)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(answer)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// A probeCase is a server with a fault.
type probeCase struct{ why, url, want, do string }

// brokenServers are faults that do not depend on the request.
func brokenServers(t *testing.T) []probeCase {
	t.Helper()
	ok := respond(200, `{}`)
	plain := httptest.NewServer(ok)
	t.Cleanup(plain.Close)
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
	}))
	t.Cleanup(redirecting.Close)
	now := time.Now()
	trusted := serveTLS(t, ok, now.Add(-time.Hour), 2*time.Hour, "127.0.0.1")
	return []probeCase{
		{"nothing listens", "http://" + redistest.FreeAddr(t), "nothing listens at this address", "start"},
		{"it closes the connection", "http://" + listen(t, func(net.Conn) {}), "the server closed the connection before the end of its answer", "log"},
		{"another protocol", "http://" + listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "-ERR canary\r\n") }),
			"the server does not speak HTTP on this port", "correct the port"},
		{"TLS to a plain port", strings.Replace(plain.URL, "http", "https", 1), "the server does not use TLS on this port", "write http://"},
		{"plain HTTP to a TLS port", strings.Replace(trusted, "https", "http", 1), "the server requires TLS on this port", "write https://"},
		{"an unknown authority", trusted, `the server's certificate is signed by an authority that this host does not trust: "CN=redistest CA"`, "SSL_CERT_FILE"},
		{"an expired certificate", serveTLS(t, ok, now.Add(-3*time.Hour), time.Hour, "127.0.0.1"), "the server's certificate expired on 2", "renew it"},
		{"a certificate for later", serveTLS(t, ok, now.Add(time.Hour), time.Hour, "127.0.0.1"), "the server's certificate is not valid before 2", "clock"},
		{"a certificate for another host", serveTLS(t, ok, now.Add(-time.Hour), 2*time.Hour, "app.example"),
			`the server's certificate is for another host: "app.example"`, "write a host in the URL"},
		{"a certificate without a host", serveTLS(t, ok, now.Add(-time.Hour), 2*time.Hour), "the server's certificate has no subject alternative name", "renew"},
		{"a redirect to https", redirecting.URL + "/x", "the URL redirects to https", "does not follow redirects"},
	}
}

// expectReason checks a reason, and that it contains nothing of the answer.
func (tt probeCase) expectReason(t *testing.T, setting, why, do string) {
	t.Helper()
	if !strings.HasPrefix(why, tt.want) || !strings.Contains(do, tt.do) || strings.Contains(why+do, "canary") {
		t.Errorf("%s, %s: %q; %q, want %q; %q", setting, tt.why, why, do, tt.want, tt.do)
	}
}

// Probe says why an application cannot be reached.
func TestProbeBrokenServers(t *testing.T) {
	t.Parallel()
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	cases := append(brokenServers(t),
		probeCase{"no answer", "http://" + silent, "no complete answer in time", "SIDECAST_AUTH_TIMEOUT"},
		probeCase{"no TLS handshake", "https://" + silent, "no connection in time", "https:// is right for the port"})
	for _, tt := range cases {
		c := ApplicationConfig{LoginURL: tt.url, ChannelURL: tt.url, BroadcastURL: tt.url, Timeout: 20 * time.Second}
		if strings.HasSuffix(tt.url, silent) {
			c.Timeout = time.Second
		}
		results := Probe(t.Context(), c)
		if len(results) != 3 {
			t.Errorf("%d results", len(results))
		}
		for _, r := range results {
			tt.expectReason(t, r.Setting, r.Why, r.Do)
			if !r.Broken || r.Opens {
				t.Errorf("%s, %s: %+v", r.Setting, tt.why, r)
			}
		}
	}
}

// ProbeKeys says why the keys cannot be fetched.
func TestProbeKeys(t *testing.T) {
	t.Parallel()
	serve := func(answer http.HandlerFunc) string {
		s := httptest.NewServer(answer)
		t.Cleanup(s.Close)
		return s.URL
	}
	const rsa = `{"kty":"RSA","n":"AQAB","e":"AQAB"}`
	cases := append(brokenServers(t),
		probeCase{"a wrong path", serve(http.NotFound), "HTTP status 404", "serves a set of keys (JWKS)"},
		probeCase{"a login page", serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login?canary", http.StatusFound) }),
			"the URL redirects elsewhere: HTTP status 302", "does not follow redirects"},
		probeCase{"a page", serve(respond(200, "<html>canary")), "not a JSON object: HTML", "serves a set of keys (JWKS)"},
		probeCase{"nothing", serve(respond(200, "")), "not a JSON object: empty", "serves a set of keys (JWKS)"},
		probeCase{"the configuration of the issuer", serve(respond(200, `{"issuer":"canary","jwks_uri":"canary"}`)),
			"keys is missing or not a list", "serves a set of keys (JWKS)"},
		probeCase{"no keys", serve(respond(200, `{"keys":[]}`)), "there are no keys", "serves a set of keys (JWKS)"},
		probeCase{"a short key", serve(respond(200, `{"keys":[`+rsa+`]}`)), "none of the keys can verify tokens", "2048 bits"},
		probeCase{"too many keys", serve(respond(200, `{"keys":[`+strings.Repeat(rsa+",", jwksMaxKeys)+rsa+`]}`)), "there are more than 64 keys", ""},
		probeCase{"too long an answer", serve(respond(200, strings.Repeat(" ", jwksMaxBytes+1))), "the answer is too large", "correct the URL"})
	for _, tt := range cases {
		p := ProbeKeys(t.Context(), tt.url)
		tt.expectReason(t, "SIDECAST_JWT_JWKS_URL", p.Why, p.Do)
		if p.Count != 0 || p.Do == "" {
			t.Errorf("%s: %+v", tt.why, p)
		}
	}
	good := serve(respond(200, keySet(jwkRSA("a", rsaKey(t, 2048)), jwkRSA("b", rsaKey(t, 2048)))))
	if p := ProbeKeys(t.Context(), good); p != (ProbedKeys{Count: 2}) {
		t.Errorf("two keys: %+v", p)
	}
}

// Keys that arrive too late are not blamed on the application.
func TestProbeKeysTimeout(t *testing.T) {
	t.Parallel()
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	p := ProbeKeys(t.Context(), "http://"+silent)
	if p.Why != "no complete answer in time" || !strings.Contains(p.Do, "5 s") || strings.Contains(p.Do, "SIDECAST_AUTH_TIMEOUT") {
		t.Errorf("%+v", p)
	}
}
