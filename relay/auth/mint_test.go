package auth

import (
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// TestMint checks that Tokens accepts the tokens that Mint creates, and that
// Mint rejects what Tokens would reject.
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
		"no user":                func(c *MintConfig) { c.User = "" },
		"an invalid pattern":     func(c *MintConfig) { c.Channels = []string{"["} },
		"an invalid channel":     func(c *MintConfig) { c.Subscribe = []string{"a\nb"} },
		"no lifetime":            func(c *MintConfig) { c.TTL = 0 },
		"a public-key algorithm": func(c *MintConfig) { c.Algorithm = "RS256" },
	} {
		bad := c
		change(&bad)
		if _, err := Mint(bad); err == nil {
			t.Errorf("%s: created a token", comment)
		}
	}
}
