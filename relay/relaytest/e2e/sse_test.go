package e2e_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// httpVersion returns a client that speaks one version of HTTP, and ca is the
// certificate that it trusts, or nil.
func httpVersion(t testing.TB, version string, ca []byte) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == "HTTP/1.1")
	protocols.SetHTTP2(version == "HTTP/2")
	protocols.SetUnencryptedHTTP2(version == "h2c")
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	if ca != nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// An eventStream is a client of /sse.
type eventStream struct {
	t      testing.TB
	body   io.ReadCloser
	blocks *bufio.Scanner
	lastID string
}

// openStream requests a stream, and waits until it has begun.
func openStream(t testing.TB, client *http.Client, url string, header ...string) *eventStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("%s: %s %s", url, response.Status, body)
	}
	s := &eventStream{t: t, body: response.Body, blocks: bufio.NewScanner(response.Body)}
	s.blocks.Buffer(nil, 64<<20)
	s.blocks.Split(splitBlocks)
	for s.lastID == "" {
		s.next()
	}
	return s
}

// splitBlocks splits a stream at its empty lines.
func splitBlocks(data []byte, atEnd bool) (n int, block []byte, err error) {
	if i := strings.Index(string(data), "\n\n"); i >= 0 {
		return i + 2, data[:i], nil
	}
	if atEnd && len(data) > 0 {
		return 0, nil, fmt.Errorf("the stream ends in the block %q", data)
	}
	return 0, nil, nil
}

// next returns the next block, or "" at the end.
func (s *eventStream) next() string {
	if !s.blocks.Scan() {
		return ""
	}
	for line := range strings.SplitSeq(s.blocks.Text(), "\n") {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			s.lastID = id
		}
	}
	return s.blocks.Text()
}

// want reads until a block contains text, which is not heartbeats or ids.
func (s *eventStream) want(text string) {
	s.t.Helper()
	for {
		block := s.next()
		if block == "" {
			s.t.Fatalf("the stream ends (%v), want %q", s.blocks.Err(), text)
		}
		if strings.Contains(block, "data: ") {
			if !strings.Contains(block, text) {
				s.t.Fatalf("block %.200q, want %q", block, text)
			}
			return
		}
	}
}

// TestCurl checks that curl shows each event when it is published, and that a
// drain ends its output.
func TestCurl(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "curl", "curl")
	server := redistest.Start(t)
	for _, version := range []string{"--http1.0", "--http1.1", "--http2-prior-knowledge"} {
		t.Run(version, func(t *testing.T) {
			relay := startRelay(t, server, map[string]string{"SIDECAST_DRAIN_DELAY": "0s"})
			curl := exec.CommandContext(t.Context(), "curl", "-sNS", version, "http://"+relay.Addr()+"/sse?channel=a")
			out, err := curl.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := curl.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			expect := func(prefix string) {
				t.Helper()
				for lines.Scan() {
					if strings.HasPrefix(lines.Text(), prefix) {
						return
					}
				}
				t.Fatalf("curl ended, want %q", prefix)
			}
			expect("id: ")
			for n := range 5 {
				server.CLI("PUBLISH", "a", fmt.Sprint("event ", n))
				expect(fmt.Sprint("data: event ", n))
			}
			terminate(relay)
			expect("event: close")
			expect(`data: {"code":1012,`)
			_, _ = io.Copy(io.Discard, out)
			if err := curl.Wait(); err != nil {
				t.Errorf("curl: %v", err)
			}
			if code := relay.Wait(); code != 0 {
				t.Errorf("the relay exited with %d", code)
			}
		})
	}
}

// TestStreamsOverHTTP2 checks that a connection serves many streams, with TLS
// and without: each receives everything, and each counts as a client. They
// resume after a restart of the relay.
func TestStreamsOverHTTP2(t *testing.T) {
	t.Parallel()
	const streams = 100
	ca, cert, key := redistest.Certificates(t, "127.0.0.1")
	certFile, keyFile := redistest.WriteFile(t, "cert.pem", cert), redistest.WriteFile(t, "key.pem", key)
	for _, version := range []string{"HTTP/2", "h2c"} {
		t.Run(version, func(t *testing.T) {
			server := redistest.Start(t)
			settings := map[string]string{"SIDECAST_DRAIN_DELAY": "0s", "SIDECAST_DRAIN_TIMEOUT": "1s", "SIDECAST_LISTEN": redistest.FreeAddr(t)}
			client, scheme := httpVersion(t, version, nil), "http"
			if version == "HTTP/2" {
				settings["SIDECAST_TLS_CERT"], settings["SIDECAST_TLS_KEY"] = certFile, keyFile
				client, scheme = httpVersion(t, version, ca), "https"
			}
			relay := relaytest.Start(t, openSettings(server, settings))
			relay.AwaitStatus("http://"+relay.AdminAddr()+"/readyz", http.StatusOK)
			url := func(i int) string { return fmt.Sprintf("%s://%s/sse?channel=a&channel=b:%d", scheme, relay.Addr(), i) }
			var list []*eventStream
			for i := range streams {
				list = append(list, openStream(t, client, url(i)))
			}
			const series = `sidecast_connections{protocol="sse_json",transport="sse"}`
			if n := metric(t, relay, series); n != streams {
				t.Errorf("%v clients are counted, want %d", n, streams)
			}
			if n := metric(t, relay, "sidecast_sockets"); n != streams {
				t.Errorf("%v connections are counted, want %d", n, streams)
			}
			for n := range 20 {
				server.CLI("PUBLISH", "a", fmt.Sprint("event ", n))
			}
			var reading sync.WaitGroup
			for _, s := range list {
				reading.Go(func() {
					for n := range 20 {
						s.want(fmt.Sprint("event ", n))
					}
				})
			}
			reading.Wait()
			terminate(relay)
			for _, s := range list {
				s.want(`{"code":1012,`)
				if block := s.next(); block != "" {
					t.Errorf("after the end: %q", block)
				}
			}
			if code := relay.Wait(); code != 0 {
				t.Errorf("the relay exited with %d", code)
			}
		})
	}
}

// TestSlowStreams checks that clients that do not read are evicted, over each
// version of HTTP, and that the others receive everything meanwhile.
func TestSlowStreams(t *testing.T) {
	t.Parallel()
	const slow, size = 10, 1 << 20
	for _, version := range []string{"HTTP/1.1", "h2c"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			relay := startRelay(t, server, map[string]string{"SIDECAST_OUTBOX_BYTES": "4MiB"})
			url := "http://" + relay.Addr() + "/sse?channel=a"
			for range slow {
				openStream(t, httpVersion(t, version, nil), url)
			}
			fast := openStream(t, httpVersion(t, version, nil), url)
			publish := publishTo(t, server)
			for n := range 30 {
				payload := fmt.Sprintf("%d %s", n, strings.Repeat("x", size-10))
				if _, err := publish(t.Context(), "a", []byte(payload)); err != nil {
					t.Fatal(err)
				}
				fast.want("data: " + payload)
			}
			awaitMetric(t, relay, `sidecast_connections_closed_total{code="4408"}`, func(n float64) bool { return n == slow })
			awaitMetric(t, relay, `sidecast_connections{protocol="sse",transport="sse"}`, func(n float64) bool { return n == 1 })
			server.CLI("PUBLISH", "a", "end")
			fast.want("data: end")
		})
	}
}

// TestStreamRights checks who may read a stream, in the whole relay: pages of
// allowed origins, and users with a token, which no log shows.
func TestStreamRights(t *testing.T) {
	t.Parallel()
	const page, foreign = "https://app.example", "https://evil.example"
	secret := strings.Repeat("s", 32)
	settings := openSettings(redistest.Start(t), map[string]string{
		"SIDECAST_ALLOWED_ORIGINS": page, "SIDECAST_JWT_SECRET": secret, "SIDECAST_PUBLIC_CHANNELS": "public", "SIDECAST_BASE_PATH": "/live",
	})
	relay := relaytest.Start(t, settings)
	relay.AwaitStatus("http://"+relay.Addr()+"/readyz", http.StatusOK)
	token, code := sidecast(t, settings, "token", "--user", "42", "--channel", "mine")
	token = strings.TrimSpace(token)
	if code != 0 {
		t.Fatalf("making a token: %s", token)
	}
	for _, tt := range []struct {
		why, method, path, origin, authorization string
		status                                   int
	}{
		{"not a browser", "GET", "/live/sse?channel=public", "", "", 200},
		{"an allowed page", "GET", "/live/sse?channel=public", page, "", 200},
		{"another page", "GET", "/live/sse?channel=public", foreign, "", 403},
		{"a preflight of an allowed page", "OPTIONS", "/live/sse?channel=public", page, "", 204},
		{"a preflight of another page", "OPTIONS", "/live/sse?channel=public", foreign, "", 403},
		{"no token", "GET", "/live/sse?channel=mine", page, "", 401},
		{"a token in the URL", "GET", "/live/sse?channel=mine&token=" + token, page, "", 200},
		{"a token in the header", "GET", "/live/sse?channel=mine", page, "Bearer " + token, 200},
		{"an invalid token", "GET", "/live/sse?channel=public&token=x" + token, page, "", 401},
		{"a channel that the token does not open", "GET", "/live/sse?channel=other&token=" + token, page, "", 403},
		{"a path without the base path", "GET", "/sse?channel=public", page, "", 404},
	} {
		request, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+relay.Addr()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Origin": tt.origin, "Authorization": tt.authorization} {
			if value != "" {
				request.Header.Set(name, value)
			}
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		allowed := response.Header.Get("Access-Control-Allow-Origin")
		if response.StatusCode != tt.status || (allowed == page) != (tt.origin == page && tt.status != 404) || allowed == foreign {
			t.Errorf("%s: %s, allowed origin %q", tt.why, response.Status, allowed)
		}
	}
	if strings.Contains(relay.Log(), token) {
		t.Error("the log contains the token")
	}
}
