package events

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/redistest"
)

// snippet returns the PHP script in the README with this name, for the server.
func (s *server) snippet(name string) string {
	s.t.Helper()
	redistest.Require(s.t, "php", "php-cli")
	text, err := os.ReadFile("README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(text), "<!-- "+name+" -->\n```php\n")
	code, _, ended := strings.Cut(rest, "```\n<!-- /"+name+" -->")
	if !begun || !ended || !strings.Contains(code, "6379") {
		s.t.Fatalf("README.md has no script %s that connects to Redis", name)
	}
	return strings.ReplaceAll(code, "6379", s.redis.Port())
}

// php runs PHP until the test ends. Its output is read with the function that it
// returns.
func php(t testing.TB, env []string, args ...string) (process *exec.Cmd, output func() string) {
	t.Helper()
	if out, _ := exec.Command("php", "-m").Output(); !bytes.Contains(out, []byte("redis")) {
		redistest.Require(t, "php with phpredis", "php-redis")
	}
	out := new(lockedBuffer)
	process = exec.Command("php", args...)
	process.Env = append(os.Environ(), env...)
	process.Stdout, process.Stderr = out, out
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	return process, out.String
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The worker of the README reads the events that a relay writes, and after it
// was killed those that it had not acknowledged.
func TestPHPWorker(t *testing.T) {
	s := newServer(t)
	script := filepath.Join(t.TempDir(), "worker.php")
	code := s.snippet("worker.php")
	// The worker is killed while it processes an event.
	code = strings.Replace(code, "    echo $event['kind']", "    if (getenv('HANG') === $event['user']) { echo 'hangs'; sleep(60); }\n    echo $event['kind']", 1)
	if err := os.WriteFile(script, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	w := NewWriter(s.config(), []protocol.ReportKind{protocol.ReportJoined})
	run(t, w.Run)
	first, output := php(t, []string{"HANG=2"}, script)
	eventually(t, func() string {
		if groups, _ := s.client.XInfoGroups(t.Context(), testStream).Result(); len(groups) == 0 {
			return "there is no group; PHP says: " + output()
		}
		return ""
	})
	for i := range 5 {
		w.Write(protocol.Report{Kind: protocol.ReportJoined, User: fmt.Sprint(i), Channel: "chat"})
	}
	await := func(output func() string, want string) {
		t.Helper()
		eventually(t, func() string {
			if got := output(); !strings.Contains(got, want) {
				return fmt.Sprintf("PHP says %q, want %q", got, want)
			}
			return ""
		})
	}
	await(output, "joined 0 chat\njoined 1 chat\nhangs")
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, output = php(t, nil, script)
	await(output, "joined 4 chat\n")
	w.Write(protocol.Report{Kind: protocol.ReportJoined, User: "5", Channel: "chat"})
	await(output, "joined 5 chat\n")
	if got := output(); strings.Contains(got, "joined 1 chat") || !strings.HasPrefix(got, "joined 2 chat\n") || strings.Contains(got, "Warning") {
		t.Errorf("PHP says %q", got)
	}
}

// The script of the README accepts what the relay posts, once, and nothing that
// was changed.
func TestPHPWebhook(t *testing.T) {
	s := newServer(t)
	dir, addr := t.TempDir(), redistest.FreeAddr(t)
	if err := os.WriteFile(filepath.Join(dir, "index.php"), []byte(s.snippet("webhook.php")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, output := php(t, []string{"SIDECAST_EVENTS_SECRET=" + testSecret}, "-S", addr, "-t", dir)
	eventually(t, func() string {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err.Error()
		}
		_ = conn.Close()
		return ""
	})
	w := s.webhooks("http://" + addr + "/")
	if _, err := w.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, w.Run)
	s.add("42", "43")
	eventually(t, func() string {
		if got := output(); !strings.Contains(got, "joined 43 chat") {
			return "PHP says " + got
		}
		return ""
	})

	now := time.Now()
	body := `{"events":[{"entry":"9-0","kind":"left","ms":1}]}`
	again := `{"events":[{"entry":"` + s.entries()[0].Entry + `","kind":"again","ms":1}]}`
	for _, c := range []struct {
		why       string
		body      string
		signature string
		want      int
	}{
		{"as it was sent", body, Sign(testSecret, []byte(body), now), http.StatusNoContent},
		{"an event that was accepted before", again, Sign(testSecret, []byte(again), now), http.StatusNoContent},
		{"another body", body + " ", Sign(testSecret, []byte(body), now), http.StatusForbidden},
		{"another secret", body, Sign(testSecret+"x", []byte(body), now), http.StatusForbidden},
		{"too old", body, Sign(testSecret, []byte(body), now.Add(-6*time.Minute)), http.StatusForbidden},
		{"from the future", body, Sign(testSecret, []byte(body), now.Add(6*time.Minute)), http.StatusForbidden},
		{"another time", body, fmt.Sprintf("t=%d,v1=%s", now.Unix()+1, Sign(testSecret, []byte(body), now)[len("t=1700000000,v1="):]), http.StatusForbidden},
		{"no signature", body, "", http.StatusForbidden},
		{"only the time", body, fmt.Sprintf("t=%d", now.Unix()), http.StatusForbidden},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(SignatureHeader, c.signature)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", c.why, response.StatusCode, c.want)
		}
	}
	if got := output(); !strings.Contains(got, "left") || strings.Contains(got, "again") {
		t.Errorf("PHP says %s", got)
	}
}

// PHP verifies the signature of Pusher's format as Pusher's library does.
func TestPHPPusherSignature(t *testing.T) {
	redistest.Require(t, "php", "php-cli")
	w := NewWebhooks(WebhookConfig{Secret: testSecret, Format: FormatPusher})
	now := time.Now()
	body := w.cfg.Format.body([]Event{{Entry: "1-0", Kind: "joined", User: "42", Channel: "presence-chat"}}, now)
	header := w.header(body, now)
	check := exec.Command("php", "-r", `
		[$body, $key, $signature] = array_slice($argv, 1);
		$event = json_decode($body)->events[0];
		echo $key === 'sidecast' && $signature === hash_hmac('sha256', $body, '`+testSecret+`') ? "$event->name $event->user_id $event->channel" : 'no';`,
		string(body), header.Get(pusherKeyHeader), header.Get(pusherSignatureHeader))
	out, err := check.CombinedOutput()
	if err != nil || string(out) != "member_added 42 presence-chat" {
		t.Errorf("PHP says %q, %v", out, err)
	}
}
