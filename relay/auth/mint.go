package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/access"
)

// MintConfig is what a token is to say.
type MintConfig struct {
	Secret    string
	Algorithm string // one of HS256, HS384, HS512
	Issuer    string
	Audience  string

	User      string
	Channels  []string
	Publish   []string
	Subscribe []string
	TTL       time.Duration
}

// Mint returns a token as an application would make it. It refuses what [Tokens] would.
func Mint(c MintConfig) (string, error) {
	method, ok := jwt.GetSigningMethod(c.Algorithm).(*jwt.SigningMethodHMAC)
	if !ok {
		return "", errors.New("tokens are minted with a shared secret only")
	}
	if c.TTL <= 0 {
		return "", errors.New("a token needs some time to live")
	}
	if _, err := (Grants{}).identity(c.User, saidGrants{c.Channels, c.Publish, c.Subscribe}, time.Time{}); err != nil {
		return "", err
	}
	for _, channel := range c.Subscribe {
		if !access.ValidChannel(channel) {
			return "", fmt.Errorf("%q is not a channel name", channel)
		}
	}
	now := time.Now()
	said := jwt.MapClaims{
		"sub": c.User, "iat": now.Unix(), "exp": now.Add(c.TTL + time.Second - 1).Unix(), "jti": rand.Text(),
	}
	for name, list := range map[string][]string{"channels": c.Channels, "publish": c.Publish, "subscribe": c.Subscribe} {
		if len(list) > 0 {
			said[name] = list
		}
	}
	for name, text := range map[string]string{"iss": c.Issuer, "aud": c.Audience} {
		if text != "" {
			said[name] = text
		}
	}
	return jwt.NewWithClaims(method, said).SignedString([]byte(c.Secret))
}
