package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"sidecast/relay/protocol"
)

func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// Which token counts where several are presented, and that a bad one is never passed over.
func TestGateTokens(t *testing.T) {
	gate := NewGate(GateConfig{Tokens: newTokens(t, SecretKeys(secret)), Cookie: "token"})
	one, two := hs(t, good(with("sub", "1"))), hs(t, good(with("sub", "2")))
	bad := "bad"
	for _, tt := range []struct {
		comment string
		offered *string
		request *http.Request
		user    string
		code    protocol.CloseCode
	}{
		{"none", nil, request(), "", 0},
		{"subprotocol", &one, request(), "1", 0},
		{"header", nil, request("Authorization", "Bearer "+one), "1", 0},
		{"header in lower case", nil, request("Authorization", "bearer "+one), "1", 0},
		{"cookie", nil, request("Cookie", "a=b; token="+one), "1", 0},
		{"another cookie", nil, request("Cookie", "tokens="+bad), "", 0},
		{"a cookie that was emptied", nil, request("Cookie", "token="), "", 0},
		{"another scheme is for the application", nil, request("Authorization", "Basic Zm9vOmJhcg=="), "", 0},
		{"subprotocol before header and cookie", &one, request("Authorization", "Bearer "+two, "Cookie", "token="+two), "1", 0},
		{"header before cookie", nil, request("Authorization", "Bearer "+one, "Cookie", "token="+two), "1", 0},
		{"a bad one beside a good one", &bad, request("Authorization", "Bearer "+one), "", protocol.CloseUnauthorized},
		{"a bad header beside a good cookie", nil, request("Authorization", "Bearer x", "Cookie", "token="+one), "", protocol.CloseUnauthorized},
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
	open := NewGate(GateConfig{Cookie: "token"})
	if v, code := open.Identify(request("Authorization", "Bearer x"), &bad); v.Identity != nil || code != 0 {
		t.Errorf("without tokens a token says nothing: %v, %d", v, code)
	}
}
