package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/access"
)

// MintConfig is the content of a token and the secret that signs it.
type MintConfig struct {
	Secret    string
	Algorithm string // HS256, HS384 or HS512
	Issuer    string // empty: the token has no iss
	Audience  string // empty: the token has no aud

	User      string
	Channels  []string      // patterns of channels that the user may receive
	Publish   []string      // patterns of channels that the user may publish to
	Subscribe []string      // channels to subscribe to when the client connects
	TTL       time.Duration // until the token expires
}

// Mint returns a signed token, like one that an application creates for its
// users. It returns an error if [Tokens] would reject the token.
func Mint(c MintConfig) (string, error) {
	method, ok := jwt.GetSigningMethod(c.Algorithm).(*jwt.SigningMethodHMAC)
	if !ok {
		return "", errors.New("tokens can be created with a shared secret only: use HS256, HS384 or HS512")
	}
	if c.TTL <= 0 {
		return "", errors.New("the token's time to live must be greater than zero")
	}
	lists := grantLists{channels: c.Channels, publish: c.Publish, subscribe: c.Subscribe}
	if _, err := (Grants{}).identity(c.User, lists, time.Time{}); err != nil {
		return "", err
	}
	for _, channel := range c.Subscribe {
		if !access.ValidChannel(channel) {
			return "", fmt.Errorf("%q is not a valid channel name", channel)
		}
	}
	now := time.Now()
	// exp is rounded up to a whole second, so that the token is valid for the
	// whole TTL.
	content := jwt.MapClaims{
		"sub": c.User, "iat": now.Unix(), "exp": now.Add(c.TTL + time.Second - 1).Unix(), "jti": rand.Text(),
	}
	for name, list := range map[string][]string{"channels": c.Channels, "publish": c.Publish, "subscribe": c.Subscribe} {
		if len(list) > 0 {
			content[name] = list
		}
	}
	for name, text := range map[string]string{"iss": c.Issuer, "aud": c.Audience} {
		if text != "" {
			content[name] = text
		}
	}
	return jwt.NewWithClaims(method, content).SignedString([]byte(c.Secret))
}
