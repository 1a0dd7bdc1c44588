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
// hides a valid one nor counts as invalid, and that one handshake causes at
// most one fetch.
func TestCookiesAndKeys(t *testing.T) {
	key := rsaKey(t, 2048)
	server := newKeyServer(t)
	server.answerWith(respond(500, ""))
	tokens, set := server.tokens(t)
	set.fetchLimit = rate.NewLimiter(rate.Inf, 1)
	gate := NewGate(GateConfig{Tokens: tokens, Cookie: "token"})
	valid, unknown := signRSA(t, key, "one"), signRSA(t, key, "two")
	if _, code := gate.Identify(request("Cookie", "token=x; token="+unknown+"; token=x; token="+valid), nil); code != protocol.CloseTryLater {
		t.Errorf("no keys: %d", code)
	}
	if n := server.requests.Load(); n != 1 {
		t.Errorf("one handshake caused %d requests", n)
	}
	server.serveKeys(jwkRSA("one", key))
	unknownFirst, validFirst := "token="+unknown+"; token="+valid, "token="+valid+"; token="+unknown
	for _, cookies := range []string{unknownFirst, unknownFirst, validFirst} {
		if v, code := gate.Identify(request("Cookie", cookies), nil); code != 0 || v.Identity.UserID() != "42" {
			t.Errorf("a valid token and one with an unknown key: %v, %d", v.Identity, code)
		}
		set.makeOld()
	}
	if n := server.requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2: a valid token needs no other key", n)
	}
}

// TestRetiredKey checks that clients with several cookies of a key that has been
// removed get 4401, and do not cause a fetch each.
func TestRetiredKey(t *testing.T) {
	key, retired := rsaKey(t, 2048), rsaKey(t, 2048)
	server := newKeyServer(t)
	server.serveKeys(jwkRSA("new", key))
	tokens, set := server.tokens(t)
	gate := NewGate(GateConfig{Tokens: tokens, Cookie: "token"})
	stale := "token=" + signRSA(t, retired, "old")
	stale += "; " + stale + "; " + stale
	wantCode(t, tokens, signRSA(t, key, "new"), protocol.CodeOK, "the keys are fetched")
	for _, tt := range []struct {
		comment  string
		prepare  func()
		requests int64 // of the key server, in total
	}{
		{"immediately after a fetch", func() {}, 1},
		{"once more", func() {}, 1},
		{"later", set.makeOld, 2},
		{"later, and the limit is reached", set.makeOld, 2},
		{"the key server fails", func() {
			server.answerWith(respond(500, ""))
			set.fetchLimit = rate.NewLimiter(rate.Inf, 1)
		}, 3},
	} {
		tt.prepare()
		if _, code := gate.Identify(request("Cookie", stale), nil); code != protocol.CloseUnauthorized {
			t.Errorf("%s: closed with %d", tt.comment, code)
		}
		if n := server.requests.Load(); n != tt.requests {
			t.Errorf("%s: %d requests, want %d", tt.comment, n, tt.requests)
		}
	}
}
