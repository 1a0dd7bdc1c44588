package auth

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// RevokedAge is how long a revocation is known; 0: for ever. A token that
	// is valid for longer could outlive one.
	RevokedAge time.Duration
}

// Tokens verifies the tokens (JWT, RFC 7519) that the application creates for
// its users. It is immutable and safe for concurrent use.
type Tokens struct {
	keys     *Keys
	parser   *jwt.Parser
	wanted   wantedClaims
	grants   Grants
	logger   *slog.Logger
	logLimit *rate.Sometimes // clients that send bad tokens must not fill the disk

	revokedAge time.Duration   // 0: no limit
	longLimit  *rate.Sometimes // of the warning of tokens that live longer
}

// NewTokens returns a verifier. It accepts only the algorithms of c.Keys; a
// token's header can choose one of these, and has no other influence on the
// verification.
func NewTokens(c TokensConfig) *Tokens {
	return &Tokens{
		keys: c.Keys,
		parser: jwt.NewParser(
			jwt.WithValidMethods(c.Keys.algorithms), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding()),
		wanted: wantedClaims{issuer: c.Issuer, audience: c.Audience}, grants: c.Grants, logger: c.Logger,
		logLimit:   &rate.Sometimes{First: 10, Interval: time.Second},
		revokedAge: c.RevokedAge, longLimit: &rate.Sometimes{Interval: time.Hour},
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

// verifyFirst returns the identity that the first valid token grants. If no
// token is valid, it returns the code that [Tokens.Verify] describes. It
// fetches keys at most once, and only if no token is valid by the keys that are
// stored.
func (t *Tokens) verifyFirst(ctx context.Context, tokens []string) (*access.Identity, protocol.Code) {
	id, missing, err := t.verifyStored(tokens)
	if missing && t.keys.update != nil {
		t.keys.update(ctx)
		id, _, err = t.verifyStored(tokens)
	}
	switch {
	case id != nil:
		return id, protocol.CodeOK
	case errors.Is(err, errKeysUnavailable):
		return nil, protocol.CodeUnavailable
	}
	t.logLimit.Do(func() {
		reason, do := rejection(err)
		t.logger.Warn("rejected a token: its client has to log in again", "reason", reason, "do", do, "note", notePublic)
	})
	return nil, protocol.CodeUnauthorized
}

// verifyStored returns the identity that the first valid token grants by the
// keys that are stored. If no token is valid, missing reports whether a token
// names another key, and the error is errKeysUnavailable if a token cannot be
// decided, and otherwise that of the first token.
func (t *Tokens) verifyStored(tokens []string) (id *access.Identity, missing bool, err error) {
	for _, token := range tokens {
		id, failure := t.verify(token)
		switch {
		case failure == nil:
			return id, false, nil
		case errors.Is(failure, errKeysUnavailable):
			missing, err = true, failure
			continue
		case errors.Is(failure, errKeyUnknown):
			missing = true
		}
		if err == nil {
			err = failure
		}
	}
	return nil, missing, err
}

func (t *Tokens) verify(token string) (*access.Identity, error) {
	if len(token) > maxTokenBytes {
		return nil, errTokenLength
	}
	c := claims{wanted: t.wanted}
	parsed, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		kid, err := keyID(parsed)
		if err != nil {
			return nil, err
		}
		keys, err := t.keys.find(kid)
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	if err != nil {
		return nil, cmp.Or(t.wrongAlgorithm(parsed), err)
	}
	t.warnOfLifetime(&c)
	return c.identity(t.grants)
}

// warnOfLifetime warns of a token that can outlive its revocation.
func (t *Tokens) warnOfLifetime(c *claims) {
	from := time.Now()
	if c.issuedAt != nil {
		from = c.issuedAt.time()
	}
	if lifetime := c.expires.time().Sub(from); t.revokedAge > 0 && lifetime > t.revokedAge {
		t.longLimit.Do(func() {
			t.logger.Warn("a token is valid for longer than revocations are known: one that was revoked would be accepted again",
				"lifetime", lifetime.Round(time.Second), "revoked_age", t.revokedAge, "setting", "SIDECAST_REVOKED_AGE",
				"do", "let tokens expire sooner, or increase the setting")
		})
	}
}

// wrongAlgorithm returns a problem if a token is signed with an algorithm that
// the library knows and that is not allowed, and nil otherwise.
func (t *Tokens) wrongAlgorithm(token *jwt.Token) error {
	if token == nil || token.Method == nil || slices.Contains(t.keys.algorithms, token.Method.Alg()) {
		return nil
	}
	return &problem{
		text: "signed with " + token.Method.Alg() + " (alg), but only " + strings.Join(t.keys.algorithms, ", ") + " is accepted",
		do:   "sign with one of these, or configure the key that verifies the other one",
	}
}

// keyID returns the id of the key with which a token is signed, or "" if its
// header names no key. The header is parsed again, because the library does not
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
