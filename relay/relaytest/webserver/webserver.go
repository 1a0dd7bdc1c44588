// Package webserver runs real web servers and proxies for tests: nginx, Apache,
// Caddy and HAProxy.
package webserver

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// A Server is a program that serves HTTP.
type Server struct {
	Program, debianPackage string
	// config returns the name and the text of a complete configuration file
	// that contains a part.
	config func(dir, listen, part string) (name, text string)
	args   func(file string) []string
}

// The servers. Each runs a part of a configuration file:
var (
	// Nginx runs the content of a server block.
	Nginx = Server{
		"nginx", "nginx-light",
		func(dir, listen, part string) (string, string) {
			return "nginx.conf", fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;\nevents {}\n"+
				"http {\naccess_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; "+
				"uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\nserver {\nlisten %[2]s;\n%[3]s}\n}\n", dir, listen, part)
		},
		func(file string) []string { return []string{"-c", file, "-e", "stderr"} },
	}
	// Apache runs directives of the main server. Its modules are those for
	// proxies.
	Apache = Server{
		"apache2", "apache2",
		func(dir, listen, part string) (string, string) {
			var modules strings.Builder
			for _, name := range []string{"mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel"} {
				fmt.Fprintf(&modules, "LoadModule %s_module /usr/lib/apache2/modules/mod_%[1]s.so\n", name)
			}
			return "apache.conf", modules.String() + fmt.Sprintf("ServerRoot %[1]s\nPidFile %[1]s/pid\nErrorLog %[1]s/error.log\n"+
				"DefaultRuntimeDir %[1]s\nServerName localhost\nUser nobody\nGroup nogroup\nListen %[2]s\n%[3]s", dir, listen, part)
		},
		func(file string) []string { return []string{"-X", "-f", file} },
	}
	// Caddy runs the site app.example.com, without its certificate and its PHP.
	Caddy = Server{
		"caddy", "caddy",
		func(_, listen, part string) (string, string) {
			return "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n" + strings.NewReplacer("app.example.com", "http://"+listen,
				"    php_fastcgi unix//run/php/php-fpm.sock\n", "").Replace(part)
		},
		func(file string) []string { return []string{"run", "--config", file, "--adapter", "caddyfile"} },
	}
	// HAProxy runs the content of a listen section.
	HAProxy = Server{
		"haproxy", "haproxy",
		func(_, listen, part string) (string, string) {
			return "haproxy.cfg", fmt.Sprintf("defaults\n\tmode http\n\ttimeout connect 5s\n\ttimeout client 1m\n\ttimeout server 1m\n"+
				"listen public\n\tbind %s\n%s", listen, part)
		},
		func(file string) []string { return []string{"-db", "-f", file} },
	}
)

// Start runs the server until the test ends, and returns its host:port. The test
// is skipped if the server is not installed.
func (s Server) Start(t testing.TB, part string) string {
	t.Helper()
	// Debian installs servers in a directory that is not in every user's PATH.
	if path := os.Getenv("PATH"); !strings.HasSuffix(path, ":/usr/sbin") {
		if err := os.Setenv("PATH", path+":/usr/sbin"); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Require(t, s.Program, s.debianPackage)
	listen, dir := redistest.FreeAddr(t), t.TempDir()
	name, text := s.config(dir, listen, part)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(s.Program, s.args(file)...)
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
			t.Logf("output of %s:\n%s%s", s.Program, &out, log)
		}
	})
	await(t, listen)
	return listen
}

// await waits until the server answers a request. It is not enough that it
// listens: Apache stops listening for a moment when it starts.
func await(t testing.TB, addr string) {
	t.Helper()
	var transport http.Transport
	defer transport.CloseIdleConnections()
	for deadline := time.Now().Add(relaytest.Patience); ; time.Sleep(20 * time.Millisecond) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request) // it follows no redirect
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}
