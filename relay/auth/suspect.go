package auth

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"sidecast/relay/loopback"
	"sidecast/relay/origin"
)

// Reasons that replace [ErrFirstOrigin] where the request shows a more probable
// cause than a page that was forgotten in the list.
var (
	ErrLoopbackNames = errors.New("the page and the WebSocket have different names of this machine in their URLs: " +
		"write localhost in both, or 127.0.0.1 in both; or list all origins of your pages in SIDECAST_ALLOWED_ORIGINS")
	ErrProxyHost = errors.New("the Host header does not name the page's host; a proxy probably replaces it: " +
		"let it pass Host (in nginx: proxy_set_header Host $host); " +
		"if the page is on another host, list all origins of your pages in SIDECAST_ALLOWED_ORIGINS")
	ErrProxyUntrusted = errors.New("X-Forwarded-Host names the page's host, but the proxy that sends it is not trusted: " +
		"add the proxy's address to SIDECAST_TRUSTED_PROXIES, or let it pass Host")
)

// Explain returns a more specific reason than err if err is [ErrFirstOrigin] and
// the request shows one: by default, pages of the host in the Host header are
// allowed, so a wrong Host header looks like a foreign page.
func (o *Origins) Explain(r *http.Request, err error) error {
	if err != ErrFirstOrigin {
		return err
	}
	page, ok := origin.Parse(r.Header.Get("Origin"))
	if !ok {
		return err
	}
	host := hostName(o.proxies.Host(r))
	switch {
	case page.Host == host:
		return err // the scheme is wrong
	case loopback.PageHost(page.Host) && loopback.PageHost(host):
		return ErrLoopbackNames
	case hostName(r.Header.Get("X-Forwarded-Host")) == page.Host:
		return ErrProxyUntrusted
	case isInternal(host) && !isInternal(page.Host):
		return ErrProxyHost
	}
	return err
}

// isInternal reports whether a host is one that a proxy connects to rather than
// one that users open: an address, or a name without a public domain.
func isInternal(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	for _, suffix := range []string{".local", ".internal", ".svc", ".localhost"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}
