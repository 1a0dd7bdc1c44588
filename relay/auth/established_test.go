package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// TestTokenIdentity checks what a token says about a login besides its grants.
func TestTokenIdentity(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret))
	issued := time.Now().Add(-time.Minute).Truncate(time.Second)
	for _, tt := range []struct {
		comment     string
		token       string
		established time.Time
		id, info    string
	}{
		{"everything", signHMAC(t, validClaims(with("iat", issued.Unix()), with("jti", "a1"), with("info", map[string]any{"name": "Ann"}))),
			issued, "a1", `{"name":"Ann"}`},
		{"nothing", signHMAC(t, validClaims()), time.Time{}, "", ""},
		{"null", signHMAC(t, validClaims(with("iat", nil), with("jti", nil), with("info", nil))), time.Time{}, "", ""},
		{"a number as the id", signHMAC(t, validClaims(with("jti", 17))), time.Time{}, "17", ""},
	} {
		id, code := tokens.Verify(t.Context(), tt.token)
		if code != protocol.CodeOK {
			t.Errorf("%s: %v", tt.comment, code)
			continue
		}
		if !id.Established.Equal(tt.established) || id.TokenID != tt.id || string(id.Info) != tt.info {
			t.Errorf("%s: %v, %q, %s", tt.comment, id.Established, id.TokenID, id.Info)
		}
	}
}

// TestInfo checks the limit on what other members may know about a user.
func TestInfo(t *testing.T) {
	for _, tt := range []struct {
		comment, info, want, problem string
	}{
		{"white space is dropped", ` { "name" : "Ann" } `, `{"name":"Ann"}`, ""},
		{"any value", `"Ann"`, `"Ann"`, ""},
		{"the largest", `"` + strings.Repeat("x", access.MaxInfo-2) + `"`, `"` + strings.Repeat("x", access.MaxInfo-2) + `"`, ""},
		{"too large", `"` + strings.Repeat("x", access.MaxInfo-1) + `"`, "", "info is larger than 1024 bytes"},
	} {
		a, err := parseLogin(Grants{}, reply{status: 200, body: []byte(`{"user":"42","info":` + tt.info + `}`)})
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%s: %v", tt.comment, err)
			}
		} else if err != nil || string(a.identity.Info) != tt.want {
			t.Errorf("%s: %v, %+v", tt.comment, err, a.identity)
		}
	}
}

// TestLoginIsEstablishedWhenAsked checks that a slow answer does not make a
// login newer than the question.
func TestLoginIsEstablishedWhenAsked(t *testing.T) {
	var received time.Time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		received = time.Now()
		_, _ = w.Write([]byte(`{"user":"42"}`))
	}))
	defer server.Close()
	before := time.Now()
	r, err := httpGet(t.Context(), newHTTPClient(1), server.URL, http.Header{}, maxAnswerBytes)
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseLogin(Grants{}, r)
	if err != nil {
		t.Fatal(err)
	}
	if at := a.identity.Established; at.Before(before) || at.After(received) {
		t.Errorf("established at %v, asked between %v and %v", at, before, received)
	}
}
