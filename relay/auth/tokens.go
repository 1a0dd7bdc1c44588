package auth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

const (
	// maxToken bounds a token, in bytes, before anything looks into it.
	maxToken = 8 << 10
	// leeway is how far the application's clock may be ahead of ours: tokens that are new by its clock are taken. The end of
	// a token is judged without it, by our clock: nobody hears anything on a token that has expired.
	leeway = 30 * time.Second
	// lastSecond is the end of the year 9999: what lies beyond is no date.
	lastSecond = 253402300799
)

// TokensConfig is what [NewTokens] needs.
type TokensConfig struct {
	Keys     *Keys
	Issuer   string // demanded where it is not empty
	Audience string // demanded where it is not empty
	Grants   Grants
	Logger   *slog.Logger
}

// Tokens verifies the tokens (JWT, RFC 7519) that the application gives to its users. It is immutable and safe for
// concurrent use.
type Tokens struct {
	keys   *Keys
	parser *jwt.Parser
	grants Grants
	logger *slog.Logger
	some   *rate.Sometimes // of what is logged: whoever sends bad tokens must not fill the disk
}

// NewTokens returns a verifier. What a token may be signed with is fixed here; its header chooses among that, and decides
// nothing else.
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
		some: &rate.Sometimes{First: 10, Interval: time.Second},
	}
}

// Run keeps the keys fresh until ctx ends.
func (t *Tokens) Run(ctx context.Context) error {
	if t.keys.run == nil {
		<-ctx.Done()
		return nil
	}
	return t.keys.run(ctx, t.logger)
}

// Verify returns whom the token names: [relay.CodeOK] with an identity, [relay.CodeUnauthorized] for a token that is not
// good, or [relay.CodeUnavailable] where that cannot be found out now. It waits only for keys that have to be fetched.
func (t *Tokens) Verify(ctx context.Context, token string) (*access.Identity, protocol.Code) {
	id, err := t.verify(ctx, token)
	switch {
	case err == nil:
		return id, protocol.CodeOK
	case errors.Is(err, errKeysAway):
		return nil, protocol.CodeUnavailable
	}
	t.some.Do(func() { t.logger.Warn("refused a token", "reason", reasonOf(err)) })
	return nil, protocol.CodeUnauthorized
}

var (
	errTokenLong     = errors.New("the token is too long")
	errTokenCritical = errors.New("the token demands an extension")
	errTokenGrants   = errors.New("the token's user or grants cannot be read")
)

func (t *Tokens) verify(ctx context.Context, token string) (*access.Identity, error) {
	if len(token) > maxToken {
		return nil, errTokenLong
	}
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		if _, critical := parsed.Header["crit"]; critical {
			return nil, errTokenCritical // RFC 7515 section 4.1.11: what is not understood there is refused
		}
		kid, isString := parsed.Header["kid"].(string)
		if _, has := parsed.Header["kid"]; has && !isString {
			return nil, errKeyUnknown
		}
		keys, err := t.keys.find(ctx, kid)
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	if err != nil {
		return nil, err
	}
	id, err := t.grants.identity(string(c.Subject), saidGrants{c.Channels, c.Publish, c.Subscribe}, c.Expires.time())
	if err != nil {
		return nil, errTokenGrants
	}
	return id, nil
}

// claims are what a token says. It implements [jwt.Claims].
type claims struct {
	Subject   userID           `json:"sub"`
	Expires   *seconds         `json:"exp"`
	NotBefore *seconds         `json:"nbf"`
	IssuedAt  *seconds         `json:"iat"`
	Issuer    string           `json:"iss"`
	Audience  jwt.ClaimStrings `json:"aud"`

	Channels  []string `json:"channels"`  // patterns that may be heard
	Publish   []string `json:"publish"`   // patterns that may be published to
	Subscribe []string `json:"subscribe"` // channels to join at once
}

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires.date(0), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.IssuedAt.date(leeway), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.NotBefore.date(leeway), nil }
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return string(c.Subject), nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return c.Audience, nil }

// seconds is a NumericDate (RFC 7519 section 2): a JSON number, cut to whole seconds.
type seconds int64

// UnmarshalJSON implements [json.Unmarshaler]. It is not called for null, which is no time at all.
func (s *seconds) UnmarshalJSON(b []byte) error {
	var number float64
	if err := json.Unmarshal(b, &number); err != nil || number < 0 || number > lastSecond {
		return errDate
	}
	*s = seconds(number)
	return nil
}

var errDate = errors.New("a time is not a number of seconds")

func (s seconds) time() time.Time { return time.Unix(int64(s), 0) }

// date is the time, taken to be earlier by so much, or nil for none. The library has one leeway for all times.
func (s *seconds) date(earlier time.Duration) *jwt.NumericDate {
	if s == nil {
		return nil
	}
	return jwt.NewNumericDate(s.time().Add(-earlier))
}

// reasons are what the log says of a refused token, in place of errors that may repeat parts of it.
var reasons = []struct {
	err  error
	text string
}{
	{errTokenLong, "longer than 8 KiB"},
	{errTokenCritical, "demands an extension"},
	{errTokenGrants, "sub or a grant cannot be read"},
	{errKeyUnknown, "no key of this id"},
	{jwt.ErrTokenExpired, "expired"},
	{jwt.ErrTokenNotValidYet, "not valid yet"},
	{jwt.ErrTokenUsedBeforeIssued, "issued in the future"},
	{jwt.ErrTokenInvalidAudience, "for another audience"},
	{jwt.ErrTokenInvalidIssuer, "of another issuer"},
	{jwt.ErrTokenRequiredClaimMissing, "lacks a claim"},
	{jwt.ErrTokenMalformed, "malformed"},
	{jwt.ErrTokenSignatureInvalid, "signature or algorithm"},
}

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.text
		}
	}
	return "not verifiable"
}
