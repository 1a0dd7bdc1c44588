package auth

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
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
// [jwt.Claims].
type claims struct {
	Subject   userID           `json:"sub"`
	Expires   *numericDate     `json:"exp"`
	NotBefore *numericDate     `json:"nbf"`
	IssuedAt  *numericDate     `json:"iat"`
	Issuer    string           `json:"iss"`
	Audience  jwt.ClaimStrings `json:"aud"`

	Channels  []string `json:"channels"`  // patterns of channels that the user may receive
	Publish   []string `json:"publish"`   // patterns of channels that the user may publish to
	Subscribe []string `json:"subscribe"` // channels to subscribe to when the client connects
}

// The library has one leeway for all times. The relay does not use it: nbf and
// iat are moved instead, and exp is not.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires.minus(0), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.IssuedAt.minus(leeway), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.NotBefore.minus(leeway), nil }
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return string(c.Subject), nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return c.Audience, nil }

// numericDate is a time in JSON (RFC 7519 section 2): a number of seconds, of
// which the fraction is dropped.
type numericDate int64

var errDate = errors.New("a time is not a valid number of seconds")

// UnmarshalJSON implements [json.Unmarshaler]. It is not called for null, which
// leaves a pointer nil.
func (d *numericDate) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil || seconds < 0 || seconds > maxDate {
		return errDate
	}
	*d = numericDate(seconds)
	return nil
}

func (d numericDate) time() time.Time { return time.Unix(int64(d), 0) }

// minus returns the time that is before d by the given duration, or nil if d is
// nil.
func (d *numericDate) minus(by time.Duration) *jwt.NumericDate {
	if d == nil {
		return nil
	}
	return jwt.NewNumericDate(d.time().Add(-by))
}
