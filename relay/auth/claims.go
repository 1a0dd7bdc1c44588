package auth

import (
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/access"
)

const (
	// leeway is how far the application's clock may be ahead of the relay's: a
	// token is accepted up to this long before its nbf and iat. There is no
	// leeway for exp: a client receives nothing after its token has expired by
	// the relay's clock.
	leeway = 30 * time.Second
	// maxDate is the last second of the year 9999. Later times are rejected.
	maxDate = 253402300799
)

// claims are the claims of a token that the relay uses. It implements
// [jwt.ClaimsValidator].
type claims struct {
	wanted wantedClaims

	user      string       // sub
	expires   *numericDate // exp; nil if it is missing, like the next two
	notBefore *numericDate // nbf
	issuedAt  *numericDate // iat
	issuer    string       // iss
	audience  []string     // aud
	id        string       // jti
	info      []byte
	grants    grantLists
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *claims) UnmarshalJSON(text []byte) error {
	o, err := parseObject(text)
	if err != nil {
		return err
	}
	*c = claims{
		wanted: c.wanted,
		user:   o.user("sub"), expires: o.date("exp"), notBefore: o.date("nbf"), issuedAt: o.date("iat"),
		issuer: o.string("iss"), audience: o.oneOrMore("aud"),
		id: o.tokenID("jti"), info: o.info("info"),
		grants: grantLists{channels: o.strings("channels"), publish: o.strings("publish"), subscribe: o.strings("subscribe")},
	}
	return o.err
}

// identity returns the identity that a valid token grants.
func (c *claims) identity(grants Grants) (*access.Identity, error) {
	id, err := grants.identity(c.user, c.grants, c.expires.time())
	if err != nil {
		return nil, err
	}
	id.TokenID, id.Info = c.id, c.info
	if c.issuedAt != nil {
		id.Established = c.issuedAt.time()
	}
	return id, nil
}

// wantedClaims are values that a token must have; empty: any value, or none.
type wantedClaims struct{ issuer, audience string }

// Validate implements [jwt.ClaimsValidator]. It checks what the library could
// check, too, but without saying which claim is missing.
func (c *claims) Validate() error {
	switch wanted := c.wanted; {
	case wanted.issuer != "" && c.issuer == "":
		return &problem{text: "iss is missing", do: doIssuer}
	case wanted.issuer != "" && c.issuer != wanted.issuer:
		return &problem{text: "iss is another issuer", do: doIssuer}
	case wanted.audience != "" && len(c.audience) == 0:
		return &problem{text: "aud is missing", do: doAudience}
	case wanted.audience != "" && !slices.Contains(c.audience, wanted.audience):
		return &problem{text: "aud is another audience", do: doAudience}
	}
	return nil
}

const (
	doIssuer   = "put the value of SIDECAST_JWT_ISSUER into iss, or correct the setting"
	doAudience = "put the value of SIDECAST_JWT_AUDIENCE into aud, or correct the setting"
)

// The library has one leeway for all times. The relay does not use it: nbf and
// iat are moved instead, and exp is not.

// GetExpirationTime implements [jwt.Claims].
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) {
	if c.expires == nil {
		return nil, &problem{text: "exp is missing", do: "put the time at which the token expires into exp, in seconds since 1970"}
	}
	return c.expires.minus(0), nil
}

func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)  { return c.issuedAt.minus(leeway), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.notBefore.minus(leeway), nil }
func (c *claims) GetIssuer() (string, error)              { return c.issuer, nil }
func (c *claims) GetSubject() (string, error)             { return c.user, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)  { return c.audience, nil }

// numericDate is a time in seconds since 1970.
type numericDate int64

func (d numericDate) time() time.Time { return time.Unix(int64(d), 0) }

// minus returns the time that is before d by the given duration, or nil if d is
// nil.
func (d *numericDate) minus(by time.Duration) *jwt.NumericDate {
	if d == nil {
		return nil
	}
	return jwt.NewNumericDate(d.time().Add(-by))
}
