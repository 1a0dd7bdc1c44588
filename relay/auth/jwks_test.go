package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"sidecast/relay/protocol"
)

// An issuer serves a set of keys.
type issuer struct {
	*httptest.Server
	asked atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newIssuer(t *testing.T) *issuer {
	i := new(issuer)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serves(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func (i *issuer) has(keys ...map[string]string) {
	body, _ := json.Marshal(map[string]any{"keys": keys})
	i.serves(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
}

func (i *issuer) tokens(t *testing.T) (*Tokens, *jwks) {
	t.Helper()
	keys, err := JWKS(i.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := &jwks{url: i.URL, client: newClient(1), limit: rate.NewLimiter(0, 2)}
	keys.find, keys.run = s.find, s.run
	return newTokens(t, keys), s
}

func jwkRSA(kid string, key *rsa.PrivateKey) map[string]string {
	return map[string]string{"kty": "RSA", "kid": kid, "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": "AQAB"}
}

func rs(t *testing.T, key *rsa.PrivateKey, kid string) string {
	t.Helper()
	header := map[string]any{"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}
	if kid != "" {
		header["kid"] = kid
	}
	return sign(t, jwt.SigningMethodRS256, key, good(), header)
}

func wantCode(t *testing.T, tokens *Tokens, token string, want protocol.Code, comment string) {
	t.Helper()
	if _, code := tokens.Verify(context.Background(), token); code != want {
		t.Errorf("%s: %v, want %v", comment, code, want)
	}
}

// Keys are found by id, replaced when new ones come, and fetched no more often than the limit says.
func TestJWKSRotation(t *testing.T) {
	one, two, evil := rsaKey(t, 2048), rsaKey(t, 2048), rsaKey(t, 2048)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, y := make([]byte, 32), make([]byte, 32)
	curve.X.FillBytes(x)
	curve.Y.FillBytes(y)
	jwkEC := map[string]string{"kty": "EC", "crv": "P-256", "kid": "curve", "use": "sig",
		"x": base64.RawURLEncoding.EncodeToString(x), "y": base64.RawURLEncoding.EncodeToString(y)}
	issuer := newIssuer(t)
	tokens, set := issuer.tokens(t)
	issuer.has(jwkRSA("one", one), jwkEC)

	wantCode(t, tokens, rs(t, one, "one"), protocol.CodeOK, "the first token fetches the keys")
	wantCode(t, tokens, rs(t, one, ""), protocol.CodeOK, "no kid: every key is tried")
	wantCode(t, tokens, sign(t, jwt.SigningMethodES256, curve, good(), map[string]any{"kid": "curve"}), protocol.CodeOK, "another kind of key")
	wantCode(t, tokens, rs(t, evil, "one"), protocol.CodeUnauthorized, "another's key under a known id")
	wantCode(t, tokens, rs(t, one, "curve"), protocol.CodeUnauthorized, "the wrong id")
	if n := issuer.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}

	issuer.has(jwkRSA("two", two))
	wantCode(t, tokens, rs(t, two, "two"), protocol.CodeOK, "a new key")
	wantCode(t, tokens, rs(t, one, "one"), protocol.CodeUnavailable, "the old one is gone, and the limit reached: nobody can tell")
	set.limit = rate.NewLimiter(rate.Inf, 1)
	wantCode(t, tokens, rs(t, one, "one"), protocol.CodeUnauthorized, "the old one is gone")
	wantCode(t, tokens, rs(t, one, "../../etc/passwd"), protocol.CodeUnauthorized, "an id is no path")

	set.limit = rate.NewLimiter(0, 0)
	before := issuer.asked.Load()
	for range 100 {
		wantCode(t, tokens, rs(t, evil, rand.Text()), protocol.CodeUnavailable, "a made-up id")
	}
	if n := issuer.asked.Load(); n != before {
		t.Errorf("made-up ids caused %d requests", n-before)
	}
	wantCode(t, tokens, rs(t, two, "two"), protocol.CodeOK, "known keys need no request")
}

// Whatever the issuer does wrong, nobody is let in and nobody is told that it is his fault.
func TestJWKSFaults(t *testing.T) {
	key := rsaKey(t, 2048)
	body, _ := json.Marshal(map[string]any{"keys": []any{jwkRSA("one", key)}})
	t.Setenv("GODEBUG", "rsa1024min=0")
	short := rsaKey(t, 1024)
	shortBody, _ := json.Marshal(map[string]any{"keys": []any{jwkRSA("one", short)}})
	for _, tt := range []struct {
		comment string
		answer  http.HandlerFunc
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(body) }},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/there" {
				_, _ = w.Write(body)
				return
			}
			http.Redirect(w, r, "/there", http.StatusFound)
		}},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }},
		{"no keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }},
		{"a shared secret", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}`))
		}},
		{"a key for encryption", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(string(body), `"kty"`, `"use":"enc","kty"`, 1)))
		}},
		{"a short key", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(shortBody) }},
		{"too large", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append([]byte(strings.Repeat(" ", jwksBytes)), body...))
		}},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(body)
		}},
	} {
		issuer := newIssuer(t)
		issuer.serves(tt.answer)
		tokens, _ := issuer.tokens(t)
		wantCode(t, tokens, rs(t, key, "one"), protocol.CodeUnavailable, tt.comment)
	}
	gone := newIssuer(t)
	gone.Close()
	tokens, _ := gone.tokens(t)
	wantCode(t, tokens, rs(t, key, "one"), protocol.CodeUnavailable, "nobody there")
}

// A fetch that fails takes nothing away, and a key that cannot be used does not spoil the others.
func TestJWKSKeepsWhatItHas(t *testing.T) {
	key := rsaKey(t, 2048)
	issuer := newIssuer(t)
	tokens, set := issuer.tokens(t)
	set.limit = rate.NewLimiter(rate.Inf, 1)
	issuer.has(map[string]string{"kty": "OKP", "crv": "Ed448", "kid": "x", "x": "AA"}, map[string]string{"kty": "RSA", "kid": "y"}, jwkRSA("one", key))
	wantCode(t, tokens, rs(t, key, "one"), protocol.CodeOK, "beside keys that are none")
	issuer.Close()
	wantCode(t, tokens, rs(t, key, "two"), protocol.CodeUnauthorized, "an unknown id while the issuer is away")
	wantCode(t, tokens, rs(t, key, "one"), protocol.CodeOK, "a known id while the issuer is away")
}

// A thousand tokens that come at once cause one request.
func TestJWKSAtOnce(t *testing.T) {
	key := rsaKey(t, 2048)
	issuer := newIssuer(t)
	tokens, set := issuer.tokens(t)
	set.limit = rate.NewLimiter(rate.Inf, 1)
	release := make(chan struct{})
	body, _ := json.Marshal(map[string]any{"keys": []any{jwkRSA("one", key)}})
	issuer.serves(func(w http.ResponseWriter, _ *http.Request) { <-release; _, _ = w.Write(body) })
	token := rs(t, key, "one")
	var all sync.WaitGroup
	var started atomic.Int64
	for range 1000 {
		all.Go(func() {
			if started.Add(1) == 1000 {
				close(release)
			}
			wantCode(t, tokens, token, protocol.CodeOK, "one of a thousand")
		})
	}
	all.Wait()
	if n := issuer.asked.Load(); n > 3 { // a few may come after the first request has ended
		t.Errorf("asked %d times", n)
	}
}

func TestJWKSAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"https://id.example.com/jwks": true, "http://127.0.0.1:80/jwks": true, "http://[::1]/": true, "http://localhost/x": true,
		"http://id.example.com/jwks": false, "http://127.0.0.1.evil.com/": false, "file:///etc/passwd": false, "https://": false, "": false,
	} {
		if _, err := JWKS(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// Run fetches at once, says when that fails, and ends with its context.
func TestJWKSRun(t *testing.T) {
	key := rsaKey(t, 2048)
	issuer := newIssuer(t)
	fetched := make(chan struct{}, 1)
	body, _ := json.Marshal(map[string]any{"keys": []any{jwkRSA("one", key)}})
	issuer.serves(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body); fetched <- struct{}{} })
	tokens, _ := issuer.tokens(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tokens.Run(ctx) }()
	<-fetched
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantCode(t, tokens, rs(t, key, "one"), protocol.CodeOK, "fetched before anybody came")

	var log strings.Builder
	issuer.Close()
	tokens, set := issuer.tokens(t)
	ctx, cancel = context.WithCancel(t.Context())
	logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { cancel(); return log.Write(p) }), nil))
	if err := set.run(ctx, logger); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "SIDECAST_JWT_JWKS_URL") || strings.Contains(log.String(), issuer.URL) {
		t.Errorf("logged: %s", log.String())
	}
	_ = tokens
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
