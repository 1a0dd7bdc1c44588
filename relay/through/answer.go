package through

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"sidecast/relay/source"
)

// Parts of answers of the relay. A proxy passes them on.
const (
	saysUpgrade     = "a proxy must pass them on"
	saysNoHandshake = "this URL accepts only WebSocket connections"
	saysKey         = "Sec-WebSocket-Key must be"
	saysVersion     = "only WebSocket version 13 is supported"
	saysProtocol    = "the offered subprotocols are not supported"
	saysNoPage      = "no page at this path; "
	saysPath        = saysNoPage + "clients connect to "
	saysOthers      = "together with the origins of all your other pages" // only pages of the relay's host are allowed
	saysPusher      = "the Pusher protocol"
	saysLimit       = "too many connections"
)

// refused explains an answer to a handshake other than 101.
func (c *check) refused(a *answer) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: "WebSocket"}
	f.Text, f.Do = c.ofRelay(a)
	if f.Text == "" {
		f.Text, f.Do = c.ofProxy(a)
	}
	return f
}

// ofRelay explains an answer of the relay. text is empty for any other answer.
func (c *check) ofRelay(a *answer) (text, do string) {
	body := short(strings.TrimSpace(a.body))
	relay := fmt.Sprintf("the relay answers %d: %s", a.StatusCode, body)
	switch {
	case a.StatusCode == http.StatusUpgradeRequired && strings.Contains(a.body, saysUpgrade),
		a.StatusCode == http.StatusUpgradeRequired && strings.Contains(a.body, saysNoHandshake):
		return relay, "let the proxy pass these headers on:\n" + c.fix(fixUpgrade)
	case strings.Contains(a.body, saysKey), strings.Contains(a.body, saysVersion), strings.Contains(a.body, saysProtocol):
		return relay, "let the proxy pass the headers of the handshake unchanged:\n" + c.fix(fixHandshake)
	case a.StatusCode == http.StatusNotFound && strings.Contains(a.body, saysNoPage):
		return c.wrongPath(a.body)
	case a.StatusCode == http.StatusNotFound && strings.Contains(a.body, saysPusher):
		return relay, "see the answer of the relay"
	case a.StatusCode == http.StatusForbidden:
		return c.wrongOrigin(a.body)
	case strings.Contains(a.body, saysLimit) && (a.StatusCode == http.StatusTooManyRequests || a.StatusCode == http.StatusServiceUnavailable):
		return relay, "try again later; behind a proxy, set SIDECAST_TRUSTED_PROXIES to its address, so that the relay counts each client by itself"
	}
	return "", ""
}

// wrongPath explains the relay's answer to a path that it does not serve, which
// names the right one unless the relay has a demo page.
func (c *check) wrongPath(body string) (text, do string) {
	_, right, named := strings.Cut(body, saysPath)
	right, _, _ = strings.Cut(right, " ")
	switch right = short(strings.TrimSpace(right)); {
	case !named:
		return fmt.Sprintf("the relay does not serve %s", c.URL.Path),
			"connect to /ws, with the relay's SIDECAST_BASE_PATH before it, and let the proxy pass the path unchanged:\n" + c.fix(fixPath)
	case right == c.URL.Path:
		return fmt.Sprintf("the relay serves %s, but receives another path: a proxy changes it", right),
			"let the proxy pass the path unchanged:\n" + c.fix(fixPath)
	}
	return fmt.Sprintf("the relay does not serve %s, but %s", c.URL.Path, right),
		fmt.Sprintf("connect to %s, or set SIDECAST_BASE_PATH=%s, or let the proxy change the path", right, c.base())
}

// wrongOrigin explains the relay's refusal of the page's origin. text is empty
// for any other answer.
func (c *check) wrongOrigin(body string) (text, do string) {
	body = strings.TrimSpace(body)
	page, err := url.Parse(c.Origin)
	sameHost := err == nil && strings.EqualFold(page.Hostname(), c.URL.Hostname())
	says := func(text string) bool { return strings.Contains(body, text) }
	text = "the relay refuses a page of " + c.Origin
	switch {
	case says("the Host header does not name"), says("X-Forwarded-Host names"), says("different names of this machine") && sameHost,
		says(saysOthers) && sameHost:
		return text + ", because a proxy replaces the Host header", "let the proxy pass Host:\n" + c.fix(fixHost)
	case says("the Origin header is not one origin"):
		return text + ", because a proxy changes the Origin header", "let the proxy pass Origin unchanged:\n" + c.fix(fixOrigin)
	case says("may not connect"):
		return text, "add it to SIDECAST_ALLOWED_ORIGINS, or name the page's origin with --origin, if it is another one"
	case says("this page"), says("the page and the WebSocket"), says("the development relay"):
		return text + ": " + short(body), "name another page with --origin, or change the relay's settings"
	}
	return "", ""
}

var (
	title    = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	password = regexp.MustCompile(`(?i)type=["']?password`)
)

// ofProxy explains an answer that is not the relay's: the proxy's, or that of the
// application after it.
func (c *check) ofProxy(a *answer) (text, do string) {
	route := "let the proxy send this path to the relay:\n" + c.route()
	switch status := a.StatusCode; {
	case status >= 300 && status < 400:
		return c.redirected(a)
	case status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("%s asks for a login of its own (%d), which pages cannot send with a WebSocket", c.who(a), status),
			"let the proxy except this path from its login; the relay has its own"
	case status == http.StatusForbidden:
		return fmt.Sprintf("%s refuses the request (403) before the relay sees it", c.who(a)),
			"allow the path and WebSocket in the proxy or its firewall rules"
	case status == http.StatusNotFound:
		return fmt.Sprintf("%s answers 404: the path does not lead to the relay", c.who(a)), route
	case status == http.StatusBadRequest && strings.Contains(a.body, "HTTPS"):
		return "the server requires TLS on this port", "write wss:// in the URL"
	case status >= 502 && status <= 504:
		return fmt.Sprintf("%s answers %d: it cannot reach the relay", c.who(a), status),
			"start the relay, and compare its SIDECAST_LISTEN with the address in the proxy:\n" + c.route()
	case password.MatchString(a.body):
		return fmt.Sprintf("%s answers %d with a login page%s", c.who(a), status, titled(a.body)), "let the login except this path; " + route
	case strings.Contains(a.Header.Get("Content-Type"), "text/html"):
		return fmt.Sprintf("%s answers %d with a page%s: the path does not lead to the relay", c.who(a), status, titled(a.body)), route
	}
	return fmt.Sprintf("%s answers %d %s", c.who(a), a.StatusCode, http.StatusText(a.StatusCode)), route
}

// redirected explains a redirect, which a browser does not follow in a handshake.
func (c *check) redirected(a *answer) (text, do string) {
	to, err := a.Location()
	where := "another URL"
	if err == nil {
		to.RawQuery, to.Fragment, to.User = "", "", nil // it may contain secrets
		where = short(to.String())
	}
	text = fmt.Sprintf("%s redirects to %s (%d), and browsers do not follow that in a handshake", c.who(a), where, a.StatusCode)
	switch from := c.http(); {
	case err != nil:
	case to.Host == from.Hostname() || to.Host == from.Host:
		if to.Path == from.Path && from.Scheme == "http" && to.Scheme == "https" {
			return text, "write wss:// in the URL, in the page as well"
		}
		if strings.TrimRight(to.Path, "/") == strings.TrimRight(from.Path, "/") {
			return text, "write this path in the URL, or remove the rule that adds or removes the slash"
		}
	case to.Path == from.Path:
		return text, fmt.Sprintf("write this host in the URL, in the page as well: %s", short(to.Host))
	}
	return text, "let the login or the rule that redirects except this path, and send it to the relay:\n" + c.route()
}

// who names the server that has answered, if it does so.
func (c *check) who(a *answer) string {
	if server := a.Header.Get("Server"); server != "" {
		return short(server)
	}
	return "a proxy"
}

// titled returns the title of a page as a part of a sentence.
func titled(body string) string {
	found := title.FindStringSubmatch(body)
	if found == nil {
		return ""
	}
	return fmt.Sprintf(" titled %q", short(strings.Join(strings.Fields(html.UnescapeString(found[1])), " ")))
}
