package through

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"sidecast/relay/source"
)

// foreign is the origin of no page.
const foreign = "https://sidecast-check.invalid"

// checkForeign finds out whether pages of other sites can connect. A proxy that
// removes Origin, or replaces it, also ends the relay's protection against them.
func (c *check) checkForeign(ctx context.Context) {
	other := *c
	other.Origin, other.Token, other.Cookie = foreign, "", ""
	s, _, err := other.handshake(ctx, c.dialect().subprotocol, "")
	if s == nil || err != nil {
		return
	}
	s.close()
	c.report(ctx, source.Finding{
		Level: source.LevelWarn, Subject: "origin",
		Text: "pages of every other site can connect, with the cookies of your users: a proxy removes or replaces the Origin header, " +
			"or SIDECAST_ALLOWED_ORIGINS has *",
		Do: "unless all channels are public, list your origins in SIDECAST_ALLOWED_ORIGINS, and let the proxy pass Origin:\n" + c.fix(fixOrigin),
	})
}

// checkMixed reports a page over TLS whose WebSocket is not encrypted.
func (c *check) checkMixed(ctx context.Context) {
	host := c.URL.Hostname()
	ip := net.ParseIP(host)
	if c.URL.Scheme == "wss" || !strings.HasPrefix(c.Origin, "https:") || host == "localhost" || ip != nil && ip.IsLoopback() {
		return
	}
	secure := url.URL{Scheme: "wss", Host: c.URL.Host, Path: c.URL.Path}
	c.report(ctx, source.Finding{
		Level: source.LevelFail, Subject: "URL",
		Text: fmt.Sprintf("browsers do not let a page of %s use a WebSocket that is not encrypted", c.Origin),
		Do:   "let the page connect to " + secure.String() + ", and the proxy accept TLS there",
	})
}
