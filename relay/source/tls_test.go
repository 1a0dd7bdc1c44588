package source_test

import (
	"bytes"
	"testing"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// TestTLSCarriesNoPlaintext checks every byte of a rediss:// link and of its
// commands.
func TestTLSCarriesNoPlaintext(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server, ca := redistest.StartTLS(t)
		proxy := faultproxy.Start(t, server.Addr)
		proxy.Record(faultproxy.ToServer)
		proxy.Record(faultproxy.ToClient)
		l := startLive(t, proxy.Addr, []string{"plain:*"}, useProtocol, useTLS(t, proxy.Addr, ca))
		if _, err := l.Link.Publish(t.Context(), "plain:text", []byte("readable")); err != nil {
			t.Fatal(err)
		}
		l.awaitEvent(t, "plain:text=readable", 1)
		for _, direction := range faultproxy.Both {
			wire := bytes.ToLower(proxy.Recorded(direction))
			for _, word := range []string{"plain:", "readable", "psubscribe", "pmessage", "publish", "hello", "sidecast"} {
				if bytes.Contains(wire, []byte(word)) {
					t.Errorf("%q crossed the wire", word)
				}
			}
		}
		proxy.Reset()
		l.awaitEvent(t, "online", 2)
	})
}

// useTLS makes a link use rediss:// and trust the CA.
func useTLS(t testing.TB, addr string, ca []byte) func(*source.Config) {
	t.Helper()
	return func(c *source.Config) {
		protocol := c.Server.Protocol
		server, err := source.ParseURL("rediss://"+addr, source.Standalone)
		if err == nil {
			err = server.TrustCA(ca)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Server = server
		c.Server.Protocol = protocol
	}
}

func TestTLSErrorsAreExplained(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server, ca := redistest.StartTLS(t)
		_, otherCA := redistest.StartTLS(t)
		plain := redistest.Start(t)
		namedCA, cert, key := redistest.Certificates(t)
		named, _ := redistest.StartTLS(t, "--tls-cert-file", redistest.WriteFile(t, "cert.pem", cert),
			"--tls-key-file", redistest.WriteFile(t, "key.pem", key), "--tls-ca-cert-file", redistest.WriteFile(t, "ca.pem", namedCA))
		tests := []struct {
			why, addr string
			change    func(*source.Config)
			want      string
		}{
			{"another CA", server.Addr, useTLS(t, server.Addr, otherCA), "set SIDECAST_REDIS_CA"},
			{"TLS to a plain port", plain.Addr, useTLS(t, plain.Addr, ca), "use a redis:// URL"},
			{"plain to a TLS port", server.Addr, func(*source.Config) {}, "use a rediss:// URL"},
			{"another host", server.Addr, func(c *source.Config) {
				useTLS(t, server.Addr, ca)(c)
				c.Server.TLS.ServerName = "redis.example.com"
			}, "use the host in SIDECAST_REDIS_URL that the certificate names"},
			{"a common name only", named.Addr, useTLS(t, named.Addr, namedCA), "with a subjectAltName for the host"},
		}
		for _, test := range tests {
			t.Run(test.why, func(t *testing.T) {
				l := startLink(t, test.addr, []string{"*"}, useProtocol, test.change)
				l.awaitLog(t, test.want)
			})
		}
	})
}
