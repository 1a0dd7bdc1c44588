package auth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// A webServer is a web server for which the README has a configuration.
type webServer struct {
	program, debianPackage, language string
	// config returns the name and the text of a complete configuration file
	// that contains the recipe.
	config func(dir, listen, recipe string) (name, text string)
	args   func(file string) []string
}

var webServers = []webServer{
	{
		"nginx", "nginx-light", "nginx",
		func(dir, listen, recipe string) (string, string) {
			return "nginx.conf", fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;\nevents {}\n"+
				"http {\naccess_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; "+
				"uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\nserver {\nlisten %[2]s;\n%[3]s}\n}\n", dir, listen, recipe)
		},
		func(file string) []string { return []string{"-c", file, "-e", "stderr"} },
	},
	{
		"apache2", "apache2", "apache",
		func(dir, listen, recipe string) (string, string) {
			var modules strings.Builder
			for _, name := range []string{"mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel"} {
				fmt.Fprintf(&modules, "LoadModule %s_module /usr/lib/apache2/modules/mod_%[1]s.so\n", name)
			}
			return "apache.conf", modules.String() + fmt.Sprintf("ServerRoot %[1]s\nPidFile %[1]s/pid\nErrorLog %[1]s/error.log\n"+
				"DefaultRuntimeDir %[1]s\nServerName localhost\nUser nobody\nGroup nogroup\nListen %[2]s\n%[3]s", dir, listen, recipe)
		},
		func(file string) []string { return []string{"-X", "-f", file} },
	},
	{
		"caddy", "caddy", "caddyfile",
		func(_, listen, recipe string) (string, string) {
			// The host name would need a certificate, and the last line a PHP
			// server.
			return "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n" + strings.NewReplacer("app.example.com", "http://"+listen,
				"    php_fastcgi unix//run/php/php-fpm.sock\n", "").Replace(recipe)
		},
		func(file string) []string { return []string{"run", "--config", file, "--adapter", "caddyfile"} },
	},
}

// start runs the web server with the configuration in the README, in front of
// the relay at the given address. It returns its own address.
func (w webServer) start(t *testing.T, relay string) string {
	t.Helper()
	// Debian installs servers in a directory that is not in every user's PATH.
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	redistest.Require(t, w.program, w.debianPackage)
	listen, dir := redistest.FreeAddr(t), t.TempDir()
	code := readmePart(t, "\n```"+w.language+"\n", "```\n")
	if !strings.Contains(code, "127.0.0.1:8080") {
		t.Fatalf("the recipe does not contain the relay's address:\n%s", code)
	}
	name, text := w.config(dir, listen, strings.ReplaceAll(code, "127.0.0.1:8080", relay))
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(w.program, w.args(file)...)
	server.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var out strings.Builder
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("output of %s:\n%s%s", w.program, &out, log)
		}
	})
	awaitHTTP(t, "http://"+listen+"/")
	return listen
}

// TestRecipes runs a relay after each web server of the README. A page of the
// same host can connect and receive messages, a page of another host cannot,
// and the relay limits and logs the real address of a client, also if the
// client sends a forged header.
func TestRecipes(t *testing.T) {
	for _, w := range webServers {
		t.Run(w.program, func(t *testing.T) {
			s := newSetup(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECTIONS_PER_IP=1")
			listen := w.start(t, s.relay.Addr())

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
			s.redis.CLI("PUBLISH", "public:1", "through "+w.program)
			if e := s.await(c, "a message", relaytest.Is(relaytest.KindMessage)); e.Data != "through "+w.program {
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
