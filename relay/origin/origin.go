// Package origin parses and matches web origins (RFC 6454): the scheme, host
// and port of a page. It imports only the standard library and relay/syntax.
package origin

import (
	"net/netip"
	"net/url"
	"strings"
)

// An Origin is the scheme, host and port of a page, in the form in which
// browsers send them. Two equal origins are equal by ==. The zero Origin is not
// an origin.
type Origin struct {
	Scheme string // in lower case
	Host   string // in lower case, without brackets; [Parse] does not reject a `*` in it
	Port   string // empty for the scheme's default port
}

// Parse reads an origin such as a browser sends in a header, in any case and
// with or without the scheme's default port. It returns false for `null`, for a
// text that is more than an origin, and for several origins in one text.
func Parse(text string) (Origin, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" ||
		u.Fragment != "" || u.Opaque != "" || u.ForceQuery {
		return Origin{}, false
	}
	if u.Port() == "" && strings.HasSuffix(u.Host, ":") {
		return Origin{}, false
	}
	return fromURL(u), true
}

// Opaque reports whether a page sends this text if it has no origin of its own:
// a file, a sandboxed frame of any site, or a page that is part of an app.
func Opaque(text string) bool { return text == "null" || text == "file://" }

// fromURL normalizes what url.Parse returns.
func fromURL(u *url.URL) Origin {
	port := u.Port()
	if port == defaultPorts[u.Scheme] {
		port = ""
	}
	return Origin{Scheme: u.Scheme, Host: strings.ToLower(u.Hostname()), Port: port}
}

// defaultPorts are the ports that browsers leave out of an origin.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// String returns the origin as browsers send it: scheme://host[:port].
func (o Origin) String() string {
	host := o.Host
	if _, err := netip.ParseAddr(host); err == nil && strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.Port != "" {
		host += ":" + o.Port
	}
	return o.Scheme + "://" + host
}
