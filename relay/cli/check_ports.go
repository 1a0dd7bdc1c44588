package cli

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/source"
)

// checkPorts finds out whether other programs use the addresses on which a
// relay with these settings listens. A relay that already runs may use them.
func checkPorts(ctx context.Context, cfg *config.Config) (findings []source.Finding) {
	scheme := "http://"
	if cfg.TLSCert != "" {
		scheme = "https://"
	}
	findings = append(findings, checkPort(ctx, "LISTEN", string(cfg.Listen), scheme, string(cfg.BasePath)+"/livez"))
	if !cfg.IsEmbedded() || cfg.IsSet("ADMIN_LISTEN") { // otherwise the relay takes another port
		findings = append(findings, checkPort(ctx, "ADMIN_LISTEN", string(cfg.AdminListen), "http://", "/livez"))
	}
	return findings
}

// checkPort asks for path at an address. Every relay answers there, even if it
// is not ready.
func checkPort(ctx context.Context, name, listen, scheme, path string) source.Finding {
	f := source.Finding{Subject: config.Prefix + name, Text: "nothing listens on " + listen + " on this machine"}
	if _, port, err := net.SplitHostPort(listen); err != nil || strings.Trim(port, "0") == "" {
		f.Text = "any free port"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addr := app.Reachable(listen)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return f
	}
	conn.Close()
	if isSidecast(ctx, scheme+addr+path) {
		f.Text = "a relay answers on " + listen
		return f
	}
	f.Level, f.Text = source.LevelFail, "a program that does not answer like Sidecast listens on "+addr
	f.Do = "stop that program, or set SIDECAST_" + name + " to another address"
	return f
}

// isSidecast reports whether the probe of a relay answers at url. The
// certificate is not verified, because nothing is sent.
func isSidecast(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return err == nil && string(body) == "ok\n" && response.Header.Get("Cache-Control") == "no-store"
}
