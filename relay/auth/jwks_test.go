package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"sidecast/relay/protocol"
	"sidecast/relay/publickey"
)

// A keyServer serves a set of keys over HTTP.
type keyServer struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc]
}

func newKeyServer(t *testing.T) *keyServer {
	s := new(keyServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// answerWith sets the answer to all later requests.
func (s *keyServer) answerWith(answer http.HandlerFunc) { s.answer.Store(&answer) }

// serveKeys serves a set of these keys from now on.
func (s *keyServer) serveKeys(keys ...map[string]string) { s.answerWith(respond(200, keySet(keys...))) }

// keySet returns a set of these keys in JSON.
func keySet(keys ...map[string]string) string {
	body, _ := json.Marshal(map[string]any{"keys": keys})
	return string(body)
}

// tokens returns a verifier that uses the keys of the server. Tokens with
// unknown keys may cause two fetches.
func (s *keyServer) tokens(t *testing.T) (*Tokens, *jwks) {
	t.Helper()
	keys, err := JWKS(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	set := &jwks{url: s.URL, client: newHTTPClient(1), fetchLimit: rate.NewLimiter(0, 2)}
	keys.find, keys.update, keys.run = set.find, set.update, set.run
	return newTokens(t, keys), set
}

// makeOld lets the stored keys be so old that a token with an unknown key
// causes a fetch.
func (s *jwks) makeOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched = s.fetched.Add(-jwksRetry)
}

func jwkRSA(kid string, key *rsa.PrivateKey) map[string]string {
	return map[string]string{"kty": "RSA", "kid": kid, "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": "AQAB"}
}

// signRSA signs a valid token, whose header also names other sources of keys,
// which must be ignored.
func signRSA(t *testing.T, key *rsa.PrivateKey, kid string) string {
	t.Helper()
	header := map[string]any{"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}
	if kid != "" {
		header["kid"] = kid
	}
	return sign(t, jwt.SigningMethodRS256, key, validClaims(), header)
}

func wantCode(t *testing.T, tokens *Tokens, token string, want protocol.Code, comment string) {
	t.Helper()
	if _, code := tokens.Verify(context.Background(), token); code != want {
		t.Errorf("%s: %v, want %v", comment, code, want)
	}
}

// TestJWKSRotation checks that keys are found by id and replaced by new ones,
// and that the limit on fetches holds.
func TestJWKSRotation(t *testing.T) {
	one, two, unknown := rsaKey(t, 2048), rsaKey(t, 2048), rsaKey(t, 2048)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, y := make([]byte, 32), make([]byte, 32)
	curve.X.FillBytes(x)
	curve.Y.FillBytes(y)
	jwkEC := map[string]string{"kty": "EC", "crv": "P-256", "kid": "curve", "use": "sig",
		"x": base64.RawURLEncoding.EncodeToString(x), "y": base64.RawURLEncoding.EncodeToString(y)}
	server := newKeyServer(t)
	tokens, set := server.tokens(t)
	server.serveKeys(jwkRSA("one", one), jwkEC)

	wantCode(t, tokens, signRSA(t, one, "one"), protocol.CodeOK, "the first token fetches the keys")
	wantCode(t, tokens, signRSA(t, one, ""), protocol.CodeOK, "no kid: every key is tried")
	wantCode(t, tokens, sign(t, jwt.SigningMethodES256, curve, validClaims(), map[string]any{"kid": "curve"}), protocol.CodeOK, "another kind of key")
	wantCode(t, tokens, signRSA(t, unknown, "one"), protocol.CodeUnauthorized, "a key of another issuer with a known id")
	wantCode(t, tokens, signRSA(t, one, "curve"), protocol.CodeUnauthorized, "the id of another key")
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}

	server.serveKeys(jwkRSA("two", two))
	wantCode(t, tokens, signRSA(t, two, "two"), protocol.CodeUnauthorized, "a new key, immediately after a fetch")
	set.makeOld()
	wantCode(t, tokens, signRSA(t, two, "two"), protocol.CodeOK, "a new key")
	wantCode(t, tokens, signRSA(t, one, "one"), protocol.CodeUnauthorized, "a removed key, immediately after a fetch")
	set.makeOld()
	wantCode(t, tokens, signRSA(t, one, "one"), protocol.CodeUnauthorized, "a removed key, and the limit is reached")
	set.fetchLimit = rate.NewLimiter(rate.Inf, 1)
	wantCode(t, tokens, signRSA(t, one, "one"), protocol.CodeUnauthorized, "a removed key")
	set.makeOld()
	wantCode(t, tokens, signRSA(t, one, "../../etc/passwd"), protocol.CodeUnauthorized, "an id that looks like a path")

	before := server.requests.Load()
	for range 100 {
		wantCode(t, tokens, signRSA(t, unknown, rand.Text()), protocol.CodeUnauthorized, "an unknown id")
	}
	if n := server.requests.Load(); n != before {
		t.Errorf("unknown ids caused %d requests", n-before)
	}
	wantCode(t, tokens, signRSA(t, two, "two"), protocol.CodeOK, "a known key needs no request")
}

// TestJWKSFaults checks that no token is accepted or rejected if the keys
// cannot be fetched.
func TestJWKSFaults(t *testing.T) {
	key := rsaKey(t, 2048)
	body := keySet(jwkRSA("one", key))
	t.Setenv("GODEBUG", "rsa1024min=0")
	short := keySet(jwkRSA("one", rsaKey(t, 1024)))
	for _, tt := range []struct {
		comment string
		answer  http.HandlerFunc
	}{
		{"500", respond(500, body)},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/there" {
				fmt.Fprint(w, body)
				return
			}
			http.Redirect(w, r, "/there", http.StatusFound)
		}},
		{"not JSON", respond(200, "<html>")},
		{"no keys", respond(200, `{"keys":[]}`)},
		{"a shared secret", respond(200, `{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}`)},
		{"a key for encryption only", respond(200, strings.Replace(body, `"kty"`, `"use":"enc","kty"`, 1))},
		{"a short key", respond(200, short)},
		{"too large", respond(200, strings.Repeat(" ", jwksMaxBytes)+body)},
		{"incomplete body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			fmt.Fprint(w, body)
		}},
	} {
		server := newKeyServer(t)
		server.answerWith(tt.answer)
		tokens, _ := server.tokens(t)
		wantCode(t, tokens, signRSA(t, key, "one"), protocol.CodeUnavailable, tt.comment)
	}
	closed := newKeyServer(t)
	closed.Close()
	tokens, _ := closed.tokens(t)
	wantCode(t, tokens, signRSA(t, key, "one"), protocol.CodeUnavailable, "a closed port")
}

// TestKeyUse checks that a key verifies tokens only if its issuer has published
// it for that, whatever its kind.
func TestKeyUse(t *testing.T) {
	rsa := keySet(jwkRSA("one", rsaKey(t, 2048)))
	const ed25519 = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	for _, tt := range []struct {
		set, members string
		want         bool
	}{
		{rsa, `"alg":"RS256"`, true},
		{rsa, `"alg":"RS256","use":"sig","key_ops":["verify"]`, true},
		{rsa, `"alg":null,"use":null,"key_ops":null`, true},
		{rsa, `"key_ops":["sign","verify"]`, true},
		{rsa, `"alg":"PS256"`, false},
		{rsa, `"alg":"RS512"`, false},
		{rsa, `"alg":"RSA-OAEP"`, false},
		{rsa, `"alg":"rs256"`, false},
		{rsa, `"alg":"HS256"`, false},
		{rsa, `"alg":7`, false},
		{rsa, `"use":"enc"`, false},
		{rsa, `"use":["sig"]`, false},
		{rsa, `"key_ops":["encrypt","wrapKey"]`, false},
		{rsa, `"key_ops":["sign"]`, false},
		{rsa, `"key_ops":[]`, false},
		{rsa, `"key_ops":"verify"`, false},
		{rsa, `"use":"sig","key_ops":["deriveKey"]`, false},
		{ed25519, `"alg":"EdDSA"`, true},
		{ed25519, `"alg":"Ed25519"`, true},
		{ed25519, `"alg":"RS256"`, false},
		{ed25519, `"alg":"ECDH-ES"`, false},
		{rsa, `"ALG":"PS256","KEY_OPS":["encrypt"],"KTY":"oct"`, true}, // other names
		{rsa, `"N":"AQAB"`, true},
	} {
		body := strings.Replace(tt.set, `"kty"`, tt.members+`,"kty"`, 1)
		byID, _, err := parseKeys([]byte(body))
		if got := err == nil && len(byID["one"]) == 1; got != tt.want {
			t.Errorf("%s: used %v, %v", tt.members, got, err)
		}
	}
}

// TestJWKSKeepsKeys checks that a failed fetch removes no keys, and that
// unsupported keys in a set are ignored.
func TestJWKSKeepsKeys(t *testing.T) {
	key := rsaKey(t, 2048)
	server := newKeyServer(t)
	tokens, set := server.tokens(t)
	set.fetchLimit = rate.NewLimiter(rate.Inf, 1)
	server.serveKeys(map[string]string{"kty": "OKP", "crv": "Ed448", "kid": "x", "x": "AA"}, map[string]string{"kty": "RSA", "kid": "y"}, jwkRSA("one", key))
	wantCode(t, tokens, signRSA(t, key, "one"), protocol.CodeOK, "a set with two unsupported keys")
	server.Close()
	set.makeOld()
	wantCode(t, tokens, signRSA(t, key, "two"), protocol.CodeUnauthorized, "an unknown id while the server is down")
	wantCode(t, tokens, signRSA(t, key, "one"), protocol.CodeOK, "a known id while the server is down")
}

// TestJWKSSharedFetch checks that 1,000 tokens at the same time share a fetch.
func TestJWKSSharedFetch(t *testing.T) {
	key := rsaKey(t, 2048)
	server := newKeyServer(t)
	tokens, set := server.tokens(t)
	set.fetchLimit = rate.NewLimiter(rate.Inf, 1)
	release := make(chan struct{})
	body := keySet(jwkRSA("one", key))
	server.answerWith(func(w http.ResponseWriter, _ *http.Request) { <-release; fmt.Fprint(w, body) })
	token := signRSA(t, key, "one")
	var all sync.WaitGroup
	var started atomic.Int64
	for range 1000 {
		all.Go(func() {
			if started.Add(1) == 1000 {
				close(release)
			}
			wantCode(t, tokens, token, protocol.CodeOK, "one of 1,000 tokens")
		})
	}
	all.Wait()
	if n := server.requests.Load(); n > 3 { // a few may start after the first request has ended
		t.Errorf("%d requests", n)
	}
}

// TestJWKSSharedUpdate checks that clients that return at the same time with a
// new key wait for one fetch, and that none of them is rejected by the limit.
func TestJWKSSharedUpdate(t *testing.T) {
	one, two := rsaKey(t, 2048), rsaKey(t, 2048)
	server := newKeyServer(t)
	tokens, set := server.tokens(t)
	server.serveKeys(jwkRSA("one", one))
	wantCode(t, tokens, signRSA(t, one, "one"), protocol.CodeOK, "the keys are fetched")
	set.makeOld()
	set.fetchLimit = rate.NewLimiter(0, 1)
	release := make(chan struct{})
	body := keySet(jwkRSA("two", two))
	server.answerWith(func(w http.ResponseWriter, _ *http.Request) { <-release; fmt.Fprint(w, body) })
	token := signRSA(t, two, "two")
	var all sync.WaitGroup
	var started atomic.Int64
	for range 100 {
		all.Go(func() {
			if started.Add(1) == 100 {
				close(release)
			}
			wantCode(t, tokens, token, protocol.CodeOK, "one of 100 tokens")
		})
	}
	all.Wait()
	if n := server.requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestJWKSAddress(t *testing.T) {
	for address, valid := range map[string]bool{
		"https://id.example.com/jwks": true, "http://127.0.0.1:80/jwks": true, "http://[::1]/": true, "http://localhost/x": true,
		"http://id.example.com/jwks": false, "http://127.0.0.1.evil.com/": false, "file:///etc/passwd": false, "https://": false, "": false,
	} {
		if _, err := JWKS(address); (err == nil) != valid {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestJWKSRun checks that Run fetches the keys at once, logs a failure without
// the URL, and returns when its context ends.
func TestJWKSRun(t *testing.T) {
	key := rsaKey(t, 2048)
	server := newKeyServer(t)
	fetched := make(chan struct{}, 1)
	body := keySet(jwkRSA("one", key))
	server.answerWith(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body); fetched <- struct{}{} })
	tokens, _ := server.tokens(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tokens.Run(ctx) }()
	<-fetched
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantCode(t, tokens, signRSA(t, key, "one"), protocol.CodeOK, "fetched before the first token")

	var log strings.Builder
	server.Close()
	_, set := server.tokens(t)
	ctx, cancel = context.WithCancel(t.Context())
	logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { cancel(); return log.Write(p) }), nil))
	if err := set.run(ctx, logger); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "SIDECAST_JWT_JWKS_URL") || strings.Contains(log.String(), server.URL) {
		t.Errorf("logged: %s", log.String())
	}
}

// TestJWKSLog checks that the log says why there are no keys.
func TestJWKSLog(t *testing.T) {
	key := jwkRSA("one", rsaKey(t, 2048))
	for reason, answer := range map[string]http.HandlerFunc{
		"the URL redirects to https": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
		},
		"HTTP status 404":                   respond(404, "canary"),
		"not a JSON object: HTML":           respond(200, "<html>canary"),
		"keys is missing or not a list":     respond(200, `{"keys":{"canary":1}}`),
		"none of the keys can verify":       respond(200, `{"keys":[{"kty":"canary"}]}`),
		"there are more than 64 keys":       respond(200, keySet(slices.Repeat([]map[string]string{key}, 65)...)),
		"the answer is too large":           respond(200, strings.Repeat("canary", jwksMaxBytes)),
		"a name occurs twice":               respond(200, `{"keys":[],"keys":["canary"]}`),
		"the server closed the connection ": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := newKeyServer(t)
		server.answerWith(answer)
		_, set := server.tokens(t)
		ctx, cancel := context.WithCancel(t.Context())
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { cancel(); return log.Write(p) }), nil))
		if err := set.run(ctx, logger); err != nil {
			t.Error(err)
		}
		text := log.String()
		if !strings.Contains(text, reason) || strings.Contains(text, "canary") || strings.Contains(text, server.URL) || strings.Contains(text, `do=""`) {
			t.Errorf("logged %q, want %q", text, reason)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// FuzzKeys checks that every parsed key has a supported algorithm.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},null,1]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, all, err := parseKeys(body)
		if (err == nil) != (len(all) > 0) {
			t.Errorf("%q: %d keys, %v", body, len(all), err)
		}
		for _, key := range all {
			if _, err := publickey.AlgorithmOf(key); err != nil {
				t.Errorf("%q: %v", body, err)
			}
		}
	})
}
