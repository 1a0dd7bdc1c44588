package auth_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// TestPHPLogin checks that the user of a PHP session is the user of the
// WebSocket, without any code in the page, and that this follows a logout and a
// login as another user.
func TestPHPLogin(t *testing.T) {
	b := newBrowserPage(t)
	b.visit("/")
	b.connect("anonymous")
	if user := b.user("anonymous"); user != "" {
		t.Errorf("the anonymous client is user %q", user)
	}
	if got := b.subscribe("anonymous", "chat:1"); got != "unauthorized" {
		t.Errorf("the anonymous client subscribes to chat:1: %s", got)
	}

	b.visit("/login?user=42")
	b.connect("a")
	if user := b.user("a"); user != "42" {
		t.Errorf("user 42 is %q", user)
	}
	browser.Await(b.ctx, t, "has('a', 'subscribed', 'user:42')")
	b.redis.CLI("PUBLISH", "user:42", "for you")
	browser.Await(b.ctx, t, "seen.a.messages.some((m) => m.data === 'for you')")
	for channel, want := range map[string]string{
		"chat:1": "subscribed", "inbox:42:x": "subscribed", "order:7": "subscribed",
		"inbox:43:x": "forbidden", "user:43": "forbidden", "order:8": "forbidden", "order:7\u00fc": "forbidden", " order:7": "forbidden",
	} {
		if got := b.subscribe("a", channel); got != want {
			t.Errorf("user 42 subscribes to %q: %s, want %s", channel, got, want)
		}
	}

	b.visit("/logout")
	b.connect("b")
	if user := b.user("b"); user != "" {
		t.Errorf("after the logout, the user is %q", user)
	}
	if got := b.subscribe("b", "order:7"); got != "unauthorized" && got != "forbidden" {
		t.Errorf("after the logout, order:7: %s", got)
	}
	b.visit("/login?user=43")
	b.connect("c")
	if user := b.user("c"); user != "43" {
		t.Errorf("user 43 is %q", user)
	}
	if got := b.subscribe("c", "order:8"); got != "subscribed" {
		t.Errorf("user 43 subscribes to order:8: %s", got)
	}
}

// TestPHPSessionLock checks that a page that holds the session only delays a
// login: the browser is closed with 1013 and is logged in when it tries again.
func TestPHPSessionLock(t *testing.T) {
	b := newBrowserPage(t, "AUTH_TIMEOUT=500ms")
	b.visit("/login?user=42")
	// Another process of the same application serves the slow page.
	slow := "http://localhost:" + port(t, startPHP(t, b.dir)) + "/slow?ms=3000"
	b.run(fmt.Sprintf("fetch(%q, {mode: 'no-cors', credentials: 'include'}); window.tries = []", slow))
	b.run(fmt.Sprintf(`(function connectAgain() {
		const socket = new WebSocket(%q, ['sidecast.v1']);
		socket.onmessage = (event) => { window.user ??= JSON.parse(event.data).user; socket.onclose = null; };
		socket.onclose = (event) => { tries.push(event.code); setTimeout(connectAgain, 200); };
	})()`, b.url()))
	browser.Await(b.ctx, t, "window.user")
	if user := browser.Eval[string](b.ctx, t, "window.user"); user != "42" {
		t.Errorf("logged in as %q", user)
	}
	for _, code := range browser.Eval[[]int](b.ctx, t, "tries") {
		if code != 1013 {
			t.Errorf("closed with %d, want 1013", code)
		}
	}
}

// TestPHPToken checks that the relay accepts the token that the script in the
// README creates.
func TestPHPToken(t *testing.T) {
	redistest.Require(t, "php", "php-cli")
	script := exec.Command("php")
	script.Stdin = strings.NewReader(snippet(t, "token.php"))
	script.Env = append(os.Environ(), "SIDECAST_JWT_SECRET="+testSecret)
	token, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := newSetup(t, "JWT_SECRET="+testSecret)
	c := s.dial(dialOptions{token: string(token)})
	s.await(c, "the user's own channel", relaytest.IsOn(relaytest.KindSubscribed, "user:42"))
	if got := resultOf(t, c.Subscribe(t.Context(), "chat:1")); got != "ok" {
		t.Errorf("subscribing to chat:1: %s", got)
	}
}

// snippet returns the PHP script in the README between the comments with this
// name.
func snippet(t *testing.T, name string) string {
	t.Helper()
	return readmePart(t, "<!-- "+name+" -->\n```php\n", "```\n<!-- /"+name+" -->")
}

// readmePart returns the text of the README between before and after.
func readmePart(t *testing.T, before, after string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(text), before)
	part, _, ended := strings.Cut(rest, after)
	if !begun || !ended {
		t.Fatalf("README.md has no text between %q and %q", before, after)
	}
	return part
}

// startPHP runs the application in testdata/app with the scripts of the README,
// and returns its host:port. PHP's server handles one request at a time. Two
// servers with the same directory for sessions are one application.
func startPHP(t *testing.T, sessions string) string {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	snippets := t.TempDir()
	for _, name := range []string{"live-auth.php", "may-receive.php"} {
		if err := os.WriteFile(filepath.Join(snippets, name), []byte(snippet(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := redistest.FreeAddr(t)
	php := exec.Command("php", "-d", "session.save_path="+sessions, "-S", addr, "-t", "testdata/app", "testdata/app/index.php")
	php.Env = append(os.Environ(), "SNIPPETS="+snippets)
	if err := php.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = php.Process.Kill(); _ = php.Wait() })
	awaitHTTP(t, "http://"+addr+"/")
	return addr
}

func awaitHTTP(t *testing.T, url string) {
	t.Helper()
	limit := time.After(relaytest.Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if response, err := http.Get(url); err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no answer at %s", url)
		}
	}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
