package auth

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"sidecast/relay/protocol"
)

// TestGateTokens presents tokens in several places. The first place counts,
// also if its token is bad. Of several cookies, the first valid one counts.
func TestGateTokens(t *testing.T) {
	gate := NewGate(GateConfig{Tokens: newTokens(t, SecretKeys(secret)), Cookie: "token"})
	one, two := signHMAC(t, validClaims(with("sub", "1"))), signHMAC(t, validClaims(with("sub", "2")))
	expired := signHMAC(t, validClaims(with("exp", 1)))
	bad := "bad"
	for _, tt := range []struct {
		comment string
		offered *string
		request *http.Request
		user    string
		code    protocol.CloseCode
	}{
		{"no token", nil, request(), "", 0},
		{"subprotocol", &one, request(), "1", 0},
		{"header", nil, request("Authorization", "Bearer "+one), "1", 0},
		{"header in lower case", nil, request("Authorization", "bearer "+one), "1", 0},
		{"cookie", nil, request("Cookie", "a=b; token="+one), "1", 0},
		{"another cookie", nil, request("Cookie", "tokens="+bad), "", 0},
		{"an empty cookie", nil, request("Cookie", "token="), "", 0},
		{"another scheme is not a token", nil, request("Authorization", "Basic Zm9vOmJhcg=="), "", 0},
		{"subprotocol, header and cookie", &one, request("Authorization", "Bearer "+two, "Cookie", "token="+two), "1", 0},
		{"header and cookie", nil, request("Authorization", "Bearer "+one, "Cookie", "token="+two), "1", 0},
		{"a bad subprotocol and a good header", &bad, request("Authorization", "Bearer "+one), "", protocol.CloseUnauthorized},
		{"a bad header and a good cookie", nil, request("Authorization", "Bearer x", "Cookie", "token="+one), "", protocol.CloseUnauthorized},
		{"an empty subprotocol", new(""), request(), "", protocol.CloseUnauthorized},
		{"an empty header", nil, request("Authorization", "Bearer "), "", protocol.CloseUnauthorized},
		{"two headers", nil, request("Authorization", "Bearer "+one, "Authorization", "Bearer "+two), "", protocol.CloseUnauthorized},
		{"a stale cookie of another path first", nil, request("Cookie", "token="+expired+"; token="+one), "1", 0},
		{"two valid cookies", nil, request("Cookie", "token="+two+"; token="+one), "2", 0},
		{"cookies in two headers", nil, request("Cookie", "token=x", "Cookie", "token="+one), "1", 0},
		{"an empty cookie first", nil, request("Cookie", "token=; token="+one), "1", 0},
		{"the eighth cookie", nil, request("Cookie", strings.Repeat("token=x; ", 7)+"token="+one), "1", 0},
		{"the ninth cookie", nil, request("Cookie", strings.Repeat("token=x; ", 8)+"token="+one), "", protocol.CloseUnauthorized},
		{"cookies of another name between", nil, request("Cookie", "token=x; "+strings.Repeat("other=x; ", 9)+"token="+one), "1", 0},
		{"only bad cookies", nil, request("Cookie", "token=x; token="+expired), "", protocol.CloseUnauthorized},
		{"a bad cookie", nil, request("Cookie", "token=x"), "", protocol.CloseUnauthorized},
	} {
		v, code := gate.Identify(tt.request, tt.offered)
		user := ""
		if v.Identity != nil {
			user = v.Identity.User
		}
		if user != tt.user || code != tt.code {
			t.Errorf("%s: %q, %d", tt.comment, user, code)
		}
	}
	noTokens := NewGate(GateConfig{Cookie: "token"})
	if v, code := noTokens.Identify(request("Authorization", "Bearer x"), &bad); v.Identity != nil || code != 0 {
		t.Errorf("tokens are not configured, but one has an effect: %v, %d", v, code)
	}
}

// TestCookiesAndKeys checks that a token whose keys cannot be fetched neither
// hides a valid one nor counts as invalid.
func TestCookiesAndKeys(t *testing.T) {
	key := rsaKey(t, 2048)
	server := newKeyServer(t)
	server.serveKeys(jwkRSA("one", key))
	tokens, set := server.tokens(t)
	gate := NewGate(GateConfig{Tokens: tokens, Cookie: "token"})
	valid, unknown := signRSA(t, key, "one"), signRSA(t, key, "two")
	wantCode(t, tokens, valid, protocol.CodeOK, "the keys are fetched")
	set.fetchLimit = rate.NewLimiter(0, 0)
	if v, code := gate.Identify(request("Cookie", "token="+unknown+"; token="+valid), nil); code != 0 || v.Identity.UserID() != "42" {
		t.Errorf("a valid token after one with an unknown key: %v, %d", v.Identity, code)
	}
	if _, code := gate.Identify(request("Cookie", "token=x; token="+unknown+"; token=x"), nil); code != protocol.CloseTryLater {
		t.Errorf("no valid token, and one with an unknown key: %d", code)
	}
}
