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
	ErrOrigin = errors.New("this page's origin may not connect: add it to SIDECAST_ALLOWED_ORIGINS")
	ErrScheme = errors.New("this page was loaded over http, but it connects over TLS: load it over https, " +
		"or add its origin to SIDECAST_ALLOWED_ORIGINS")
	ErrHost = errors.New("the development relay answers to loopback names only, such as localhost")
)

// Origins decides from which pages a browser may connect. It protects against
// cross-site WebSocket hijacking and DNS rebinding. It is immutable and safe
// for concurrent use. The zero value allows pages of the same host.
type Origins struct {
	listed   origin.List
	embedded bool
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
	// Embedded allows pages of every loopback host and pages without an origin
	// (files). It requires a loopback name in the Host header, so that a page
	// elsewhere cannot reach a developer's relay through a name that resolves
	// to loopback.
	Embedded bool
	Proxies  Proxies
}

// NewOrigins returns the rules that c describes.
func NewOrigins(c OriginsConfig) (*Origins, error) {
	listed, err := origin.ParseList(c.Allowed)
	if err != nil {
		return nil, fmt.Errorf("the list of allowed origins %w", err)
	}
	return &Origins{listed: listed, embedded: c.Embedded, proxies: c.Proxies}, nil
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
		return ErrOrigin
	}
	return o.checkPage(headers[0], r)
}

// checkPage checks an Origin header.
func (o *Origins) checkPage(header string, r *http.Request) error {
	if o.listed.Any() || o.embedded && header == "null" {
		return nil
	}
	page, ok := origin.Parse(header)
	switch {
	case !ok:
		return ErrOrigin
	case o.embedded && loopback.PageHost(page.Host), !o.listed.Empty() && o.listed.Contains(page):
		return nil
	case o.embedded, !o.listed.Empty(), page.Host != hostName(o.proxies.Host(r)):
		return ErrOrigin
	case page.Scheme == "http" && o.proxies.TLS(r):
		return ErrScheme
	case page.Scheme != "https" && o.proxies.TLS(r):
		return ErrOrigin
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
