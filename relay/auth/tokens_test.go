package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/protocol"
)

const (
	secret   = "correct horse battery staple, 32+"
	previous = "the secret before, of 32 bytes or so"
)

func newTokens(t *testing.T, keys *Keys, options ...func(*TokensConfig)) *Tokens {
	t.Helper()
	c := TokensConfig{Keys: keys, Grants: Grants{UserChannels: []string{"user:{user}"}}, Logger: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(&c)
	}
	return NewTokens(c)
}

// good are the claims of a token that is.
func good(changes ...func(jwt.MapClaims)) jwt.MapClaims {
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

func hs(t *testing.T, c jwt.MapClaims, header ...map[string]any) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), c, header...)
}

// raw makes a token of a header and claims that no library would write.
func raw(t *testing.T, header, claims string) string {
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

// Whom good tokens name, and what they open.
func TestGoodTokens(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret, previous), func(c *TokensConfig) { c.Issuer, c.Audience = "id", "live" })
	both := func(c jwt.MapClaims) { c["iss"], c["aud"] = "id", []string{"other", "live"} }
	for _, tt := range []struct{ comment, token, user string }{
		{"HS256", hs(t, good(both)), "42"},
		{"HS384", sign(t, jwt.SigningMethodHS384, []byte(secret), good(both)), "42"},
		{"HS512", sign(t, jwt.SigningMethodHS512, []byte(secret), good(both)), "42"},
		{"the previous secret", sign(t, jwt.SigningMethodHS256, []byte(previous), good(both)), "42"},
		{"sub as a number, as databases have it", hs(t, good(both, with("sub", 42))), "42"},
		{"exp with a fraction", hs(t, good(both, with("exp", float64(time.Now().Unix())+60.5))), "42"},
		{"nbf and iat within the leeway", hs(t, good(both, with("nbf", time.Now().Add(20*time.Second).Unix()), with("iat", time.Now().Add(20*time.Second).Unix()))), "42"},
		{"a kid that means nothing to a secret", hs(t, good(both), map[string]any{"kid": "../../etc/passwd"}), "42"},
		{"no channels", hs(t, good(both, without("channels"))), "42"},
		{"claims that are not ours", hs(t, good(both, with("role", []any{1, "x"}))), "42"},
		{"a user with a colon", hs(t, good(both, with("sub", "42:private"))), "42:private"},
	} {
		id, code := tokens.Verify(t.Context(), tt.token)
		if code != protocol.CodeOK || id.User != tt.user {
			t.Errorf("%s: %v, %v", tt.comment, id, code)
			continue
		}
		if d := time.Until(id.Until); d < 0 || d > time.Hour {
			t.Errorf("%s: ends in %v", tt.comment, d)
		}
	}
}

// Every way to forge, stretch or misdirect a token ends in unauthorized.
func TestBadTokens(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret), func(c *TokensConfig) { c.Issuer, c.Audience = "id", "live" })
	both := func(c jwt.MapClaims) { c["iss"], c["aud"] = "id", "live" }
	fine := hs(t, good(both))
	if _, code := tokens.Verify(t.Context(), fine); code != protocol.CodeOK {
		t.Fatalf("the token that the others are made of: %v", code)
	}
	parts := strings.Split(fine, ".")
	none := func(alg string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + parts[1] + "."
	}
	const claims = `"sub":"42","iss":"id","aud":"live"`
	const hs256 = `{"alg":"HS256"}`
	for _, tt := range []struct{ comment, token string }{
		{"empty", ""},
		{"no token", "x"},
		{"alg none", none("none")},
		{"alg None", none("None")},
		{"alg nOnE", none("nOnE")},
		{"alg none with the signature left on", none("none") + parts[2]},
		{"alg empty", none("")},
		{"no alg", raw(t, `{"typ":"JWT"}`, `{`+claims+`,"exp":99999999999}`)},
		{"alg a number", raw(t, `{"alg":1}`, `{`+claims+`,"exp":99999999999}`)},
		{"alg in lower case", raw(t, `{"alg":"hs256"}`, `{`+claims+`,"exp":99999999999}`)},
		{"signed by somebody else", sign(t, jwt.SigningMethodHS256, []byte("another secret"), good(both))},
		{"signed with nothing", sign(t, jwt.SigningMethodHS256, []byte(""), good(both))},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"two parts", parts[0] + "." + parts[1]},
		{"four parts", fine + ".x"},
		{"another's claims", parts[0] + "." + strings.Split(hs(t, good(both, with("sub", "43"))), ".")[1] + "." + parts[2]},
		{"padding and spaces", " " + fine},
		{"a line break in it", parts[0] + ".\n" + parts[1] + "." + parts[2]},
		{"an algorithm that is not in the list", sign(t, jwt.SigningMethodRS256, rsaKey(t, 2048), good(both))},
		{"exp missing", hs(t, good(both, without("exp")))},
		{"exp null", raw(t, hs256, `{`+claims+`,"exp":null}`)},
		{"exp a string", hs(t, good(both, with("exp", "9999999999")))},
		{"exp a list", hs(t, good(both, with("exp", []int{1})))},
		{"exp huge", raw(t, hs256, `{`+claims+`,"exp":1e300}`)},
		{"exp beyond numbers", raw(t, hs256, `{`+claims+`,"exp":1e999}`)},
		{"exp just beyond the calendar", raw(t, hs256, `{`+claims+`,"exp":253402300800}`)},
		{"exp negative", raw(t, hs256, `{`+claims+`,"exp":-1}`)},
		{"expired just now: clocks that differ are no excuse", hs(t, good(both, with("exp", time.Now().Unix())))},
		{"not valid yet", hs(t, good(both, with("nbf", time.Now().Add(2*time.Minute).Unix())))},
		{"nbf a string", hs(t, good(both, with("nbf", "0")))},
		{"issued in the future", hs(t, good(both, with("iat", time.Now().Add(time.Hour).Unix())))},
		{"another audience", hs(t, good(both, with("aud", "other")))},
		{"audience missing", hs(t, good(both, without("aud")))},
		{"audience of another type", hs(t, good(both, with("aud", 7)))},
		{"another issuer", hs(t, good(both, with("iss", "evil")))},
		{"issuer that begins alike", hs(t, good(both, with("iss", "id.evil")))},
		{"issuer missing", hs(t, good(both, without("iss")))},
		{"sub missing", hs(t, good(both, without("sub")))},
		{"sub null", hs(t, good(both, with("sub", nil)))},
		{"sub empty", hs(t, good(both, with("sub", "")))},
		{"sub an object", hs(t, good(both, with("sub", map[string]int{"id": 1})))},
		{"sub a fraction", hs(t, good(both, with("sub", 4.2)))},
		{"sub with a control character", hs(t, good(both, with("sub", "4\n2")))},
		{"sub with U+202E", hs(t, good(both, with("sub", "4\u202e2")))},
		{"sub too long", hs(t, good(both, with("sub", strings.Repeat("4", 129))))},
		{"channels no list", hs(t, good(both, with("channels", "chat:*")))},
		{"channels of numbers", hs(t, good(both, with("channels", []int{1})))},
		{"a pattern that is none", hs(t, good(both, with("channels", []string{"chat:["})))},
		{"an empty pattern", hs(t, good(both, with("publish", []string{""})))},
		{"too many patterns", hs(t, good(both, with("channels", strings.Split(strings.Repeat("a ", 257), " "))))},
		{"kid a number", hs(t, good(both), map[string]any{"kid": 7})},
		{"an extension that it demands", hs(t, good(both), map[string]any{"crit": []string{"b64"}, "b64": false})},
		{"10^6 dots", strings.Repeat(".", 1e6)},
		{"1 MiB", parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2]},
		{"8 KiB and one", hs(t, good(both, with("pad", strings.Repeat("x", maxToken))))},
		{"claims that are a list", raw(t, hs256, `[1]`)},
		{"claims that are nothing", raw(t, hs256, ``)},
		{"encrypted rather than signed", raw(t, `{"alg":"dir","enc":"A256GCM"}`, `{}`)},
	} {
		if id, code := tokens.Verify(t.Context(), tt.token); code != protocol.CodeUnauthorized || id != nil {
			t.Errorf("%s: %v, %v", tt.comment, id, code)
		}
	}
}

// Each public key serves its own algorithm: the classic confusion, a public key taken for a secret, is none.
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
		{"RS256", &rsa1.PublicKey, sign(t, jwt.SigningMethodRS256, rsa1, good()), map[string]string{
			"another key":                  sign(t, jwt.SigningMethodRS256, rsa2, good()),
			"PS256 with the same key":      sign(t, jwt.SigningMethodPS256, rsa1, good()),
			"RS512 with the same key":      sign(t, jwt.SigningMethodRS512, rsa1, good()),
			"HS256 with the PEM as secret": sign(t, jwt.SigningMethodHS256, publicPEM(t, &rsa1.PublicKey), good()),
			"HS256 with the modulus":       sign(t, jwt.SigningMethodHS256, rsa1.N.Bytes(), good()),
			"a key of its own in the header": sign(t, jwt.SigningMethodRS256, rsa2, good(), map[string]any{
				"jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/", "jwk": map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(rsa2.N.Bytes()), "e": "AQAB"}}),
		}},
		{"ES256", &curve.PublicKey, sign(t, jwt.SigningMethodES256, curve, good()), map[string]string{
			"RS256":                        sign(t, jwt.SigningMethodRS256, rsa1, good()),
			"HS256 with the PEM as secret": sign(t, jwt.SigningMethodHS256, publicPEM(t, &curve.PublicKey), good()),
		}},
		{"EdDSA", edPublic, sign(t, jwt.SigningMethodEdDSA, ed, good()), map[string]string{
			"HS256 with the key as secret": sign(t, jwt.SigningMethodHS256, []byte(edPublic), good()),
			"ES256":                        sign(t, jwt.SigningMethodES256, curve, good()),
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

func TestPublicKeyRefuses(t *testing.T) {
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
		"no PEM":           []byte("MIIB"),
		"a private key":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"a short RSA key":  publicPEM(t, &rsaKey(t, 1024).PublicKey),
		"another curve":    publicPEM(t, &p384.PublicKey),
		"garbage in a PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		if _, err := PublicKey(text); err == nil {
			t.Errorf("%s is taken", comment)
		}
	}
}

// JWT_ALGORITHMS narrows what the key serves and cannot widen it.
func TestRestrict(t *testing.T) {
	keys := SecretKeys(secret)
	if foreign := keys.Restrict([]string{"HS512", "RS256"}); len(foreign) != 1 || foreign[0] != "RS256" {
		t.Errorf("foreign: %v", foreign)
	}
	keys = SecretKeys(secret)
	keys.Restrict([]string{"HS512"})
	if _, code := newTokens(t, keys).Verify(t.Context(), hs(t, good())); code != protocol.CodeUnauthorized {
		t.Errorf("HS256 is taken: %v", code)
	}
}

// What the log says of a bad token repeats nothing of it.
func TestTokenLog(t *testing.T) {
	var log strings.Builder
	tokens := newTokens(t, SecretKeys(secret), func(c *TokensConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, token := range []string{
		hs(t, good(with("exp", 1), with("sub", "canary"))), "canary.canary.canary", "canary",
		hs(t, good(), map[string]any{"alg": "canary"}), raw(t, `{"alg":"canary"}`, `{"sub":"canary"}`),
	} {
		tokens.Verify(t.Context(), token)
	}
	if strings.Contains(log.String(), "canary") || strings.Count(log.String(), "refused a token") != 5 {
		t.Errorf("logged:\n%s", log.String())
	}
	if !strings.Contains(log.String(), "reason=expired") {
		t.Errorf("does not say what is wrong:\n%s", log.String())
	}
}

// A session ends when its token does.
func TestTokenEnd(t *testing.T) {
	exp := time.Now().Add(20 * time.Second)
	id, code := newTokens(t, SecretKeys(secret)).Verify(t.Context(), hs(t, good(with("exp", exp.Unix()))))
	if code != protocol.CodeOK || id.Until.Unix() != exp.Unix() {
		t.Errorf("good until %v, want %v (%v)", id.Until, exp, code)
	}
}

// What `sidecast token` makes is taken, and what would not be is not made.
func TestMint(t *testing.T) {
	c := MintConfig{Secret: secret, Algorithm: "HS256", Issuer: "id", Audience: "live", User: "42",
		Channels: []string{"chat:*"}, Publish: []string{"chat:lobby"}, Subscribe: []string{"chat:1"}, TTL: time.Minute}
	token, err := Mint(c)
	if err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, SecretKeys(secret), func(t *TokensConfig) { t.Issuer, t.Audience = "id", "live" })
	id, code := tokens.Verify(t.Context(), token)
	if code != protocol.CodeOK || id.User != "42" || !id.Subscribe.Match("chat:9") || !id.Publish.Match("chat:lobby") ||
		id.Publish.Match("chat:9") || len(id.Join) != 1 || id.Join[0] != "chat:1" || len(id.Own) != 1 || id.Own[0] != "user:42" {
		t.Errorf("%+v, %v", id, code)
	}
	for comment, change := range map[string]func(*MintConfig){
		"no user":         func(c *MintConfig) { c.User = "" },
		"no pattern":      func(c *MintConfig) { c.Channels = []string{"["} },
		"no name":         func(c *MintConfig) { c.Subscribe = []string{"a\nb"} },
		"no time to live": func(c *MintConfig) { c.TTL = 0 },
		"a public key":    func(c *MintConfig) { c.Algorithm = "RS256" },
	} {
		bad := c
		change(&bad)
		if _, err := Mint(bad); err == nil {
			t.Errorf("%s: minted", comment)
		}
	}
}

// FuzzVerify: no input panics, and none that was not signed is taken.
func FuzzVerify(f *testing.F) {
	f.Add("eyJhbGciOiJIUzI1NiJ9.e30.x")
	f.Add("...")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.")
	tokens := NewTokens(TokensConfig{Keys: SecretKeys(secret), Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, token string) {
		if id, code := tokens.Verify(context.Background(), token); code != protocol.CodeUnauthorized || id != nil {
			t.Errorf("%q is taken", token)
		}
	})
}

func TestUserID(t *testing.T) {
	for text, want := range map[string]string{
		`"42"`: "42", `42`: "42", `-1`: "-1", `"a\u0062"`: "ab", `18446744073709551615`: "18446744073709551615",
		`1.5`: "", `1e3`: "", `true`: "", `null`: "", `[]`: "", `123456789012345678901`: "",
	} {
		var id userID
		err := json.Unmarshal([]byte(text), &id)
		if string(id) != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", text, id, err)
		}
	}
}
