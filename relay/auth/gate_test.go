package auth

import (
	"net/http"
	"testing"

	"sidecast/relay/protocol"
)

// TestGateTokens presents tokens in several places. The first place counts,
// also if its token is bad.
func TestGateTokens(t *testing.T) {
	gate := NewGate(GateConfig{Tokens: newTokens(t, SecretKeys(secret)), Cookie: "token"})
	one, two := signHMAC(t, validClaims(with("sub", "1"))), signHMAC(t, validClaims(with("sub", "2")))
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
