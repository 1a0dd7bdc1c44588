package through

import "strings"

// A fix is a mistake in the configuration of a proxy, with the lines that correct
// it.
type fix struct{ nginx, haproxy, apache, caddy string }

// The fixes. PATH stands for the path of the URL, and BASE for its beginning
// before /ws.
var (
	fixUpgrade = fix{
		nginx:   `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";`,
		haproxy: `mode http, without "http-request del-header" for Upgrade or Connection, and without "proto h2" at the server`,
		apache:  `ProxyPass "PATH" "http://127.0.0.1:8080PATH" upgrade=websocket`,
		caddy:   `reverse_proxy 127.0.0.1:8080, without header_up for Upgrade or Connection, and without "versions" for HTTP/2`,
	}
	fixRoute = fix{
		nginx:   `location ~ ^BASE/(ws|sse|sidecast[a-z-]*\.m?js)$ { proxy_pass http://127.0.0.1:8080; ... }`,
		haproxy: `use_backend relays if { path_beg BASE/ws BASE/sse BASE/sidecast }`,
		apache:  `ProxyPass "BASE/ws" "http://127.0.0.1:8080BASE/ws" upgrade=websocket, and "BASE/sse" without it, before ProxyPass "/"`,
		caddy:   `reverse_proxy @sidecast 127.0.0.1:8080, with @sidecast path BASE/ws BASE/sse BASE/sidecast*`,
	}
	fixRouteApp = fix{
		nginx:   `location ~ ^BASE/(app/.*|ws|sse|sidecast[a-z-]*\.m?js)$ { proxy_pass http://127.0.0.1:8080; ... }`,
		haproxy: `use_backend relays if { path_beg BASE/app/ BASE/ws BASE/sse BASE/sidecast }`,
		apache:  `ProxyPass "BASE/app/" "http://127.0.0.1:8080BASE/app/" upgrade=websocket, before ProxyPass "/"`,
		caddy:   `reverse_proxy @sidecast 127.0.0.1:8080, with @sidecast path BASE/app/* BASE/ws BASE/sse BASE/sidecast*`,
	}
	fixPath = fix{
		nginx:   `proxy_pass http://127.0.0.1:8080; without a path or slash after the port, and without rewrite`,
		haproxy: `no http-request set-path, replace-path or set-uri`,
		apache:  `the same path twice: ProxyPass "PATH" "http://127.0.0.1:8080PATH" upgrade=websocket`,
		caddy:   `handle in place of handle_path, and no rewrite or uri strip_prefix`,
	}
	fixHost = fix{
		nginx:   `proxy_set_header Host $host;`,
		haproxy: `no "http-request set-header Host"`,
		apache:  `ProxyPreserveHost On`,
		caddy:   `no "header_up Host"`,
	}
	fixOrigin = fix{
		nginx:   `no "proxy_set_header Origin"`,
		haproxy: `no "http-request set-header Origin" or "add-header Origin"`,
		apache:  `no "RequestHeader set Origin" or "add Origin"`,
		caddy:   `no "header_up Origin"`,
	}
	fixHandshake = fix{
		nginx:   `no "proxy_set_header Sec-WebSocket-..." and no "proxy_hide_header Sec-WebSocket-..."`,
		haproxy: `no "http-request del-header Sec-WebSocket-..." and no "http-response del-header Sec-WebSocket-..."`,
		apache:  `no "RequestHeader unset Sec-WebSocket-..." and no "Header unset Sec-WebSocket-..."`,
		caddy:   `no "header_up -Sec-WebSocket-..." and no "header_down -Sec-WebSocket-..."`,
	}
	fixQuery = fix{
		nginx:   `proxy_pass http://127.0.0.1:8080; without variables, or with $is_args$args after them`,
		haproxy: `no http-request set-query or set-uri`,
		apache:  `ProxyPass, or RewriteRule without a ? in its target`,
		caddy:   `no rewrite with a ? at its end, or with ?{query}; no "uri query"`,
	}
	fixBuffer = fix{
		nginx:   `proxy_buffering off; or no proxy_ignore_headers X-Accel-Buffering;`,
		haproxy: `no "http-response wait-for-body"`,
		apache:  `ProxyPass "BASE/sse" "http://127.0.0.1:8080BASE/sse" flushpackets=on, and no output filter that waits for more`,
		caddy:   `no response_buffers and no buffer_responses in reverse_proxy`,
	}
	fixTimeout = fix{
		nginx:   `proxy_read_timeout 1h; proxy_send_timeout 1h;`,
		haproxy: `timeout tunnel 1h for WebSocket; timeout client and timeout server of more than SIDECAST_PING_INTERVAL for /sse`,
		apache:  `ProxyPass "PATH" "http://127.0.0.1:8080PATH" upgrade=websocket timeout=3600`,
		caddy:   `no stream_timeout, read_timeout or write_timeout`,
	}
	fixCertificate = fix{
		nginx:   `ssl_certificate /path/fullchain.pem; with this server_name`,
		haproxy: `bind :443 ssl crt /path/site.pem, a file with the certificate, the intermediate ones and the key`,
		apache:  `SSLCertificateFile /path/fullchain.pem, in the VirtualHost with this ServerName`,
		caddy:   `the name of the site as the site's address: Caddy then gets a certificate for it`,
	}
)

// route returns the lines that send the path of the URL to the relay.
func (c *check) route() string {
	if c.dialect() == pusher {
		return c.fix(fixRouteApp)
	}
	return c.fix(fixRoute)
}

// fix returns lines for the proxy that has answered, or if it is not known for
// all.
func (c *check) fix(f fix) string {
	all := []struct{ name, line string }{{"nginx", f.nginx}, {"HAProxy", f.haproxy}, {"Apache", f.apache}, {"Caddy", f.caddy}}
	replace := strings.NewReplacer("PATH", c.ownPath(), "BASE", c.base())
	var lines []string
	for _, proxy := range all {
		line := proxy.name + ": " + replace.Replace(proxy.line)
		if strings.Contains(c.server, strings.ToLower(proxy.name)) {
			return line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
