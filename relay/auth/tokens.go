package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// maxTokenBytes bounds a token. The relay checks it before it decodes anything.
const maxTokenBytes = 8 << 10

// TokensConfig configures [Tokens].
type TokensConfig struct {
	Keys     *Keys
	Issuer   string // value that iss must have; empty: any value, or no iss
	Audience string // value that aud must contain; empty: any value, or no aud
	Grants   Grants
	Logger   *slog.Logger
}

// Tokens verifies the tokens (JWT, RFC 7519) that the application creates for
// its users. It is immutable and safe for concurrent use.
type Tokens struct {
	keys     *Keys
	parser   *jwt.Parser
	grants   Grants
	logger   *slog.Logger
	logLimit *rate.Sometimes // clients that send bad tokens must not fill the disk
}

// NewTokens returns a verifier. It accepts only the algorithms of c.Keys; a
// token's header can choose one of these, and has no other influence on the
// verification.
func NewTokens(c TokensConfig) *Tokens {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(c.Keys.algorithms), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	return &Tokens{
		keys: c.Keys, parser: jwt.NewParser(options...), grants: c.Grants, logger: c.Logger,
		logLimit: &rate.Sometimes{First: 10, Interval: time.Second},
	}
}

// Run refreshes the keys in the background until ctx ends.
func (t *Tokens) Run(ctx context.Context) error {
	if t.keys.run == nil {
		<-ctx.Done()
		return nil
	}
	return t.keys.run(ctx, t.logger)
}

// Verify returns the identity that a token grants. The code is
// [protocol.CodeOK]; [protocol.CodeUnauthorized] if the token is invalid; or
// [protocol.CodeUnavailable] if the keys to verify it cannot be fetched now.
// Verify blocks only while it fetches keys.
func (t *Tokens) Verify(ctx context.Context, token string) (*access.Identity, protocol.Code) {
	return t.verifyFirst(ctx, []string{token})
}

// verifyFirst returns the identity that the first valid token grants. If none
// is valid, it returns the code that [Tokens.Verify] describes.
func (t *Tokens) verifyFirst(ctx context.Context, tokens []string) (*access.Identity, protocol.Code) {
	var invalid error
	unavailable := false
	for _, token := range tokens {
		id, err := t.verify(ctx, token)
		switch {
		case err == nil:
			return id, protocol.CodeOK
		case errors.Is(err, errKeysUnavailable):
			unavailable = true
		case invalid == nil:
			invalid = err
		}
	}
	if unavailable {
		return nil, protocol.CodeUnavailable
	}
	t.logLimit.Do(func() {
		t.logger.Warn("rejected a token: its client has to log in again", "reason", rejectionReason(invalid))
	})
	return nil, protocol.CodeUnauthorized
}

var (
	errTokenLength    = errors.New("the token is too long")
	errTokenExtension = errors.New("the token requires an extension")
	errTokenGrants    = errors.New("the token's user or a grant is invalid")
)

func (t *Tokens) verify(ctx context.Context, token string) (*access.Identity, error) {
	if len(token) > maxTokenBytes {
		return nil, errTokenLength
	}
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		kid, err := keyID(parsed)
		if err != nil {
			return nil, err
		}
		keys, err := t.keys.find(ctx, kid)
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	if err != nil {
		return nil, err
	}
	id, err := t.grants.identity(c.user, c.grants, c.expires.time())
	if err != nil {
		return nil, errTokenGrants
	}
	return id, nil
}

// keyID returns the id of the key with which a token is signed, or "" if its
// header names none. The header is parsed again, because the library does not
// notice names that occur twice.
func keyID(token *jwt.Token) (string, error) {
	encoded, _, _ := strings.Cut(token.Raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("decoding the header: %w", err)
	}
	header, err := parseObject(text)
	if err != nil {
		return "", fmt.Errorf("parsing the header: %w", err)
	}
	if _, critical := header.members["crit"]; critical {
		return "", errTokenExtension // RFC 7515 section 4.1.11: a verifier rejects extensions that it does not know
	}
	if header.members["kid"] != nil && !header.has("kid") {
		return "", errKeyUnknown // null
	}
	return header.string("kid"), header.err
}

// rejectionReasons are the texts that the log has for errors, whose own texts
// may repeat parts of a token.
var rejectionReasons = []struct {
	err  error
	text string
}{
	{errTokenLength, "longer than 8 KiB"},
	{errTokenExtension, "requires an extension (crit)"},
	{errTokenGrants, "sub or a grant is invalid"},
	{errKeyUnknown, "unknown key id (kid)"},
	{jwt.ErrTokenExpired, "expired"},
	{jwt.ErrTokenNotValidYet, "not valid yet (nbf)"},
	{jwt.ErrTokenUsedBeforeIssued, "issued in the future (iat)"},
	{jwt.ErrTokenInvalidAudience, "wrong audience (aud)"},
	{jwt.ErrTokenInvalidIssuer, "wrong issuer (iss)"},
	{jwt.ErrTokenRequiredClaimMissing, "a required claim is missing"},
	{jwt.ErrTokenMalformed, "malformed"},
	{jwt.ErrTokenSignatureInvalid, "wrong signature or algorithm"},
}

func rejectionReason(err error) string {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.text
	}
	for _, r := range rejectionReasons {
		if errors.Is(err, r.err) {
			return r.text
		}
	}
	return "cannot be verified"
}
