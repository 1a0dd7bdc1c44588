package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"sidecast/relay/loopback"
	"sidecast/relay/origin"
)

// Reasons for which [Origins.Check] rejects a request.
var (
	ErrOrigin      = errors.New("this page's origin may not connect: add it to SIDECAST_ALLOWED_ORIGINS")
	ErrFirstOrigin = fmt.Errorf("%w%s", ErrOrigin, withOthers)
	ErrScheme      = errors.New("this page was loaded over http, but it connects over TLS: load it over https, " +
		"or add its origin to SIDECAST_ALLOWED_ORIGINS" + withOthers)
	ErrHeader  = errors.New("the Origin header is not one origin: correct the client or proxy that sends it")
	ErrOpaque  = errors.New("this page has no origin, because it is a file, a sandboxed frame or part of an app: serve it over http or https")
	ErrCookies = errors.New("this page has no origin, but the browser sends cookies with it, and any website can show such a frame: " +
		"serve the page over http on localhost, or delete the cookies of this host")
	ErrHost = errors.New("the development relay answers to loopback names only, such as localhost")
)

// withOthers is added to the advice to list an origin if the list is empty: the
// first item ends the rule for pages of the same host.
const withOthers = ", together with the origins of all your other pages"

// Origins decides from which pages a browser may connect. It protects against
// cross-site WebSocket hijacking and DNS rebinding. It is immutable and safe
// for concurrent use. The zero value allows pages of the same host.
type Origins struct {
	listed   origin.List
	embedded bool
	cookies  bool
	proxies  Proxies
}

// OriginsConfig configures [NewOrigins].
type OriginsConfig struct {
	// Allowed is a list that [origin.ParseList] reads. If it is empty, pages
	// are allowed whose host name is the one that the request was sent to,
	// whatever the port, because cookies ignore ports too. If the browser sent
	// the request over TLS, the page must have been loaded over https: anyone in
	// the network can change a page that was not.
	Allowed []string
	// Embedded allows pages of every loopback host, and pages without an origin,
	// such as files, if the browser sends no cookies: any website can show a
	// frame without an origin. It requires a loopback name in the Host header,
	// so that a page elsewhere cannot reach a developer's relay through a name
	// that resolves to loopback.
	Embedded bool
	// Cookies says that clients can log in with cookies. Allowed must not list
	// pages without an origin then.
	Cookies bool
	Proxies Proxies
}

// NewOrigins returns the rules that c describes.
func NewOrigins(c OriginsConfig) (*Origins, error) {
	listed, err := origin.ParseList(c.Allowed)
	if err != nil {
		return nil, fmt.Errorf("the list of allowed origins %w", err)
	}
	return &Origins{listed: listed, embedded: c.Embedded, cookies: c.Cookies, proxies: c.Proxies}, nil
}

// Check returns the reason for which a request must be rejected, or nil.
func (o *Origins) Check(r *http.Request) error {
	if o.embedded && !loopback.PageHost(hostName(r.Host)) {
		return ErrHost
	}
	headers := r.Header.Values("Origin")
	switch {
	case len(headers) == 0: // the client is not a browser
		return nil
	case len(headers) > 1:
		return ErrHeader
	case o.listed.Allows(headers[0]):
		return nil
	case origin.Opaque(headers[0]):
		return o.checkOpaque(headers[0], r)
	}
	page, ok := origin.Parse(headers[0])
	if !ok {
		return ErrHeader
	}
	return o.checkPage(page, r)
}

// checkOpaque checks a page without an origin that is not listed.
func (o *Origins) checkOpaque(header string, r *http.Request) error {
	switch {
	case o.embedded && strings.Join(r.Header.Values("Cookie"), "") != "":
		return ErrCookies
	case o.embedded:
		return nil
	case o.cookies:
		return ErrOpaque
	}
	advice := ", or add " + header + " to SIDECAST_ALLOWED_ORIGINS"
	if o.listed.Empty() {
		advice += withOthers
	}
	return fmt.Errorf("%w%s", ErrOpaque, advice)
}

// checkPage checks a page whose origin is not listed.
func (o *Origins) checkPage(page origin.Origin, r *http.Request) error {
	switch sameHost := page.Host == hostName(o.proxies.Host(r)); {
	case o.embedded && loopback.PageHost(page.Host):
		return nil
	case o.embedded, !o.listed.Empty():
		return ErrOrigin
	case sameHost && page.Scheme == "http" && o.proxies.TLS(r):
		return ErrScheme
	case !sameHost, page.Scheme != "https" && o.proxies.TLS(r):
		return ErrFirstOrigin
	}
	return nil
}

// hostName returns the host of a Host header in lower case, without the port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
