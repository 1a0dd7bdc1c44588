package auth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/webserver"
)

// webServers are those for which the README has a configuration.
var webServers = []struct {
	webserver.Server
	language string // of the code in the README
}{{webserver.Nginx, "nginx"}, {webserver.Apache, "apache"}, {webserver.Caddy, "caddyfile"}}

// recipe returns the configuration in the README, for a relay at the given
// address.
func recipe(t *testing.T, language, relay string) string {
	t.Helper()
	code := readmePart(t, "\n```"+language+"\n", "```\n")
	if !strings.Contains(code, "127.0.0.1:8080") {
		t.Fatalf("the recipe does not contain the relay's address:\n%s", code)
	}
	return strings.ReplaceAll(code, "127.0.0.1:8080", relay)
}

// TestRecipes runs a relay after each web server of the README. A page of the
// same host can connect and receive messages, a page of another host cannot,
// and the relay limits and logs the real address of a client, also if the
// client sends a forged header.
func TestRecipes(t *testing.T) {
	for _, w := range webServers {
		t.Run(w.Program, func(t *testing.T) {
			s := newSetup(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECTIONS_PER_IP=1")
			listen := w.Start(t, recipe(t, w.language, s.relay.Addr()))

			client, status := connectFrom(t, "127.0.0.2", listen)
			if _, again := connectFrom(t, "127.0.0.2", listen); status != http.StatusSwitchingProtocols || again != http.StatusTooManyRequests {
				t.Errorf("first connection of an address: %d; second, which exceeds the limit: %d", status, again)
			}
			client.Close()
			if remote := relaytest.LogField(s.relay.AwaitMessage("connection closed"), "remote"); remote != "127.0.0.2" {
				t.Errorf("the relay logs the client as %q, want 127.0.0.2", remote)
			}

			dialer := func(origin string) *relaytest.Dialer {
				return &relaytest.Dialer{URL: "ws://" + listen + "/ws", Protocol: relaytest.Raw, Channels: []string{"public:1"},
					Header: http.Header{"Origin": {origin}}}
			}
			_, err := dialer("http://evil.example").Dial(t.Context())
			if failed, ok := errors.AsType[*relaytest.HandshakeError](err); !ok || failed.Status != http.StatusForbidden {
				t.Errorf("a page of another host: %v", err)
			}
			c, err := dialer("http://" + listen).Dial(t.Context())
			if err != nil {
				t.Fatalf("a page of the same host: %v", err)
			}
			t.Cleanup(c.Drop)
			s.redis.CLI("PUBLISH", "public:1", "through "+w.Program)
			if e := s.await(c, "a message", relaytest.Is(relaytest.KindMessage)); e.Data != "through "+w.Program {
				t.Errorf("received %q", e.Data)
			}
			s.streamThrough(t, listen)
			for _, name := range []string{"sidecast.js", "sidecast.mjs", "sidecast-sse.mjs"} {
				if got, want := download(t, listen, name), download(t, s.relay.Addr(), name); got != want {
					t.Errorf("%s is\n%.100s\nwant\n%.100s", name, got, want)
				}
			}
		})
	}
}

// download returns one of the files of the JavaScript client.
func download(t *testing.T, addr, name string) string {
	t.Helper()
	response, err := http.Get("http://" + addr + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s from %s: %s, %v", name, addr, response.Status, err)
	}
	return string(body)
}

// streamThrough checks that each event of a stream arrives before the next one
// is published: the web server does not wait for more.
func (s *setup) streamThrough(t *testing.T, listen string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/sse?channel=public:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", "http://"+listen)
	// The limit of connections allows one for each address.
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.3")}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Access-Control-Allow-Origin"); response.StatusCode != http.StatusOK || got != "http://"+listen {
		t.Fatalf("a stream: %s, allowed origin %q", response.Status, got)
	}
	lines := bufio.NewScanner(response.Body)
	for n := range 5 {
		want := fmt.Sprintf("data: event %d", n)
		s.redis.CLI("PUBLISH", "public:1", strings.TrimPrefix(want, "data: "))
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		}
		if lines.Text() != want {
			t.Fatalf("received %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
	}
}

// connectFrom does the handshake from a local address, with a forged
// X-Forwarded-For.
func connectFrom(t *testing.T, local, addr string) (net.Conn, int) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /ws?channel=public:1 HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 198.51.100.7\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the handshake: %v", err)
	}
	return conn, response.StatusCode
}
