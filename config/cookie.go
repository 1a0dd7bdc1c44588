package config

import (
	"strings"

	"sidecast/relay/syntax"
)

// A CookieName is the name of a cookie (RFC 6265 section 4.1.1).
type CookieName string

// Decode reads a name.
func (c *CookieName) Decode(value string) error {
	value = strings.TrimSpace(value)
	if !syntax.Alphanumeric(value, "!#$%&'*+-.^_`|~") {
		return syntax.New(syntax.Quote(value)+" is not a valid cookie name", "write letters, digits, - and _")
	}
	*c = CookieName(value)
	return nil
}
