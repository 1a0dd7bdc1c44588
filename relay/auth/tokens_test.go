package auth

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/protocol"
)

// TestGoodTokens checks the user and the expiry of tokens that must be
// accepted.
func TestGoodTokens(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret, previousSecret), func(c *TokensConfig) { c.Issuer, c.Audience = "id", "live" })
	issAud := func(c jwt.MapClaims) { c["iss"], c["aud"] = "id", []string{"other", "live"} }
	soon := time.Now().Add(20 * time.Second).Unix()
	for _, tt := range []struct{ comment, token, user string }{
		{"HS256", signHMAC(t, validClaims(issAud)), "42"},
		{"HS384", sign(t, jwt.SigningMethodHS384, []byte(secret), validClaims(issAud)), "42"},
		{"HS512", sign(t, jwt.SigningMethodHS512, []byte(secret), validClaims(issAud)), "42"},
		{"the previous secret", sign(t, jwt.SigningMethodHS256, []byte(previousSecret), validClaims(issAud)), "42"},
		{"sub is a number", signHMAC(t, validClaims(issAud, with("sub", 42))), "42"},
		{"exp with a fraction", signHMAC(t, validClaims(issAud, with("exp", float64(time.Now().Unix())+60.5))), "42"},
		{"nbf and iat within the leeway", signHMAC(t, validClaims(issAud, with("nbf", soon), with("iat", soon))), "42"},
		{"a kid, which shared secrets ignore", signHMAC(t, validClaims(issAud), map[string]any{"kid": "../../etc/passwd"}), "42"},
		{"no channels", signHMAC(t, validClaims(issAud, without("channels"))), "42"},
		{"unknown claims", signHMAC(t, validClaims(issAud, with("role", []any{1, "x"}))), "42"},
		{"a user with a colon", signHMAC(t, validClaims(issAud, with("sub", "42:private"))), "42:private"},
	} {
		id, code := tokens.Verify(t.Context(), tt.token)
		if code != protocol.CodeOK || id.User != tt.user {
			t.Errorf("%s: %v, %v", tt.comment, id, code)
			continue
		}
		if d := time.Until(id.Until); d < 0 || d > time.Hour {
			t.Errorf("%s: expires in %v", tt.comment, d)
		}
	}
}

// TestBadTokens checks that forged, malformed and misdirected tokens are
// rejected.
func TestBadTokens(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret), func(c *TokensConfig) { c.Issuer, c.Audience = "id", "live" })
	issAud := func(c jwt.MapClaims) { c["iss"], c["aud"] = "id", "live" }
	valid := signHMAC(t, validClaims(issAud))
	if _, code := tokens.Verify(t.Context(), valid); code != protocol.CodeOK {
		t.Fatalf("the valid token: %v", code)
	}
	parts := strings.Split(valid, ".")
	none := func(alg string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + parts[1] + "."
	}
	const claims = `"sub":"42","iss":"id","aud":"live"`
	const hs256 = `{"alg":"HS256"}`
	for _, tt := range []struct{ comment, token string }{
		{"empty", ""},
		{"not a token", "x"},
		{"alg none", none("none")},
		{"alg None", none("None")},
		{"alg nOnE", none("nOnE")},
		{"alg none with a signature", none("none") + parts[2]},
		{"empty alg", none("")},
		{"alg missing", rawToken(t, `{"typ":"JWT"}`, `{`+claims+`,"exp":99999999999}`)},
		{"alg is a number", rawToken(t, `{"alg":1}`, `{`+claims+`,"exp":99999999999}`)},
		{"alg in lower case", rawToken(t, `{"alg":"hs256"}`, `{`+claims+`,"exp":99999999999}`)},
		{"another secret", sign(t, jwt.SigningMethodHS256, []byte("another secret"), validClaims(issAud))},
		{"an empty secret", sign(t, jwt.SigningMethodHS256, []byte(""), validClaims(issAud))},
		{"signature missing", parts[0] + "." + parts[1] + "."},
		{"two parts", parts[0] + "." + parts[1]},
		{"four parts", valid + ".x"},
		{"claims of another token", parts[0] + "." + strings.Split(signHMAC(t, validClaims(issAud, with("sub", "43"))), ".")[1] + "." + parts[2]},
		{"a space at the start", " " + valid},
		{"a line break in it", parts[0] + ".\n" + parts[1] + "." + parts[2]},
		{"another algorithm", sign(t, jwt.SigningMethodRS256, rsaKey(t, 2048), validClaims(issAud))},
		{"exp missing", signHMAC(t, validClaims(issAud, without("exp")))},
		{"exp is null", rawToken(t, hs256, `{`+claims+`,"exp":null}`)},
		{"exp is a string", signHMAC(t, validClaims(issAud, with("exp", "9999999999")))},
		{"exp is a list", signHMAC(t, validClaims(issAud, with("exp", []int{1})))},
		{"exp is huge", rawToken(t, hs256, `{`+claims+`,"exp":1e300}`)},
		{"exp is not a float64", rawToken(t, hs256, `{`+claims+`,"exp":1e999}`)},
		{"exp in the year 10000", rawToken(t, hs256, `{`+claims+`,"exp":253402300800}`)},
		{"exp is negative", rawToken(t, hs256, `{`+claims+`,"exp":-1}`)},
		{"expired just now: exp has no leeway", signHMAC(t, validClaims(issAud, with("exp", time.Now().Unix())))},
		{"not valid yet", signHMAC(t, validClaims(issAud, with("nbf", time.Now().Add(2*time.Minute).Unix())))},
		{"nbf is a string", signHMAC(t, validClaims(issAud, with("nbf", "0")))},
		{"issued in the future", signHMAC(t, validClaims(issAud, with("iat", time.Now().Add(time.Hour).Unix())))},
		{"another audience", signHMAC(t, validClaims(issAud, with("aud", "other")))},
		{"audience missing", signHMAC(t, validClaims(issAud, without("aud")))},
		{"audience is a number", signHMAC(t, validClaims(issAud, with("aud", 7)))},
		{"another issuer", signHMAC(t, validClaims(issAud, with("iss", "evil")))},
		{"issuer with the same prefix", signHMAC(t, validClaims(issAud, with("iss", "id.evil")))},
		{"issuer missing", signHMAC(t, validClaims(issAud, without("iss")))},
		{"sub missing", signHMAC(t, validClaims(issAud, without("sub")))},
		{"sub is null", signHMAC(t, validClaims(issAud, with("sub", nil)))},
		{"sub is empty", signHMAC(t, validClaims(issAud, with("sub", "")))},
		{"sub is an object", signHMAC(t, validClaims(issAud, with("sub", map[string]int{"id": 1})))},
		{"sub is a fraction", signHMAC(t, validClaims(issAud, with("sub", 4.2)))},
		{"sub with a control character", signHMAC(t, validClaims(issAud, with("sub", "4\n2")))},
		{"sub with U+202E", signHMAC(t, validClaims(issAud, with("sub", "4\u202e2")))},
		{"sub is too long", signHMAC(t, validClaims(issAud, with("sub", strings.Repeat("4", 129))))},
		{"channels is not a list", signHMAC(t, validClaims(issAud, with("channels", "chat:*")))},
		{"channels contains a number", signHMAC(t, validClaims(issAud, with("channels", []int{1})))},
		{"an invalid pattern", signHMAC(t, validClaims(issAud, with("channels", []string{"chat:["})))},
		{"an empty pattern", signHMAC(t, validClaims(issAud, with("publish", []string{""})))},
		{"too many patterns", signHMAC(t, validClaims(issAud, with("channels", strings.Split(strings.Repeat("a ", 257), " "))))},
		{"kid is a number", signHMAC(t, validClaims(issAud), map[string]any{"kid": 7})},
		{"an extension in crit", signHMAC(t, validClaims(issAud), map[string]any{"crit": []string{"b64"}, "b64": false})},
		{"10^6 dots", strings.Repeat(".", 1e6)},
		{"1 MiB", parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2]},
		{"longer than 8 KiB", signHMAC(t, validClaims(issAud, with("pad", strings.Repeat("x", maxTokenBytes))))},
		{"claims are a list", rawToken(t, hs256, `[1]`)},
		{"claims are empty", rawToken(t, hs256, ``)},
		{"encrypted, not signed", rawToken(t, `{"alg":"dir","enc":"A256GCM"}`, `{}`)},
	} {
		if id, code := tokens.Verify(t.Context(), tt.token); code != protocol.CodeUnauthorized || id != nil {
			t.Errorf("%s: %v, %v", tt.comment, id, code)
		}
	}
}

// TestTokenLog checks that the log does not contain any part of a rejected
// token.
func TestTokenLog(t *testing.T) {
	var log strings.Builder
	tokens := newTokens(t, SecretKeys(secret), func(c *TokensConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, token := range []string{
		signHMAC(t, validClaims(with("exp", 1), with("sub", "canary"))), "canary.canary.canary", "canary",
		signHMAC(t, validClaims(), map[string]any{"alg": "canary"}), rawToken(t, `{"alg":"canary"}`, `{"sub":"canary"}`),
	} {
		tokens.Verify(t.Context(), token)
	}
	tokens.verifyFirst(t.Context(), []string{"canary", signHMAC(t, validClaims())}) // accepted, so not logged
	if strings.Contains(log.String(), "canary") || strings.Count(log.String(), "rejected a token") != 5 {
		t.Errorf("logged:\n%s", log.String())
	}
	if !strings.Contains(log.String(), "reason=expired") {
		t.Errorf("the reason is missing in the log:\n%s", log.String())
	}
}

// TestTokenEnd checks that an identity ends when its token expires.
func TestTokenEnd(t *testing.T) {
	exp := time.Now().Add(20 * time.Second)
	id, code := newTokens(t, SecretKeys(secret)).Verify(t.Context(), signHMAC(t, validClaims(with("exp", exp.Unix()))))
	if code != protocol.CodeOK || id.Until.Unix() != exp.Unix() {
		t.Errorf("ends at %v, want %v (%v)", id.Until, exp, code)
	}
}

// FuzzVerify checks that no token without a valid signature is accepted.
func FuzzVerify(f *testing.F) {
	f.Add("eyJhbGciOiJIUzI1NiJ9.e30.x")
	f.Add("...")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.")
	tokens := NewTokens(TokensConfig{Keys: SecretKeys(secret), Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, token string) {
		if id, code := tokens.Verify(context.Background(), token); code != protocol.CodeUnauthorized || id != nil {
			t.Errorf("%q is accepted", token)
		}
	})
}
