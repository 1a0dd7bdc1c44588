package auth

import (
	"cmp"
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

var (
	errTokenLength    = &problem{text: "longer than 8 KiB", do: "put fewer grants into it"}
	errTokenExtension = &problem{text: "requires an extension (crit)", do: "sign tokens without crit"}
)

// notePublic explains why a page fails that needs no login at all.
const notePublic = "a token that a client sends must be valid even if the client wants public channels only; " +
	"without a token it could receive these"

// rejections are the texts to log for the errors of the library, whose own
// texts may repeat parts of a token. The first that matches counts.
var rejections = []struct {
	err error
	problem
}{
	{jwt.ErrTokenExpired, problem{"expired", "let the page get a new token before it connects"}},
	{jwt.ErrTokenNotValidYet, problem{"not valid yet (nbf)", "compare the clocks of the application and of this host"}},
	{jwt.ErrTokenUsedBeforeIssued, problem{"issued in the future (iat)", "compare the clocks of the application and of this host"}},
	{jwt.ErrTokenMalformed, problem{"malformed", "send the token alone: three parts in base64url, with dots between them and no padding"}},
	{jwt.ErrTokenSignatureInvalid, problem{"wrong signature", "sign with the key that Sidecast is configured with"}},
	{jwt.ErrTokenUnverifiable, problem{"unknown algorithm (alg)", "sign with an algorithm that Sidecast supports"}},
}

// rejection returns why a token is rejected, and what to do about it.
func rejection(err error) (reason, do string) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.text, cmp.Or(p.do, "correct the tokens that the application creates")
	}
	for _, r := range rejections {
		if errors.Is(err, r.err) {
			return r.text, r.do
		}
	}
	return "cannot be verified", "check the keys, and the tokens that the application creates"
}
