package auth

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/protocol"
)

// TestRejectionReasons checks that the log says which claim is wrong and what to
// do, without any value of the token.
func TestRejectionReasons(t *testing.T) {
	var log strings.Builder
	tokens := newTokens(t, SecretKeys(secret), func(c *TokensConfig) {
		c.Issuer, c.Audience, c.Logger = "id", "live", slog.New(slog.NewTextHandler(&log, nil))
	})
	tokens.logLimit.Interval, tokens.logLimit.First = 0, 1000
	now := time.Now()
	claim := func(changes ...func(jwt.MapClaims)) string {
		return signHMAC(t, validClaims(append([]func(jwt.MapClaims){with("iss", "id"), with("aud", "live")}, changes...)...))
	}
	const canary = "canary"
	for _, tt := range []struct{ token, reason, do string }{
		{claim(with("exp", now.Add(time.Hour).UnixMilli())), "exp is in milliseconds and not in seconds", "divide it by 1000"},
		{claim(with("exp", "9999999999")), "exp is a string and not a number of seconds", ""},
		{claim(with("exp", true)), "exp is true or false and not a number of seconds", ""},
		{claim(with("exp", -1)), "exp is not a number of seconds since 1970", ""},
		{claim(without("exp")), "exp is missing", "in seconds since 1970"},
		{claim(with("exp", now.Unix()-1)), "expired", "new token"},
		{claim(with("nbf", now.UnixMilli())), "nbf is in milliseconds", ""},
		{claim(with("nbf", now.Unix()+1000)), "not valid yet (nbf)", "clocks"},
		{claim(with("iat", "now")), "iat is a string", ""},
		{claim(with("iat", now.Unix()+1000)), "issued in the future (iat)", "clocks"},
		{claim(without("iss")), "iss is missing", "SIDECAST_JWT_ISSUER"},
		{claim(with("iss", canary)), "iss is another issuer", "SIDECAST_JWT_ISSUER"},
		{claim(with("iss", 1)), "iss is a number and not a string", ""},
		{claim(without("aud")), "aud is missing", "SIDECAST_JWT_AUDIENCE"},
		{claim(with("aud", []string{canary})), "aud is another audience", "SIDECAST_JWT_AUDIENCE"},
		{claim(with("aud", map[string]int{canary: 1})), "aud is an object and not a list of strings", ""},
		{claim(without("sub")), "sub is missing", "the user's id"},
		{claim(with("sub", 4.2)), "sub is not a whole number", ""},
		{claim(with("sub", canary+"\n")), "sub is not a valid id of a user", "control characters"},
		{claim(with("channels", map[string]string{"0": canary})), "channels is an object and not a list of strings", "array_values"},
		{claim(with("channels", canary)), "channels is a string and not a list of strings", ""},
		{claim(with("publish", []int{1})), "publish contains something that is not a string", ""},
		{claim(with("subscribe", 1)), "subscribe is a number and not a list of strings", ""},
		{claim(with("channels", []string{canary + "["})), "channels: pattern has a [ without its ]", ""},
		{claim(with("channels", strings.Split(strings.Repeat("a ", 256), " "))), "too many patterns and channels", ""},
		{rawToken(t, `{"alg":"HS256"}`, `{"sub":"1","sub":"canary"}`), "a name occurs twice", ""},
		{rawToken(t, `{"alg":"HS256"}`, "{\"sub\":\"\xff\"}"), "bytes that are not UTF-8", ""},
		{rawToken(t, `{"alg":"HS256"}`, `[]`), "not a JSON object", ""},
		{sign(t, jwt.SigningMethodHS256, []byte(canary), validClaims()), "wrong signature", "the key that Sidecast is configured with"},
		{sign(t, jwt.SigningMethodRS256, rsaKey(t, 2048), validClaims()), "signed with RS256 (alg), but only HS256, HS384, HS512 is accepted", "sign with one"},
		{rawToken(t, `{"alg":"canary"}`, `{"sub":"1","exp":99999999999}`), "unknown algorithm (alg)", ""},
		{claim() + ".x", "malformed", "three parts"},
		{"Bearer " + claim(), "malformed", "alone"},
		{strings.Repeat("x", maxTokenBytes+1), "longer than 8 KiB", "fewer grants"},
	} {
		log.Reset()
		if id, code := tokens.Verify(t.Context(), tt.token); id != nil || code != protocol.CodeUnauthorized {
			t.Errorf("%s: %v, %v", tt.reason, id, code)
		}
		if text := log.String(); !strings.Contains(text, tt.reason) || !strings.Contains(text, tt.do) || strings.Contains(text, canary) || strings.Contains(text, `do=""`) ||
			!strings.Contains(text, "even if the client wants public channels only") {
			t.Errorf("logged %q, want %q and %q", text, tt.reason, tt.do)
		}
	}
}
